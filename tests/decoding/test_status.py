"""Every branch is in one place, and its status says in which."""

from __future__ import annotations

from collections import Counter

import pytest

from entropix.decoding import Decoder, Job, Request, Status
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.policies import make_policy
from entropix.search import make_search
from entropix.types import Kind, Ledger, Thresholds

POLICY = make_policy("sample:temperature=1.0", Thresholds(0.3, 2.0, 0.25, 1.5), 260)
SEARCHES = (
    None,
    "lookahead:trigger=entropy,threshold=0.5,horizon=5",
    "branch:trigger=entropy,threshold=0.5,horizon=6,sure=2",
    "backtrack:trigger=entropy,threshold=0.8",
    "tree:when=end,trigger=entropy,threshold=0.3,max_sequences=4",
    "vote:n=4,answer=text",
)


def request(prompt: int = 4, spec: str | None = None, **values: object) -> Request:
    search = None if spec is None else make_search(spec)
    return Request(tokens=[n % 250 for n in range(prompt)], policy=POLICY, max_tokens=24, search=search, **values)  # type: ignore[arg-type]


def counted(decoder: Decoder, jobs: list[Job]) -> Counter[Status]:
    """How many branches are in each status, after a look at each: what has ended holds nothing, what runs does."""
    found: Counter[Status] = Counter()
    for branch in (branch for job in jobs for branch in job.branches):
        found[branch.status] += 1
        if branch.status in (Status.PREFILLING, Status.RUNNING):
            assert branch.sequence is not None
        if branch.status is Status.ENDED:
            assert branch.sequence is None
    del found[Status.ENDED]
    assert found == Counter({status: n for status, n in decoder.statuses().items() if n})
    return found


def test_an_answer_waits_is_prefilled_runs_is_parked_and_ends() -> None:
    decoder = Decoder(ScriptedEngine(hashed(2.0), sequences=2))
    jobs = [decoder.submit(request(4)), decoder.submit(request(600)), decoder.submit(request(5))]
    assert [job.trunk.status for job in jobs] == [Status.WAITING] * 3
    decoder.step()
    assert [job.trunk.status for job in jobs] == [Status.RUNNING, Status.PREFILLING, Status.WAITING]
    decoder.step()
    decoder.step()
    assert jobs[1].trunk.status is Status.RUNNING
    for keep in (True, False):
        decoder.park(jobs[0], keep=keep)
        decoder.step()
        assert jobs[0].trunk.status is Status.PARKED
        assert (jobs[0].trunk.sequence is not None) == keep
        decoder.unpark(jobs[0])
        assert jobs[0].trunk.status is Status.WAITING
        decoder.step()
    for _ in decoder.run():
        pass
    assert [job.trunk.status for job in jobs] == [Status.ENDED] * 3
    assert not any(decoder.statuses().values())


@pytest.mark.parametrize("cells", [70, 4000])
def test_every_branch_is_where_its_status_says(cells: int) -> None:
    engine = ScriptedEngine(hashed(1.5), sequences=8, context=60, cells=cells)
    decoder = Decoder(engine)
    jobs = [decoder.submit(request(4 + n, spec, seed=n)) for n, spec in enumerate(SEARCHES)]
    seen: Counter[Status] = Counter()
    step = 0
    while decoder.busy:
        decoder.step()
        seen += counted(decoder, jobs)
        step += 1
        if step % 5 == 0 and decoder.jobs:
            decoder.park(decoder.jobs[0], keep=step % 2 == 0)
            seen += counted(decoder, jobs)
            decoder.step()
            for job in decoder.jobs:
                decoder.unpark(job)
    assert set(seen) >= {Status.WAITING, Status.RUNNING, Status.PAUSED, Status.PARKED}
    assert engine.cells_used() == 0


def test_a_ledger_moves_tokens_and_loses_none() -> None:
    ledger = Ledger()
    for kind, fresh, again in ((Kind.PROMPT, 7, 0), (Kind.SAMPLED, 5, 2), (Kind.INJECTED, 3, 0)):
        ledger.forward(kind, fresh, again)
    assert (ledger.prompt, ledger.sampled, ledger.injected, ledger.recomputed, ledger.forwards) == (7, 5, 3, 2, 3)
    ledger.abandon(2, 1)
    ledger.look_ahead(1, 0)
    assert (ledger.sampled, ledger.injected, ledger.abandoned, ledger.looked_ahead) == (2, 2, 3, 1)
    assert ledger.forwarded == 17
