"""Tools of the Responses API in the form of the chat API, which knows no groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from entropix.serve.responses.schema import OtherTool, ResponseRequest, ResponseTool, ToolGroup, ToolsItem

JOINT = "__"
"""Between a group's name and a tool's, as models have seen it of MCP servers."""


@dataclass
class Offer:
    """The tools of one request. functions: as the chat API has them. groups: of those that are of a group, by their
    names there: the group, and the name in it. left_out: the types of the others."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[str, tuple[str, str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        kinds = dict.fromkeys(self.left_out)
        return (f"tools: {', '.join(kinds)} left out; of tools there are functions here",) if kinds else ()

    def add(self, tools: Iterable[ResponseTool | OtherTool | ToolGroup], group: str | None = None) -> None:
        for tool in tools:
            if isinstance(tool, ToolGroup):
                self.add(tool.tools, tool.name)
            elif isinstance(tool, OtherTool):
                self.left_out.append(tool.type)
            else:
                name = chat_name(tool.name, group)
                if group is not None:
                    self.groups[name] = group, tool.name
                function = {**tool.model_dump(exclude={"type"}), "name": name}
                self.functions.append({"type": "function", "function": function})


def offer_of(asked: ResponseRequest) -> Offer:
    """What may be called, of the request's tools and of those in its input."""
    offer = Offer()
    offer.add(asked.tools or ())
    for item in () if isinstance(asked.input, str) else asked.input:
        if isinstance(item, ToolsItem):
            offer.add(item.tools)
    return offer


def chat_name(name: str, group: str | None) -> str:
    """What the chat API calls a tool."""
    return name if group is None else f"{group}{JOINT}{name}"


def named(name: str, groups: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The members of a call that say what is called. name: the chat API's."""
    if name not in groups:
        return {"name": name}
    group, short = groups[name]
    return {"name": short, "namespace": group}
