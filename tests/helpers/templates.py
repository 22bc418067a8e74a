"""Chat templates in the forms of several families of models, and a scripted tokenizer that renders one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entropix.engines.llama_cpp.chat import ChatTemplate, hide_markup, split_markup
from entropix.engines.scripted import SPECIAL, ScriptedEngine, ScriptedTokenizer, saying

HERMES = """{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools> Answer within <tool_call></tool_call>.<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
LLAMA_3 = """{%- for m in messages %}<|start_header_id|>
{%- if m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>{{ m.content }}<|eot_id|>
{%- elif 'tool_calls' in m %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters":
 {{ m.tool_calls[0].function.arguments | tojson }}}<|eot_id|>
{%- else %}{{ m.role }}<|end_header_id|>{% if loop.first and tools %}{{ tools | tojson }}{% endif %}{{ m.content }}
{%- endif %}{% endfor %}<|start_header_id|>assistant<|end_header_id|>"""
MISTRAL = """{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]
{%- elif m.tool_calls %}[TOOL_CALLS][{% for call in m.tool_calls %}
{%- if call.id | length != 9 %}{{ raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
{%- endif %}{{ call.function | tojson }}{% endfor %}]
{%- else %}{{ m.content }}{% endif %}{% endfor %}"""
MISTRAL_ARGS = (
    MISTRAL.replace(
        "{{ call.function | tojson }}", "{{ call.function.name }}[ARGS]{{ call.function.arguments | tojson }}"
    )
    .replace("[TOOL_CALLS][", "[TOOL_CALLS]")
    .replace("endfor %}]", "endfor %}")
)
GEMMA = """{% for tool in tools or [] %}<start_function_declaration>{{ tool.function.name }}
<end_function_declaration>{% endfor %}{% for m in messages %}<start_of_turn>
{{- 'model' if m.role == 'assistant' else m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}<start_function_call>call:{{ call.function.name }}{
{%- for k, v in call.function.arguments.items() %}{{ ',' if not loop.first }}{{ k }}:
{%- if v is string %}<escape>{{ v }}<escape>{% else %}{{ v | tojson }}{% endif %}{% endfor %}}<end_function_call>
{%- endfor %}<end_of_turn>
{% endfor %}<start_of_turn>model
"""
GEMMA_4 = """{% for tool in tools or [] %}<|tool>{{ tool.function.name }}<tool|>{% endfor %}
{%- for m in messages %}<|turn>
{{- 'model' if m.role == 'assistant' else m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}<|tool_call>call:{{ call.function.name }}{
{%- if call.function.arguments is mapping %}{% for k, v in call.function.arguments.items() %}{{ ',' if not loop.first }}
{{- k }}:{% if v is string %}<|"|>{{ v }}<|"|>{% else %}{{ v }}{% endif %}{% endfor %}
{%- else %}{{ call.function.arguments }}{% endif %}}<tool_call|>{% endfor %}<turn|>
{% endfor %}<|turn>model
"""
PLAIN = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
THINKING = PLAIN + "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"


class Templated(ScriptedTokenizer):
    """Tokens are bytes, and conversations are rendered by a real template."""

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        begun: str = "",
    ) -> list[int]:
        names = list(SPECIAL.values())
        given = (list(messages), list(tools), begun)
        (turns, shown, begun), hidden = hide_markup(given, lambda text: any(n in text for n in names), lambda: names)
        rendered = ChatTemplate(self.template, bos="<begin>", eos="<end>").render(turns, shown, variables)
        parts = split_markup(rendered + begun + "<assistant>", hidden)
        return [token for text, special in parts for token in self.encode(text, special=special)]


def templated(template: str, text: str, **options: Any) -> ScriptedEngine:
    """A model with this chat template that says `text`."""
    engine = ScriptedEngine(saying(text), **{"sequences": 24, **options})
    engine.tokenizer = Templated(template)
    return engine


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
