"""The run: every item with every spec and seed through the one decoding loop, as one changing batch."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.answers import extractor
from entropix.decoding import Decoder, Job
from entropix.errors import TaskError
from entropix.evaluate.code import RIGHT, UNGRADED
from entropix.evaluate.specs import Spec
from entropix.evaluate.store import Key, Store
from entropix.evaluate.tasks import Item, Task
from entropix.evaluate.texts import kept_of
from entropix.model import Model
from entropix.model.afterwards import Afterwards, Readings
from entropix.model.stream import finish
from entropix.profiles import Profile
from entropix.search import SearchPlan
from entropix.search.effort import ANY, Capacity, make_pool, plan_effort
from entropix.search.pool import Pool
from entropix.types import Action, BranchRecord, Result
from entropix.uncertainty import StepsReading, Uncertainties, branch_readings, observed
from entropix.uncertainty.readings import ALTERNATIVES

ENDS = ("end", "stop", "length", "context")
"""How a text ends by itself, rather than because the search was over."""

WINDOW = 32
"""Tokens in the windows whose largest mean entropy is recorded."""


@dataclass(frozen=True)
class Unit:
    """One answer to be decoded."""

    task: Task
    item: Item
    seed: int
    spec: Spec

    @property
    def key(self) -> Key:
        return self.task.name, self.item.id, self.seed, self.spec.name

    def plan(self, budget: int | None = None, pool: Pool | None = None, room: Capacity = ANY) -> SearchPlan | None:
        """The search about this question. pool: the ballots that it shares with the other items."""
        if self.spec.effort is not None:
            level, _ = self.spec.effort
            plan, _ = plan_effort(level, self.question, self.extract, room=room, pool=pool)
            return plan if plan is None or not budget else plan.within(budget)
        plan = self.spec.plan(budget)
        return None if plan is None else plan.about(self.question)

    @property
    def question(self) -> str:
        return self.item.question or self.item.prompt

    def extract(self, text: str) -> str | None:
        """The answer that a text gives to this question, None for none."""
        return self.task.extract(text, self.question)


def units(tasks: Sequence[Task], specs: Sequence[Spec], seeds: Sequence[int]) -> list[Unit]:
    """Everything to be decoded, item by item, so that a run that is cut short has compared the specs on the same
    items."""
    return [Unit(t, item, seed, spec) for t in tasks for item in t.items for seed in seeds for spec in specs]


def evaluate(
    model: Model,
    work: Iterable[Unit],
    store: Store,
    *,
    max_tokens: int = 512,
    budget: int | None = None,
    together: int = 16,
    progress: Callable[[int], None] = lambda done: None,
    go_on: Callable[[], bool] = lambda: True,
    tuning: bool = False,
    uncertainty: Sequence[str] = (),
) -> int:
    """Decode what the store does not hold yet, `together` answers at a time; each outcome is kept when it is there.

    Ballots that move between items are those of all items of a task at once, so such a spec comes after the others, and
    what is left of one is done again as a whole. What no seed changes is decoded once and kept under every seed.

    budget: most tokens of one answer, all its branches together. go_on: asked after every model call; False stops,
    and what is unfinished is done again next time. tuning: the outcomes choose settings and are not reported.
    uncertainty: estimators that ask the model, for the answers of votes.
    Returns how many outcomes were added. Raises TaskError for items that the model's profile was tuned on."""
    work = list(work)
    if not tuning:
        check_untuned(model.profile, work)
    waiting, same = _once(work, store)
    pools = deque(group for group in _pools(work) if not all(is_done(unit, store) for unit in group))
    running: dict[Job, Unit] = {}
    decoder = Decoder(model.engine)
    done = 0

    def keep(found: dict[str, Any], seeds: Iterable[int]) -> None:
        nonlocal done
        for seed in seeds:
            store.add({**found, "seed": seed})
            done += 1
            progress(done)

    awaited = {unit.key for unit in waiting}
    for key, others in same.items():
        if key not in awaited:
            keep(store.outcomes[key], (unit.seed for unit in others))
    try:
        while waiting or running or pools:
            while waiting and len(running) < together:
                unit = waiting.popleft()
                running[submit(decoder, model, unit, max_tokens, budget, uncertainty=uncertainty)] = unit
            if not running:
                running = submit_together(decoder, model, pools.popleft(), max_tokens, budget, uncertainty)
            ended = [event.job for event in decoder.step() if event.step is None]
            for job in ended:
                finish(model, job)
                unit = running.pop(job)
                seeds = (unit.seed, *(other.seed for other in same.get(unit.key, ())))
                keep(outcome(unit, model.result(job), job.readings), seeds)
            if not go_on():
                break
    finally:
        decoder.close()
    return done


