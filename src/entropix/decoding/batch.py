"""Which branches run, wait or pause: groups by policy, admission, and making room."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, cast

from entropix.arrays import namespace, real_dtype
from entropix.decoding.job import Branch, Job, Status
from entropix.decoding.request import Request
from entropix.decoding.step import ADAPTIVE, SURPRISAL, WHOLE, Part
from entropix.engines import Engine, SequenceHandle, guard_of
from entropix.errors import CapacityError
from entropix.policies import Policy
from entropix.sampling import Filters
from entropix.types import Array, State

BREATH = 0.002
"""Seconds between two looks for a sequence that another thread's answers may have given back."""

CHUNK, PROMPTS = 252, 504
"""Most tokens of a prompt that are computed at once, and most of all prompts that begin in one step: running
answers wait no longer. A chunk is a multiple of what llama.cpp computes in one call, so that it rounds the same."""


@dataclass(eq=False)
class Group:
    """Running branches that decide by the same policy and filters; the policy sees them as one batch."""

    policy: Policy
    attention: bool
    injection: tuple[int, ...] = ()
    filters: Filters | None = None
    branches: list[Branch] = field(default_factory=list)
    joining: list[Branch] = field(default_factory=list)
    state: State | None = None
    later: State | None = None
    """The state after the step that is being taken, until `advance`."""

    def part(self, rows: slice, like: Array) -> Part:
        """What a step is to know of the group, whose rows are `rows`. `like`: an array of the engine's library."""
        xp = namespace(like)
        if self.joining:
            self.admit(like)
        before = self.state or {}
        if "surprisal" in self.policy.asked:
            seen = [branch.surprisal for branch in self.branches]
            before = {**before, SURPRISAL: xp.asarray(seen, dtype=real_dtype(xp, like), device=like.device)}
        if self.filters is not None and self.filters.adapts:
            first = self.filters.adaptive_target
            means = [first if (mean := branch.adaptive) is None else mean for branch in self.branches]
            before = {**before, ADAPTIVE: xp.asarray(means, dtype=real_dtype(xp, like), device=like.device)}
        injection = xp.asarray(self.injection, dtype=xp.int64, device=like.device) if self.injection else None

        def keep(_: int, after: State) -> None:
            self.later = {k: v for k, v in after.items() if k not in (SURPRISAL, ADAPTIVE)}  # the branches know theirs

        return Part(self.policy, rows, lambda _: before, keep, injection, self.attention, self.filters)

    def advance(self) -> None:
        """Move the state on. Until then the step can be taken again."""
        self.state = self.later

    def admit(self, like: Array) -> None:
        """Give the joining branches a state and make them rows. `like`: an array of the engine's library."""
        xp = namespace(like)
        for branch in self.joining:
            state = branch.state or self.policy.begin(branch.seed, like)
            if self.state is None:
                self.state = state
            else:
                self.state = {k: xp.concat([v, state[k]]) for k, v in self.state.items()}
            branch.state = None
        self.joining.clear()

    def state_of(self, branch: Branch) -> State | None:
        """The state of one running branch, a copy."""
        if self.state is None:
            return None
        row = self.branches.index(branch)
        return {k: v[[row]] for k, v in self.state.items()}

    def leave(self, branch: Branch) -> None:
        """Take a branch out; its state goes with it."""
        row = self.branches.index(branch)
        joined = len(self.branches) - len(self.joining)
        self.branches.pop(row)
        if branch in self.joining:
            self.joining.remove(branch)
        elif self.state is not None:
            branch.state = {k: v[row : row + 1] for k, v in self.state.items()}
            rest = [r for r in range(joined) if r != row]
            self.state = {k: v[rest] for k, v in self.state.items()} if rest else None


def parts_of(groups: list[Group], like: Array) -> list[Part]:
    """The groups' rows and states for one step. `like`: an array of the engine's library."""
    if len(groups) == 1:
        return [groups[0].part(WHOLE, like)]
    parts, start = [], 0
    for group in groups:
        rows = slice(start, start + len(group.branches))
        parts.append(group.part(rows, like))
        start = rows.stop
    return parts


