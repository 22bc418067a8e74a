"""How hard a request wants an answer to be tried for: OpenAI's `reasoning_effort`, ours, and the server's own."""

from __future__ import annotations

from typing import Literal

from entropix.errors import ParameterError
from entropix.search.answers import extractor
from entropix.serve.errors import invalid
from entropix.serve.schema import Common, Extension

MEANING: dict[str, Literal["none", "low", "medium", "high"]] = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""OpenAI's levels → ours."""


def level_of(asked: Common, usual: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The level of effort, None where nothing asks for one, and notes. usual: the server's own, for a request that says
    nothing of effort or search. Raises ApiError for contradictions."""
    ours = asked.entropix or Extension()
    theirs = None if asked.reasoning_effort is None else MEANING[asked.reasoning_effort]
    name = "entropix.effort" if ours.effort else "reasoning_effort"
    if ours.effort and theirs and ours.effort != theirs:
        raise invalid(
            f"entropix.effort is {ours.effort!r} and reasoning_effort is {asked.reasoning_effort!r}; "
            "give one of them, or both alike",
            "entropix.effort",
        )
    level: str | None = ours.effort or theirs
    searches = ours.search not in (None, "none")
    if level not in (None, "none") and searches:
        raise invalid(
            f"entropix.search and {name} are both given, and effort is a search of its own; give one of them", name
        )
    notes: tuple[str, ...] = ()
    if level is not None and not ours.effort and level != asked.reasoning_effort:
        notes = (f"reasoning_effort: {asked.reasoning_effort!r} was asked for and {level!r} is used",)
    if level is None and ours.search is None:
        level = usual
    if ours.answer is not None:
        if level is None:
            raise invalid(
                "entropix.answer: it is read by a vote: give entropix.effort or reasoning_effort with it, or a search "
                "such as vote:n=8,answer=number",
                "entropix.answer",
            )
        try:
            extractor(ours.answer)
        except ParameterError as error:
            raise invalid(f"entropix.answer: {error}", "entropix.answer") from None
    return level, notes
