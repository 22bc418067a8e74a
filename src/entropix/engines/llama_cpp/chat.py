"""Conversations in a model's own Jinja template, in which no message's words become control tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from entropix.engines.base import Message
from entropix.errors import ModelError, PromptError

ROLES = ("system", "user", "assistant")
PRIVATE_USE = range(0x100000, 0x10FFFE)


def check_messages(messages: Any) -> list[dict[str, str]]:
    """Copies of the messages; PromptError when one has the wrong shape."""
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence) or not messages:
        raise PromptError('a conversation is a list of at least one {"role": …, "content": …}')
    checked = []
    for i, message in enumerate(messages):
        try:
            role, content = message["role"], message["content"]
        except (KeyError, TypeError, IndexError):
            raise PromptError(f'message {i} must be {{"role": …, "content": …}}, not {message!r}') from None
        if role not in ROLES:
            raise PromptError(f"message {i} has the role {role!r}: allowed are {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise PromptError(f"the content of message {i} must be text, not {type(content).__name__}")
        checked.append({"role": role, "content": content})
    return checked


class ChatTemplate:
    """A compiled chat template; a template that does not compile is a PromptError when it is first used."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        try:
            import jinja2
            import jinja2.ext
            import jinja2.nodes
            import jinja2.sandbox
        except ImportError as error:
            raise ModelError("chat templates need jinja2: pip install 'entropix-llm[llama]'") from error

        class Generation(jinja2.ext.Extension):
            """{% generation %} marks the assistant's words for training; to us it is only its body."""

            tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a plain attribute

            def parse(self, parser: Any) -> list[jinja2.nodes.Node]:
                next(parser.stream)
                body: list[jinja2.nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
                return body

        def refuse(reason: str) -> None:
            raise jinja2.TemplateError(reason)

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
        )
        environment.filters["tojson"] = to_json
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self.names = {"bos_token": bos, "eos_token": eos}
        try:
            self.template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise PromptError(f"the model's chat template does not compile: {error}") from error

    def render(self, messages: Sequence[Message]) -> str:
        try:
            return self.template.render(messages=messages, add_generation_prompt=True, **self.names)
        except Exception as error:  # a template is a program of its own and may fail in any way
            raise PromptError(f"the model's chat template refuses these messages: {error}") from error


def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def hide_markup(
    messages: list[dict[str, str]], has_markup: Callable[[str], bool], markup: Callable[[], Sequence[str]]
) -> dict[str, str]:
    """Put placeholder characters for control markup into the messages' contents, in place.

    has_markup: whether a text holds any; markup: all there is, asked only then. Returns placeholder → markup.
    The placeholders are private-use characters that occur in no message, so a template that trims or searches
    its contents still works, and whatever it renders can be split at them again.
    """
    marked = [m for m in messages if has_markup(m["content"])]
    if not marked:
        return {}
    pattern = re.compile("|".join(re.escape(text) for text in sorted(markup(), key=len, reverse=True)))
    taken = {c for m in messages for c in m["content"]}
    unused = (chr(c) for c in PRIVATE_USE if chr(c) not in taken)
    placeholders: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match[0] not in placeholders:
            placeholders[match[0]] = next(unused)
        return placeholders[match[0]]

    for message in marked:
        message["content"] = pattern.sub(replace, message["content"])
    return {placeholder: text for text, placeholder in placeholders.items()}


def split_markup(rendered: str, hidden: dict[str, str]) -> list[tuple[str, bool]]:
    """The rendered text in parts, each with whether it may hold control markup."""
    if not hidden:
        return [(rendered, True)]
    parts = re.split(f"([{''.join(hidden)}])", rendered)
    return [(hidden.get(part, part), part not in hidden) for part in parts if part]
