"""A conversation with calls and results, as a model's chat template takes it.

What a template can show is found by showing it a call: templates are programs, and say so nowhere. Where one shows no
tools, calls or results, they stand in the messages' text, in the form of Hermes, which most models have seen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from entropix.engines import Tokenizer
from entropix.errors import PromptError
from entropix.serve.tools.formats import GENERIC, CallFormat, format_of
from entropix.serve.tools.speech import CLOSE, OPEN
from entropix.serve.tools.toolset import Tool, spelled

NEEDLE = "zq7needle"
PROBED = Tool(f"{NEEDLE}_tool", "probe", {"type": "object", "properties": {"x": {"type": "string"}}})
MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")

INSTRUCTIONS = """# Tools

You may call one or more functions to help with the user's request. Their signatures stand within <tools></tools>:
<tools>
{tools}
</tools>

For each call, write a JSON object with the function's name and its arguments within <tool_call></tool_call>:
<tool_call>
{{"name": <function name>, "arguments": <arguments as a JSON object>}}
</tool_call>"""


@dataclass
class Template:
    """What one model's chat template can do. Everything is found once, when it is first asked for."""

    tokenizer: Tokenizer

    @cached_property
    def form(self) -> CallFormat:
        """How the model writes calls."""
        return format_of(self.tokenizer.template) if self.shows_tools else GENERIC

    @cached_property
    def thinks(self) -> bool:
        """Whether the model's reasoning stands between <think> and </think>."""
        return CLOSE in self.tokenizer.template

    @cached_property
    def shows_tools(self) -> bool:
        known = format_of(self.tokenizer.template) is not GENERIC
        return known and NEEDLE in self._rendered([{"role": "user", "content": "?"}], [PROBED.shown])

    @cached_property
    def shows_calls(self) -> bool:
        return self.shows_tools and any(
            f"{NEEDLE}_call" in self._rendered(_probe(text), [PROBED.shown]) for text in (False, True)
        )

    @cached_property
    def text_arguments(self) -> bool:
        """Whether arguments are given to the template as JSON text, and not as an object."""
        value, written = f"{NEEDLE}x", self._rendered(_probe(False), [PROBED.shown])
        if value in written and f"'{value}'" not in written:  # what Python prints of an object is no arguments
            return False
        return value in self._rendered(_probe(True), [PROBED.shown])

    @cached_property
    def needs_objects(self) -> bool:
        """Whether a call can only be shown with its arguments as an object."""
        return f"{NEEDLE}_call" not in self._rendered(_probe(True), [PROBED.shown])

    @cached_property
    def shows_results(self) -> bool:
        asked = [*_probe(self.text_arguments), _result(f"{NEEDLE}_result")]
        return self.shows_calls and f"{NEEDLE}_result" in self._rendered(asked, [PROBED.shown])

    def opens_thinking(self, tokens: Sequence[int]) -> bool:
        """Whether a prompt ends with an open <think>."""
        if not self.thinks:
            return False
        tail = [spelled(self.tokenizer, token) for token in tokens[-2 * len(OPEN) :]]
        names = self.tokenizer.piece
        shown = (text for text, token in zip(tail, tokens[-len(tail) :], strict=True) if names(token) or text == OPEN)
        return "".join(shown).rstrip().endswith(OPEN)

    def conversation(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Messages and tools for `Tokenizer.chat`. messages: in OpenAI's form, with texts for contents."""
        turns = self._turns(messages)
        if not tools:
            return turns, []
        if self.shows_tools:
            return turns, [tool.shown for tool in tools]
        listed = "\n".join(json.dumps(tool.shown, ensure_ascii=False) for tool in tools)
        text = INSTRUCTIONS.format(tools=listed)
        if turns[0]["role"] == "system":
            return [{**turns[0], "content": f"{turns[0]['content']}\n\n{text}"}, *turns[1:]], []
        return [{"role": "system", "content": text}, *turns], []

    def _turns(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        names: dict[str, str] = {}
        for message in messages:
            turn = dict(message)
            if turn.get("tool_calls"):
                names |= {call["id"]: call["function"]["name"] for call in turn["tool_calls"]}
                turn = self._calling(turn)
            elif turn["role"] == "tool":
                turn = self._answering(turn, names, turns)
            if turn:
                turns.append(turn)
        for turn in turns:
            turn.pop("results", None)
        return turns

    def _calling(self, turn: dict[str, Any]) -> dict[str, Any]:
        calls = [self._call(call) for call in turn["tool_calls"]]
        if self.shows_calls:
            return {**turn, "tool_calls": calls}
        asked = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in calls]
        written = "\n".join(f"<tool_call>\n{json.dumps(a, ensure_ascii=False)}\n</tool_call>" for a in asked)
        return {"role": "assistant", "content": f"{turn['content']}\n{written}".lstrip()}

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = dict(call["function"])
        text = function["arguments"].strip() or "{}"
        function["arguments"] = text if self.shows_calls and self.text_arguments else self._arguments(text)
        return {"id": self._id(call["id"]), "type": "function", "function": function}

    def _arguments(self, text: str) -> Any:
        """Arguments as an object. What is none, such as what a model wrote before it was cut off, is shown as it is, or
        in an object of its own where the template takes nothing else."""
        try:
            value = json.loads(text)
            # a model may write half of a surrogate pair, which is no text that a tokenizer takes
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            value = text
        if value is None:
            return {}
        if isinstance(value, dict) or not (self.shows_calls and self.needs_objects):
            return value
        return {"arguments": text}

    def _answering(self, turn: dict[str, Any], names: Mapping[str, str], turns: list[dict[str, Any]]) -> dict[str, Any]:
        """The turn of a result; {} where it has been added to the turn before."""
        asked = turn.get("tool_call_id") or ""
        name = turn.get("name") or names.get(asked, "")
        if self.shows_results:
            return {**turn, "tool_call_id": self._id(asked), "name": name}
        written = f"<tool_response>\n{turn['content']}\n</tool_response>"
        if turns and turns[-1].get("results"):
            turns[-1]["content"] += f"\n{written}"
            return {}
        return {"role": "user", "content": written, "results": True}

    def _id(self, given: str) -> str:
        """An id that the template accepts: those of Mistral want nine letters and digits."""
        if "[TOOL_CALLS]" not in self.tokenizer.template or MISTRAL_ID.fullmatch(given):
            return given
        return hashlib.sha256(given.encode()).hexdigest()[:9]

    def _rendered(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        try:
            tokens = self.tokenizer.chat(messages, tools=tools)
        except PromptError:
            return ""
        return b"".join(map(self.tokenizer.piece, tokens)).decode("utf-8", "replace")


def _probe(text: bool) -> list[dict[str, Any]]:
    arguments: Any = {"x": f"{NEEDLE}x"}
    function = {"name": f"{NEEDLE}_call", "arguments": json.dumps(arguments) if text else arguments}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    return [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]


def _result(content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": "abcdefghi", "name": f"{NEEDLE}_call"}
