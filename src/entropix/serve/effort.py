"""How hard a request wants an answer to be tried for: OpenAI's `reasoning_effort`, ours, and the server's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from entropix.answers import extractor
from entropix.errors import ParameterError, ProfileError
from entropix.model import Model
from entropix.policies import Policy
from entropix.search import SearchPlan
from entropix.search.effort import POLICY, UNREAD, Capacity, make_pool, plan_effort
from entropix.search.pool import Pool
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
        notes += (f"entropix.{UNREAD}",) if level == "none" else ()
    return level, notes


@dataclass(frozen=True)
class Votes:
    """The votes that a server can hold."""

    room: Capacity

    def about(
        self, level: str | None, question: str, answer: str | None, pool: Pool | None = None
    ) -> tuple[SearchPlan | None, tuple[str, ...]]:
        """The vote of one choice, None for one text, and notes: what it recognises holds for that choice alone."""
        return plan_effort(level or "none", question, answer, room=self.room, pool=pool)

    def risks(self, model: Model, level: str) -> tuple[float, ...]:
        """The shares of wrong answers that answers of this level can be held to, with the policy that it draws with."""
        plan, _ = plan_effort(level, "", "number", room=self.room)
        return model.risks(model.policy(POLICY), plan)

    def pool(self, level: str | None, ballots: int | None, questions: int) -> Pool | None:
        """What the questions of a request share; None where their ballots stay. Raises ApiError."""
        if ballots is None:
            return None
        name = "entropix.ballots"
        try:
            pool = make_pool(level, ballots)
        except ParameterError as error:
            raise invalid(f"{name}: {error}", name) from None
        if not self.room.waves:
            raise invalid(f"{name}: ballots cannot move on this engine: it draws no texts of a prompt later", name)
        most = self.room.texts // 2
        if questions > most:
            raise invalid(
                f"{name}: {questions} questions write two texts each at a time, and this server gives a request "
                f"at most {self.room.texts} places (--parallel); ask at most {most} at once, or leave ballots out",
                name,
            )
        return pool


def risk_of(
    model: Model, given: float | str | None, policy: Policy, plan: SearchPlan | None, level: str | None, *, calls: bool
) -> float | None:
    """The share of wrong answers to keep to, None for none. calls: the answer may be a call of a tool. Raises ApiError
    for one that is no share, and where the model's profile has no calibration for answers found like this."""
    if given is None:
        return None
    name = "entropix.risk"
    if calls:
        raise invalid(f"{name}: an answer that may call tools is one text, and a risk is kept by a vote", name)
    try:
        return model.risk(given, policy, plan, level)
    except (ParameterError, ProfileError) as error:
        raise invalid(f"{name}: {error}", name) from None
