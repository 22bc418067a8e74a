"""How models write calls of tools. Which format a model has is seen in its chat template, as llama.cpp does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from entropix.constraints.lazy import Trigger

OBJECT_OPENING = re.compile(
    r'"name"\s*:\s*"(?P<name>(?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)', re.DOTALL
)


@dataclass(frozen=True)
class Wrapper:
    """What stands around calls. begin, end: texts, or names of control tokens; "" for nothing. sure: `begin` alone says
    that a call follows; else the name of a tool must stand behind it. first: only at the beginning of an answer."""

    begin: str
    end: str
    sure: bool = False
    first: bool = False


@dataclass(frozen=True)
class CallFormat:
    """How a family of models writes calls.

    wrappers: the first is the model's own, the others are what it writes by mistake and peers accept. body: "object"
    ({"name": …, "arguments": {…}}), "list" (a list of such objects), "plain" (the name, `between`, the arguments).
    arguments: the key of the arguments. separator: between two calls. marks: texts of which each is enough, in a
    template, to choose this format.
    """

    name: str
    wrappers: tuple[Wrapper, ...]
    body: str = "object"
    arguments: str = "arguments"
    between: str = ""
    separator: str = ""
    dialect: str = "json"
    opening: re.Pattern[str] = OBJECT_OPENING
    marks: tuple[str, ...] = ()

    @property
    def own(self) -> Wrapper:
        return self.wrappers[0]

    def triggers(self, names: Sequence[str]) -> list[Trigger]:
        """What begins a call of a tool with one of these names."""
        found = []
        for wrapper in self.wrappers:
            begin = (wrapper.begin,) if wrapper.begin else ()
            if wrapper.sure:
                found.append(Trigger(begin, wrapper.first))
            elif self.body in ("object", "list"):
                brackets = ("[",) if self.body == "list" else ()
                found += [
                    Trigger((*begin, *brackets, "{", '"name"', ":", f'"{name}"'), wrapper.first) for name in names
                ]
        return found


FENCES = (
    Wrapper("```json", "```"),
    Wrapper("```", "```"),
    *(
        Wrapper(f"<{tag}>", f"</{tag}>")
        for tag in ("tools", "function_call", "tool", "response", "json", "JSON", "xml")
    ),
    Wrapper("", "", first=True),
)
"""How models write calls that were taught another way; Qwen2.5-Coder and small models often do."""

HERMES = CallFormat("hermes", (Wrapper("<tool_call>", "</tool_call>", sure=True), *FENCES), marks=("<tool_call>",))
LLAMA_3 = CallFormat(
    "llama3",
    (Wrapper("", "", first=True), Wrapper("<|python_tag|>", "", first=True), *FENCES[:2]),
    arguments="parameters",
    separator=";",
    marks=("<|start_header_id|>ipython<|end_header_id|>", "<|python_tag|>", "Environment: ipython"),
)
MISTRAL = CallFormat(
    "mistral",
    (Wrapper("[TOOL_CALLS]", "", sure=True),),
    body="list",
    separator=",",
    marks=("[TOOL_CALLS]",),
)
MISTRAL_ARGS = CallFormat(
    "mistral-args",
    (Wrapper("[TOOL_CALLS]", "", sure=True),),
    body="plain",
    between="[ARGS]",
    opening=re.compile(r"\[TOOL_CALLS\]\s*(?P<name>[^\[\]{}\s]+)\[ARGS\]\s*(?=\{)"),
    marks=("[ARGS]",),
)
GEMMA = CallFormat(
    "gemma",
    (Wrapper("<start_function_call>", "<end_function_call>", sure=True),),
    body="plain",
    dialect="<escape>",
    opening=re.compile(r"call:(?P<name>[^{}\s]+?)(?=\{)"),
    marks=("<start_function_call>",),
)
GEMMA_4 = CallFormat(
    "gemma4",
    (Wrapper("<|tool_call>", "<tool_call|>", sure=True),),
    body="plain",
    dialect='<|"|>',
    opening=re.compile(r"call:(?P<name>[^{}\s]+?)(?=\{)"),
    marks=("<|tool_call>",),
)
GENERIC = CallFormat("generic", HERMES.wrappers)
"""For templates that show no tools: they and this format are described in the system message."""

FORMATS = (MISTRAL_ARGS, MISTRAL, GEMMA_4, GEMMA, HERMES, LLAMA_3)


def format_of(template: str) -> CallFormat:
    """The format in which a model with this template writes calls. template: its Jinja source."""
    return next((known for known in FORMATS if any(mark in template for mark in known.marks)), GENERIC)