def _once(work: Sequence[Unit], store: Store) -> tuple[deque[Unit], dict[Key, list[Unit]]]:
    """The units to be decoded that share no ballots, and by the key of each those that are the same text under another
    seed. The key may be of a unit that the store holds already."""
    waiting: deque[Unit] = deque()
    same: dict[Key, list[Unit]] = {}
    first: dict[tuple[str, str, str], Key] = {}  # of every task, item and spec that no seed changes
    alone = [unit for unit in work if not pooled(unit)]
    for unit in sorted(alone, key=lambda unit: not is_done(unit, store)):  # stable: those that are done come first
        name = unit.task.name, unit.item.id, unit.spec.name
        known = unit.key if unit.spec.seeded else first.setdefault(name, unit.key)
        if is_done(unit, store):
            continue
        if known == unit.key:
            waiting.append(unit)
        else:
            same.setdefault(known, []).append(unit)
    return waiting, same


def pooled(unit: Unit) -> bool:
    """Whether its ballots move between it and the other items of its task."""
    return unit.spec.effort is not None and unit.spec.effort[1] is not None


def _pools(work: Sequence[Unit]) -> list[list[Unit]]:
    """The units that share ballots: those of one task, seed and spec."""
    found: dict[tuple[str, int, str], list[Unit]] = {}
    for unit in filter(pooled, work):
        found.setdefault((unit.task.name, unit.seed, unit.spec.name), []).append(unit)
    return list(found.values())


def is_done(unit: Unit, store: Store) -> bool:
    """Whether the store holds this answer, graded, to the same question: an item that was edited is answered again."""
    found = store.outcomes.get(unit.key)
    if found is None or found.get("graded") == UNGRADED:
        return False
    return (found["prompt"], found["gold"]) == (digest(unit.item.prompt), unit.item.answer)


def check_untuned(profile: Profile, work: Iterable[Unit]) -> None:
    """Raises TaskError if settings of the profile were chosen on some of these items: figures on them would show
    what was chosen, not what to expect."""
    seen = {item for note in profile.tuned for item in note["items"]}
    # by the question, whatever else is asked for after it; profiles of before hold the whole prompt
    asked = {u.item.id: not seen.isdisjoint(map(digest, (u.item.question, u.item.prompt))) for u in work}
    if any(asked.values()):
        raise TaskError(
            f"profile {profile.name!r} was tuned on {sum(asked.values())} of these {len(asked)} items, and nothing is "
            "reported on them; leave them out (--skip N), take another split (--task-seed N), or another profile"
        )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def submit(
    decoder: Decoder,
    model: Model,
    unit: Unit,
    max_tokens: int,
    budget: int | None,
    pool: Pool | None = None,
    uncertainty: Sequence[str] = (),
) -> Job:
    most = unit.spec.max_tokens or max_tokens
    plan = unit.plan(budget, pool, Capacity.of(model.engine.capabilities))
    filters, repetition = unit.spec.settings
    request = model.request(
        unit.item.prompt,
        filters=filters,
        repetition=repetition,
        policy=unit.spec.policy,
        search=plan,
        uncertainty=uncertainty if plan is not None and plan.reads is not None else (),
        seed=seed_of(unit),
        max_tokens=min(most, budget or most),
        leading=ALTERNATIVES,
    )
    if request.after is not None:  # without the task's instruction, which asks for another form of answer
        request = dataclasses.replace(request, after=Afterwards(unit.question, assess=True))
    return decoder.submit(request)


def submit_together(
    decoder: Decoder,
    model: Model,
    group: Sequence[Unit],
    max_tokens: int,
    budget: int | None,
    uncertainty: Sequence[str] = (),
) -> dict[Job, Unit]:
    """The units of one pool, all at once: which question gets the next ballot depends on all of them."""
    effort = group[0].spec.effort
    assert effort is not None
    assert effort[1] is not None
    pool = make_pool(effort[0], effort[1])
    return {submit(decoder, model, unit, max_tokens, budget, pool, uncertainty): unit for unit in group}


