"""An answer at a risk: a server of this project holds the vote itself, as it knows what its confidence is worth.

Every other search over an endpoint is a matter of its texts. A risk is not: it takes a calibration of exactly that
model, chat template, policy and rule, which lies in the profile of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropix.errors import EndpointError, ParameterError
from entropix.profiles.confidence import parse_risk
from entropix.remote.client import Client, Refusal
from entropix.trace.records import result_from, step_from
from entropix.types import Result, Step

LOOK = 0.1
"""Seconds between two looks at whether the client still waits."""


@dataclass(frozen=True)
class ToldText:
    """A text of the vote that goes on; its answer once it has been read."""

    answer: str | None = None


Progress = Callable[[Sequence[ToldText]], None]


@dataclass
class JudgedAnswer:
    """What has come of one answer. fields: of the request, beside those that ask for the vote."""

    client: Client
    fields: Mapping[str, Any]
    effort: str
    risk: float | str
    answer: str | None
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    record: Mapping[str, Any] | None = None

    async def run(self, limit: float | None, watch: Callable[[], bool] | None, progress: Progress | None) -> Result:
        """Ask, and wait for the answer at most `limit` seconds, or until `watch` is False. Raises EndpointError."""
        info = await self._info()
        task = asyncio.create_task(self._read(progress))
        ends = None if limit is None else time.monotonic() + limit
        try:
            while not (await asyncio.wait({task}, timeout=LOOK))[0]:
                if watch is not None and not watch():
                    raise EndpointError(f"stopped before {self.client.url} had decided")
                if ends is not None and time.monotonic() >= ends:
                    raise EndpointError(
                        f"{self.client.url} did not decide within the time limit of {limit:g} s; give it more"
                    )
            task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, EndpointError):
                await task
        if self.record is None:
            raise EndpointError(f"{self.client.url} ended its answer without saying what became of the vote")
        try:
            return result_from({**self.record, "text": self.text}, info, tuple(self.steps))
        except ValueError as error:
            raise self._foreign(str(error)) from None

    async def _info(self) -> Mapping[str, Any]:
        """What the server says of itself. Raises Refusal where it is none of this project."""
        try:
            info = await self.client.get(f"{self.client.url.removesuffix('/v1')}/entropix/info")
        except Refusal as error:
            raise self._foreign(str(error)) from None
        if not isinstance(info, Mapping) or "effort_levels" not in info:
            raise self._foreign("it does not say what efforts it knows")
        return info

    def _foreign(self, why: str) -> Refusal:
        return Refusal(
            f"risk: {self.client.url} is no `entropix serve` of this version ({why}), and another server knows no "
            "calibration of its model; leave the risk out, or give the address of one"
        )

    async def _read(self, progress: Progress | None) -> None:
        ours = {"effort": self.effort, "risk": self.risk, "progress": True, "steps": True}
        ours |= {} if self.answer is None else {"answer": self.answer}
        async for event in self.client.events({**self.fields, "entropix": ours}):
            try:
                self._take(event, progress)
            except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
                raise self._foreign(f"a chunk of another shape: {error}") from None

    def _take(self, event: Mapping[str, Any], progress: Progress | None) -> None:
        for choice in event.get("choices") or ():
            self.text += choice["delta"].get("content") or ""
        told = event.get("entropix") or {}
        self.steps += [step_from(step) for step in told.get("steps") or ()]
        self.record = told.get("result", self.record)
        if progress is not None and (state := told.get("progress")):
            said = [ToldText(answer) for answer, n in state["answers"].items() for _ in range(n)]
            progress(said + [ToldText()] * (state["texts"] - len(said)))


def check_judged(risk: float | str, search: object, effort: str | None, answer: object, raw: bool) -> None:
    """Raises ParameterError for a risk that is no share, or that is asked for of what a server cannot judge."""
    parse_risk(risk)
    if search is not None or effort in (None, "none"):
        raise ParameterError("risk is kept by a vote of the endpoint: give effort low, medium or high with it")
    if answer is not None and not isinstance(answer, str):
        raise ParameterError("risk: the endpoint reads the answers; give answer as the name of an extractor")
    if raw:
        raise ParameterError("risk: ask without raw; the vote is about a user's message")