class Batch:
    """The branches of all jobs on one engine, by `Status`; every change of it is made here.

    `waiting` has the waiting and the prefilling branches, those of answers that have begun first; `rows` the running
    ones, group after group. `reclaim` gives back something that others hold on the engine.
    """

    def __init__(self, engine: Engine, reclaim: Callable[[], bool] | None = None) -> None:
        self.engine = engine
        self.reclaim = reclaim or (lambda: False)
        self.waiting: deque[Branch] = deque()
        self.groups: list[Group] = []
        self.rows: list[Branch] = []
        self.paused: list[Branch] = []
        self.parked: list[Branch] = []
        self.starved = False
        """Whether a branch found all sequences with another thread's answers."""

    def statuses(self) -> dict[Status, int]:
        """How many branches are in each status, those that have ended left out."""
        prefilling = sum(branch.status is Status.PREFILLING for branch in self._begun())
        return {
            Status.WAITING: len(self.waiting) - prefilling,
            Status.PREFILLING: prefilling,
            Status.RUNNING: len(self.rows),
            Status.PAUSED: len(self.paused),
            Status.PARKED: len(self.parked),
        }

    def admit(self) -> None:
        """Move waiting branches into the batch while there are sequences and cells for them. Those that have their
        sequence already go first: a branch that waits for room must not hold up one that needs none."""
        for opened in self._opened():
            self._enter(opened)
        while branch := next((b for b in self.waiting if b.sequence is None), None):
            if not branch.job.begun and self.rows and self._reserved() + branch.job.reserve > self._sequences:
                break
            if not self.has_room:
                if self.rows or not self._evict():
                    break
                continue
            if not self._open(branch):
                break
            self.leave(branch)
            branch.job.begun = True
            self.add(branch)
            self._enter(branch)

    def _enter(self, branch: Branch) -> None:
        """Move a waiting branch that has its sequence into the batch, unless its prompt would hold up the others."""
        short = len(branch.pending) <= CHUNK
        if short and (branch.tokens or not self.rows or self._claimed() + len(branch.pending) <= PROMPTS):
            self.leave(branch)
            self._join(branch)
        else:
            branch.status = Status.WAITING if short else Status.PREFILLING

    def prefill(self) -> None:
        """Compute a chunk of the first prompt that is longer than one. Never more, also where nothing else runs: a
        request that comes, leaves or is stopped is seen only between two steps."""
        cells = self.engine.capabilities.cells
        branch = next((b for b in self._opened() if len(b.pending) > CHUNK), None)
        if branch is None:
            return
        while self.engine.cells_used() + self._claimed() + CHUNK > cells and self._evict():
            pass
        if self.rows and self.engine.cells_used() + self._claimed() + CHUNK > cells:
            self.close(branch)  # it begins anew when there is room
            branch.status = Status.WAITING
            return
        if branch.sequence is not None:
            self.engine.forward([(branch.sequence, branch.pending[:CHUNK])])
            branch.book(CHUNK)
        self._enter(branch)

    def _opened(self) -> list[Branch]:
        """The waiting branches that have their sequence."""
        return [b for b in self._begun() if b.sequence is not None]

    @property
    def _sequences(self) -> int:
        return self.engine.capabilities.sequences

    def _reserved(self) -> int:
        """Sequences that the answers that have begun may come to need. A search is admitted only with room for all
        its branches: one that had to wait would fall behind the others, and the tree would not be the same."""
        idle = (b for b in (*self.paused, *self.parked) if b.sequence is not None)
        return sum(job.reserve for job in {b.job for b in (*self.rows, *self._begun(), *idle)})

    def _begun(self) -> list[Branch]:
        """The waiting branches of answers that have begun. They stand first, so a long queue costs a step nothing."""
        return list(takewhile(lambda branch: branch.job.begun, self.waiting))

    @property
    def has_room(self) -> bool:
        """Whether there is a sequence left that none of these branches holds."""
        idle = sum(b.sequence is not None for b in (*self.paused, *self.parked))
        return len(self.rows) + len(self._opened()) + idle < self._sequences

    def fork(self, branch: Branch) -> SequenceHandle | None:
        """A sequence that shares all of the branch's; None where the engine has no room for it now, also because
        others than these branches hold sequences."""
        while branch.sequence is not None and self.has_room:
            try:
                return self.engine.fork(branch.sequence)[0]
            except CapacityError:
                if not self.reclaim():
                    break
        return None

    def breathe(self) -> None:
        """Outside the guard: wait a little for the sequences that another thread's answers hold."""
        if self.starved:
            self.starved = False
            time.sleep(BREATH)

    def _open(self, branch: Branch) -> bool:
        """Give a branch a sequence; False while there is no room for it."""
        tokens = [*branch.job.request.tokens, *branch.tokens]
        try:
            branch.sequence = self._new(branch.job.request, tokens)
        except CapacityError:
            if self.reclaim():
                return self._open(branch)
            if self.rows or self._opened():
                return False
            if self._evict():
                return self._open(branch)
            self.starved = guard_of(self.engine).is_shared
            if self.starved:
                return False
            raise
        promised = sum(len(b.pending) for b in self._opened() if b is not branch)
        new = promised + len(tokens) - len(branch.sequence.tokens) + (len(self.rows) + 1 if self.rows else 0)
        while self.engine.cells_used() + self._claimed() + new > self.engine.capabilities.cells:
            if self.reclaim():
                continue
            if not self.rows and not promised:
                break  # `make_room` sees to it, or says why not
            self.close(branch)
            return False
        have = len(branch.sequence.tokens)
        branch.pending = tokens[have:]
        if not branch.tokens and branch.parent is None:
            branch.job.ledger.shared = have
            branch.fresh = len(branch.pending)
        branch.fresh = min(branch.fresh, len(branch.pending))
        return True

    def _new(self, request: Request, tokens: list[int]) -> SequenceHandle:
        if not request.reproducible:
            return self.engine.open(tokens)
        # the request was admitted because this engine's `open` takes the keyword
        return cast(SequenceHandle, cast(Any, self.engine).open(tokens, prompt=len(request.tokens)))

    def _join(self, branch: Branch) -> None:
        request = branch.job.request
        key = request.policy, branch.job.attention, branch.job.injection, request.filters
        group = next((g for g in self.groups if (g.policy, g.attention, g.injection, g.filters) == key), None)
        if group is None:
            group = Group(*key)
            self.groups.append(group)
        group.branches.append(branch)
        group.joining.append(branch)
        branch.status = Status.RUNNING
        self._reorder()

    def _evict(self) -> bool:
        """Take a sequence that nothing runs on: one that others hold, else the youngest paused branch's, else that of
        the youngest branch that waits with one. What is ours is computed again when it continues."""
        if self.reclaim():
            return True
        idle = [b for b in self.paused if b.sequence is not None] or self._opened()
        if not idle:
            return False
        youngest = max(idle, key=lambda b: (b.job.started, b.number))
        self.close(youngest)
        if youngest.status is Status.PREFILLING:
            youngest.status = Status.WAITING
        return True

    def _claimed(self) -> int:
        """Tokens the running branches are about to forward."""
        return sum(len(branch.pending) for branch in self.rows)

    def make_room(self) -> None:
        """Send the youngest branches back to the queue until the next forward fits. Their text continues later as
        if nothing had happened: noise depends on the position alone. Paused branches give way first."""
        capabilities = self.engine.capabilities
        while self.rows and self.engine.cells_used() + self._claimed() > capabilities.cells:
            if self._evict():
                continue
            youngest = max(self.rows, key=lambda b: (b.job.started, b.number))
            if len(self.rows) == 1:
                raise CapacityError(
                    f"no room for {youngest.length} tokens: the KV cache has {capabilities.cells} cells, of which "
                    f"{self.engine.cells_used()} are taken; close kept sequences or load the model with more cells"
                )
            self.leave(youngest)
            self.close(youngest)
            self._put_first(youngest)

    def take_back(self) -> None:
        """Undo the last forward, of which nothing came: what ran waits, in order, and is computed again."""
        running = list(self.rows)
        for branch in running:
            self.leave(branch)
            self.close(branch)
        for branch in reversed(running):
            self._put_first(branch)

    def park(self, job: Job, *, keep: bool) -> None:
        """Take a job's branches out of the rows and the queue until `unpark`."""
        for branch in job.branches:
            if branch.status in (Status.WAITING, Status.PREFILLING, Status.RUNNING):
                self.leave(branch)
                if not keep:
                    self.close(branch)
                branch.status = Status.PARKED
                self.parked.append(branch)

    def unpark(self, job: Job) -> None:
        """Put a parked job's branches back into the queue."""
        for branch in [b for b in self.parked if b.job is job]:
            self.resume(branch)

    def enqueue(self, branch: Branch) -> None:
        """Put a new request's branch at the end of the queue."""
        self.waiting.append(branch)

    def add(self, branch: Branch) -> None:
        """Run a branch from the next step on, ahead of requests that have not begun."""
        branch.status = Status.WAITING
        self.waiting.insert(len(self._begun()), branch)

    def _put_first(self, branch: Branch) -> None:
        branch.status = Status.WAITING
        self.waiting.appendleft(branch)

    def pause(self, branch: Branch) -> None:
        """Stop running a branch and keep its sequence."""
        self.leave(branch)
        branch.status = Status.PAUSED
        self.paused.append(branch)

    def resume(self, branch: Branch) -> None:
        """Run a paused or parked branch again."""
        self.leave(branch)
        self.add(branch)

    def leave(self, branch: Branch) -> None:
        """Out of whatever its status has put it into."""
        if branch.status is Status.RUNNING:
            group = self.group_of(branch)
            group.leave(branch)
            if not group.branches:
                self.groups.remove(group)
            self._reorder()
        elif branch.status is Status.PAUSED:
            self.paused.remove(branch)
        elif branch.status is Status.PARKED:
            self.parked.remove(branch)
        elif branch in self.waiting:
            self.waiting.remove(branch)

    def remove(self, branch: Branch, *, keep: bool = False) -> None:
        """End a branch; the sequence is closed unless it is to be kept."""
        self.leave(branch)
        branch.status = Status.ENDED
        if not keep:
            self.close(branch)

    def group_of(self, branch: Branch) -> Group:
        return next(g for g in self.groups if branch in g.branches)

    def close(self, branch: Branch) -> None:
        if branch.sequence is not None:
            with guard_of(self.engine).ending() as usable:
                if usable:
                    self.engine.close(branch.sequence)
            branch.sequence = None

    def _reorder(self) -> None:
        """Rows are the groups' branches, group after group."""
        self.rows = [branch for group in self.groups for branch in group.branches]