def seed_of(unit: Unit) -> int:
    """The same for every spec, which makes the comparison paired, and another for every item: with one seed for all
    items the noise at a position would be the same in all of them, and their outcomes not independent."""
    text = f"{unit.seed}\0{unit.task.name}\0{unit.item.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def outcome(unit: Unit, result: Result, readings: Readings | None = None) -> dict[str, Any]:
    """What is kept of an answer: enough to grade it again, to weigh it, and to see what was done. readings: what the
    model said of it afterwards."""
    vote = result.search if result.search is not None and result.search.ballots else None
    answer = vote.answer if vote else unit.extract(result.text)
    cast = vote.branches if vote else ()
    ballots = [b.answer for b in cast]
    said = readings or Readings()
    mine = said.probability(answer)
    known = Uncertainties(lambda: observed(result.steps, result.finish_reason, vote, _reader(unit), mine))
    grades = {a: unit.task.grade(unit.item, a) for a in dict.fromkeys([answer, *ballots])}
    return {
        "task": unit.task.name,
        "item": unit.item.id,
        "seed": unit.seed,
        "spec": unit.spec.name,
        "prompt": digest(unit.item.prompt),
        "answer": answer,
        "gold": unit.item.answer,
        "graded": grades[answer][0],
        "failure": grades[answer][1],
        "right": grades[answer][0] == RIGHT,
        "any_right": any(why == RIGHT for why, _ in grades.values()),
        "ballots": ballots,
        "ballot_right": [grades[a][0] == RIGHT for a in ballots],
        "ballot_tokens": [_computed(b) for b in cast],
        "ballot_ends": [b.ended for b in cast],
        "ballot_before": [b.before for b in cast],
        "texts": [kept_of(text) for text in _readings(unit, result, answer)],
        "independent": _independent(unit, cast),
        "text": result.text,
        "finish_reason": result.finish_reason,
        "tokens": len(result.tokens),
        "forwarded": result.ledger.forwarded,
        "unshared": result.ledger.forwarded + result.ledger.shared + _shared(result),
        "ledger": dataclasses.asdict(result.ledger),
        "seconds": result.seconds,
        "signals": measures(result),
        "uncertainties": dict(known),
        "regimes": result.regime_shares,
        "injected": sum(step.action == Action.INJECT for step in result.steps),
        "departed": sum(bool(step.rank) for step in result.steps),
        "compared": sum(bool(step.drawn) for step in result.steps),
        "branches": len(result.search.branches) if result.search else 1,
        "notes": list(result.notes),
        **({} if said.assessed is None else {"assessed": said.assessed.by_answer}),
    }


def _reader(unit: Unit) -> Callable[[str], str | None] | None:
    """What reads the answers of a unit's texts: its vote's extractor, or the task's where there is none."""
    plan = unit.plan()
    return unit.extract if plan is None or plan.reads is None else extractor(plan.reads)


def _readings(unit: Unit, result: Result, answer: str | None) -> list[StepsReading]:
    """Each ballot, or the only text where there was no vote."""
    if result.search is not None and result.search.ballots:
        return branch_readings(result.search.branches, _reader(unit))
    return [StepsReading(result.steps, answer, result.finish_reason, unit.extract)]


def measures(result: Result) -> dict[str, float]:
    """Signals that might separate right answers from wrong ones, each so that higher is surer."""
    entropies = [s.entropy for s in result.steps if s.entropy is not None]
    windows = [entropies[n : n + WINDOW] for n in range(max(1, len(entropies) - WINDOW + 1)) if entropies]
    return {
        "confidence": result.share,
        "length": -float(len(result.tokens)),
        "mean log-probability": -result.surprisal / max(1, sum(s.logprob is not None for s in result.steps)),
        "sum of log-probabilities": -result.surprisal,
        "mean entropy": -result.mean_entropy,
        "largest window of entropy": -max((sum(w) / len(w) for w in windows), default=0.0),
    }


def _independent(unit: Unit, cast: Sequence[BranchRecord]) -> bool:
    """Whether the ballots are whole samples that counted once each, so that the first few are a smaller vote."""
    plan = unit.plan()
    if plan is None or not plan.is_vote_of_samples:
        return False
    return bool(cast) and all(b.origin == 0 and b.ended in ENDS for b in cast)


def _computed(branch: BranchRecord) -> int:
    """What a branch alone has cost: its tokens less the last one, or the injection it ended in: no forward saw it."""
    own = [step.action for step in branch.steps]
    last = next((n for n, action in enumerate(reversed(own)) if action != Action.INJECT), len(own))
    return max(len(own) - max(last, 1), 0)


def _shared(result: Result) -> int:
    """Tokens that forks did not compute because they shared their parent's prefix."""
    if result.search is None:
        return 0
    return sum(result.prompt_tokens + b.origin for b in result.search.branches if b.parent is not None)
