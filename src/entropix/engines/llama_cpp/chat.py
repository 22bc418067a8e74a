"""Conversations in a model's own Jinja template, in which no message's words become control tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from entropix.engines.base import Message
from entropix.engines.messages import map_strings, strings
from entropix.errors import ModelError, PromptError

T = TypeVar("T")

PRIVATE_USE = range(0x100000, 0x10FFFE)


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

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation up to where the assistant begins. Raises PromptError where the template does."""
        names = {**(variables or {}), **self.names, **({"tools": tools} if tools else {})}
        try:
            return self.template.render(**names, messages=messages, add_generation_prompt=True)
        except Exception as error:  # a template is a program of its own and may fail in any way
            raise PromptError(f"the model's chat template refuses these messages: {error}") from error


def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def hide_markup(
    value: T, has_markup: Callable[[str], bool], markup: Callable[[], Sequence[str]]
) -> tuple[T, dict[str, str]]:
    """`value`, of nested lists and dicts, with placeholder characters for control markup in its strings.

    has_markup: whether a text holds any; markup: all there is, asked only then. Also returns placeholder → markup.
    The placeholders are private-use characters that occur in no string, so a template that trims or searches
    its contents still works, and whatever it renders can be split at them again.
    """
    found = strings(value)
    if not has_markup("\n".join(found)):
        return value, {}
    pattern = re.compile("|".join(re.escape(text) for text in sorted(markup(), key=len, reverse=True)))
    taken = {c for text in found for c in text}
    unused = (chr(c) for c in PRIVATE_USE if chr(c) not in taken)
    placeholders: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match[0] not in placeholders:
            placeholders[match[0]] = next(unused)
        return placeholders[match[0]]

    hidden = map_strings(value, lambda text: pattern.sub(replace, text))
    return hidden, {placeholder: text for text, placeholder in placeholders.items()}


def split_markup(rendered: str, hidden: dict[str, str]) -> list[tuple[str, bool]]:
    """The rendered text in parts, each with whether it may hold control markup."""
    if not hidden:
        return [(rendered, True)]
    parts = re.split(f"([{''.join(hidden)}])", rendered)
    return [(hidden.get(part, part), part not in hidden) for part in parts if part]
