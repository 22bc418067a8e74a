"""A policy sees the surprisal of what was drawn, whatever happens to its branch in between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from entropix.arrays import namespace
from entropix.decoding import Decoder, Job, Request
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.policies import Policy, sampled
from entropix.search import make_search
from entropix.types import Action, Step, Thresholds
from helpers.scripts import SEARCHES

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)
FIRST = 9.0


@dataclass(frozen=True, kw_only=True)
class Tells(Policy):
    """Says what it sees: the surprisal is the temperature, 9 before the first. Injects at every fifth decision."""

    name: ClassVar[str] = "tells"
    needs: ClassVar[frozenset[str]] = frozenset({"surprisal"})
    injects: bool = True

    @property
    def injection(self) -> str:
        return "abc" if self.injects else ""

    def initial(self, rows: int, like: Any) -> Any:
        return {"turn": namespace(like).zeros((rows,), dtype=namespace(like).int64)}

    def decide(self, signals: Any, regime: Any, state: Any) -> Any:
        xp = namespace(signals.entropy)
        turn = state["turn"] + 1
        temperature = xp.where(xp.isnan(signals.surprisal), FIRST, signals.surprisal)
        action = xp.astype((turn % 5 == 0) & self.injects, xp.int64)
        return sampled(regime, like=signals.entropy, temperature=temperature, action=action), {"turn": turn}


def run(engine: ScriptedEngine, *requests: Request) -> list[Job]:
    decoder = Decoder(engine)
    jobs = [decoder.submit(r, n) for n, r in enumerate(requests)]
    for _ in decoder.run():
        pass
    return jobs


def request(n: int = 0, *, injects: bool = True, **values: Any) -> Request:
    policy = Tells(thresholds=THRESHOLDS, injects=injects)
    return Request(tokens=tuple(range(70 + n, 74 + n)), policy=policy, seed=n, max_tokens=40, ignore_end=True, **values)


def check(steps: list[Step]) -> None:
    """Every decision saw the last own token's surprisal."""
    last, decided = FIRST, 0
    for step in steps:
        if step.temperature is not None:
            assert step.temperature == pytest.approx(last, abs=1e-12), step.index
            decided += 1
        if step.logprob is not None:
            last = -step.logprob
    assert decided > 5


def test_after_injections_in_any_batch_and_after_pre_emption() -> None:
    (alone,) = run(ScriptedEngine(hashed(2.0)), request(2))
    check(alone.steps)
    assert sum(step.action == Action.INJECT for step in alone.steps) > 3
    crowded = ScriptedEngine(hashed(2.0), sequences=4, cells=90)
    jobs = run(crowded, *(request(n) for n in range(5)))
    assert sum(job.ledger.recomputed for job in jobs) > 0, "nothing was pre-empted"
    for job in jobs:
        check(job.steps)
    assert jobs[2].tokens == alone.tokens


@pytest.mark.parametrize("spec", SEARCHES)
@pytest.mark.parametrize("injects", [False, True])
def test_after_forks_and_rewinds(spec: str, injects: bool) -> None:
    (job,) = run(ScriptedEngine(hashed(2.0), sequences=16), request(1, injects=injects, search=make_search(spec)))
    assert len(job.branches) > 1 or job.ledger.abandoned > 0, "the search did nothing"
    for branch in job.branches:
        check(branch.steps) if len(branch.steps) > 20 else None


def test_torch_and_numpy_see_the_same() -> None:
    torch = pytest.importorskip("torch")

    class OnTorch(ScriptedEngine):
        def forward(self, work: Any, *, attention: bool = False) -> Any:
            from dataclasses import replace

            seen = super().forward(work, attention=attention)
            return replace(seen, logits=torch.from_numpy(np.array(seen.logits)), attention=None)

    (numpy,) = run(ScriptedEngine(hashed(2.0), attention=False), request(3))
    (other,) = run(OnTorch(hashed(2.0), attention=False), request(3))
    assert numpy.tokens == other.tokens
    assert not any(math.isnan(step.temperature or 0) for step in other.steps)
