"""The tools of one request, and what they make of its answer's text: a grammar of calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.constraints import Vocabulary, json_schema
from entropix.constraints.grammar import Grammar
from entropix.constraints.lazy import Lazy, Triggers
from entropix.constraints.vocabulary import WHITESPACE
from entropix.decoding import Constraint
from entropix.engines import Tokenizer
from entropix.serve.tools.dialect import dialect_rules
from entropix.serve.tools.formats import CallFormat, Wrapper

NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a tool without parameters."""


@dataclass(frozen=True)
class Tool:
    """A function that the model may ask for. parameters: the JSON schema of its arguments. strict: whether a schema
    that cannot be kept in full is an error; otherwise as much is kept as can be."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool = False

    @property
    def shown(self) -> dict[str, Any]:
        """The tool as chat templates expect it."""
        function = {"name": self.name, "description": self.description or "", "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Toolset:
    """tools: those that may be called. required: at least one must be. parallel: whether several may be at a time."""

    tools: tuple[Tool, ...]
    required: bool = False
    parallel: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)

    def constraint(
        self, form: CallFormat, vocabulary: Vocabulary, tokenizer: Tokenizer, answer: Grammar | None = None
    ) -> Constraint:
        """What holds the text to these tools: from the beginning where a call is required, or the text that is no call
        has a form of its own (`answer`); else from where a call begins. Raises ParameterError."""
        whole = self.required or answer is not None
        wrappers = (form.own,) if whole else form.wrappers
        rules = self._rules(form, wrappers, vocabulary, tokenizer)
        if answer is not None and not self.required:
            rules = ["start: calls | answer", f"answer: {vocabulary.rule(answer)}", *rules]
        else:
            rules = ["start: calls", *rules]
        lenient = not all(tool.strict for tool in self.tools) or bool(answer and answer.lenient)
        left_out = self._left_out(form, vocabulary, answer)
        compiled = vocabulary.compile(Grammar("lark", "\n".join(rules) + "\n", lenient, left_out))
        if whole:
            return compiled
        return Lazy(compiled, Triggers(form.triggers(self.names)), lambda token: spelled(tokenizer, token).encode())

    def _rules(
        self, form: CallFormat, wrappers: Sequence[Wrapper], vocabulary: Vocabulary, tokenizer: Tokenizer
    ) -> list[str]:
        def literal(text: str) -> str:
            return lark_literal(tokenizer, text)

        rules = [f"WS: /{WHITESPACE}/"]
        for n, tool in enumerate(self.tools):
            rules += self._call(form, n, tool, vocabulary, literal)
        call = f"({' | '.join(f'call_{n}' for n in range(len(self.tools)))})"
        separator = f"WS? {literal(form.separator)} WS?" if form.separator else "WS?"
        many = f"call ({separator} call)*" if self.parallel and form.body != "plain" else "call"
        rules += [f"call: {call}", f"many: {many}"]
        for n, wrapper in enumerate(wrappers):
            inner = '"[" WS? many WS? "]"' if form.body == "list" else "many"
            parts = [literal(wrapper.begin), "WS?"] if wrapper.begin else []
            parts += [inner, *(["WS?", literal(wrapper.end)] if wrapper.end else [])]
            rules.append(f"item_{n}: {' '.join(parts)}")
        item = f"({' | '.join(f'item_{n}' for n in range(len(wrappers)))})"
        repeats = self.parallel and (form.body == "plain" or any(wrapper.end for wrapper in wrappers))
        rules += [f"item: {item}", f"calls: item {'(WS? item)* ' if repeats else ''}WS?"]
        return rules

    def _left_out(self, form: CallFormat, vocabulary: Vocabulary, answer: Grammar | None) -> tuple[str, ...]:
        asked = [] if answer is None else [answer]
        if form.dialect == "json":
            asked += [_arguments(tool) for tool in self.tools]
        return tuple(dict.fromkeys(what for grammar in asked for what in vocabulary.kept(grammar).left_out))

    @staticmethod
    def _call(form: CallFormat, n: int, tool: Tool, vocabulary: Vocabulary, literal: Callable[[str], str]) -> list[str]:
        if form.dialect != "json":
            opening = literal(f"call:{tool.name}")
            return [f"call_{n}: {opening} args_{n}", *dialect_rules(f"args_{n}", _schema(tool), literal(form.dialect))]
        arguments = f"args_{n}: {vocabulary.rule(_arguments(tool), compact=True)}"
        if form.body == "plain":
            return [f"call_{n}: {literal(tool.name)} {literal(form.between)} WS? args_{n}", arguments]
        parts = ["{", '"name"', ":", json.dumps(tool.name), ",", f'"{form.arguments}"', ":"]
        head = " WS? ".join(literal(part) for part in parts)
        tail = 'WS? ("," WS? "\\"id\\"" WS? ":" WS? /"[A-Za-z0-9]{9}"/ WS?)? "}"' if form.body == "list" else 'WS? "}"'
        return [f"call_{n}: {head} WS? args_{n} {tail}", arguments]


def _schema(tool: Tool) -> dict[str, Any]:
    return closed(tool.parameters) if tool.parameters.get("properties") else dict(tool.parameters or NOTHING)


def _arguments(tool: Tool) -> Grammar:
    return json_schema(_schema(tool), lenient=not tool.strict)


def lark_literal(tokenizer: Tokenizer, text: str) -> str:
    """`text` in a Lark rule: a control token by its number, anything else as it is."""
    tokens = tokenizer.encode(text, special=True)
    if len(tokens) == 1 and not tokenizer.piece(tokens[0]):
        return f"<[{tokens[0]}]>"
    return json.dumps(text, ensure_ascii=False)


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """A token as formats are looked for: its text, of a control token its name."""
    piece = tokenizer.piece(token)
    return piece.decode("utf-8", "replace") if piece else tokenizer.label(token)


def closed(schema: Any) -> Any:
    """`schema` in which objects with properties have no others, unless it says so: a model would go on adding some."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {key: closed(part) if key in NESTED else part for key, part in schema.items()}
    for key in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(key), Mapping):
            made[key] = {name: closed(part) for name, part in schema[key].items()}
    if made.get("properties") and "patternProperties" not in made:
        made.setdefault("additionalProperties", False)
    return made


NESTED = frozenset({"items", "prefixItems", "anyOf", "allOf", "oneOf", "additionalProperties"})
