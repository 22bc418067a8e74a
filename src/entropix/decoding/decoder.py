"""The decoding loop: observe, decide, act, record. Everything that decodes runs this one loop over a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from entropix.decoding.admission import check_request
from entropix.decoding.batch import Batch, parts_of
from entropix.decoding.job import Branch, Event, Job, Status
from entropix.decoding.masks import apply_masks, free_normalisers, measured, no_numbers
from entropix.decoding.proposal import TOP, Proposal, Redraw
from entropix.decoding.record import Recorder
from entropix.decoding.request import Request
from entropix.decoding.step import Taken, noise_keys, take_step
from entropix.engines import Engine, guard_of
from entropix.sampling import WINDOW
from entropix.sampling.repetition import BREAKERS
from entropix.types import Action, Kind, Observation, Regime, State, Step

BREAKS = tuple(text.encode() for text in BREAKERS)


class Decoder:
    """Decodes any number of requests on one engine, as many at a time as it has room for.

    Requests join and leave the running batch at every step. `submit` queues, `step` advances everything by one
    model call and returns what became certain, `cancel` ends one early, `close` ends all. A search acts through
    `accept`, `fork`, `fork_at`, `retrace`, `rewind`, `pause`, `resume`, `release`, `drop` and `conclude`.

    When `step` raises, no branch has taken a token: the next one computes the same again. reclaim: called when
    sequences or cells run short; gives back something that others hold, False when there is nothing. isolate: an
    answer whose own search, text or logits fail ends alone, with finish_reason "error" and `job.error`, instead of
    raising.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        window: int = WINDOW,
        reclaim: Callable[[], bool] | None = None,
        isolate: bool = False,
    ) -> None:
        self.engine = engine
        self.window = window
        self.isolate = isolate
        self._guard = guard_of(engine)
        self._batch = Batch(engine, reclaim)
        self._jobs: list[Job] = []

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def jobs(self) -> list[Job]:
        """The answers that have not ended, in the order of submission."""
        return list(self._jobs)

    def submit(self, request: Request, index: int = 0) -> Job:
        """Queue a request. Raises what `check_request` raises, at once rather than in the middle of a text."""
        wants, notes = check_request(self.engine, request)
        # in a constrained text every token is data: an aside would be part of the client's JSON
        injection = request.policy.injection if request.constraint is None else ""
        tokens = tuple(self.engine.tokenizer.encode(injection)) if injection else ()
        job = Job(request, injection=tokens, attention=wants, index=index, notes=[*request.notes, *notes])
        self._jobs.append(job)
        self._batch.enqueue(job.trunk)
        return job

    def step(self) -> list[Event]:
        """One model call for everything that runs. Returns the events it made certain, in row order."""
        with self._guard:
            events = self._step()
        self._batch.breathe()
        return events

    def _step(self) -> list[Event]:
        batch = self._batch
        batch.admit()
        batch.prefill()
        batch.make_room()
        rows = batch.rows
        if not rows:
            return self._search({job: [] for job in self._jobs if job.idle})
        work = [(branch.sequence, branch.pending) for branch in rows if branch.sequence is not None]
        observation = self.engine.forward(work, attention=any(g.attention for g in batch.groups))
        self._book()
        try:
            recorder, taken, impossible, broken = self._observe(rows, observation)
        except Exception:
            batch.take_back()
            raise
        events = [event for row in broken for event in self._fail(rows[row].job, no_numbers(self.engine))]
        return events + self._act(rows, recorder, taken, impossible)

    def _observe(
        self, rows: list[Branch], observation: Observation
    ) -> tuple[Recorder, Taken, dict[int, str], list[int]]:
        """Measure, decide and choose. The policies' states move on at the very end, so that it can be done again."""
        logits, impossible = apply_masks(observation.logits, rows, self._breaks)
        groups = self._batch.groups
        asked = frozenset().union(*(group.policy.asked for group in groups))
        logits, signals, broken = measured(logits, observation, asked)
        if broken and not self.isolate:
            raise no_numbers(self.engine)
        shown = max(max(b.job.request.leading, TOP if b.job.explorer is not None else 1) for b in rows)
        keys = noise_keys([(b.seed, b.length) for b in rows], logits)
        taken = take_step(logits, signals, parts_of(groups, signals.entropy), keys, window=self.window, shown=shown)
        recorder = Recorder(taken, free_normalisers(observation.logits, rows))
        for group in groups:
            group.advance()
        return recorder, taken, impossible, broken

    def _breaks(self, token: int) -> bool:
        """Whether a token ends a repetition, for DRY."""
        piece = self.engine.tokenizer.piece(token)
        return any(text in piece for text in BREAKS)

    def run(self) -> Iterator[Event]:
        """Steps until nothing is left. Closing the iterator cancels what still runs."""
        try:
            while self.busy:
                yield from self.step()
        finally:
            self.close()

    def cancel(self, job: Job, reason: str = "cancelled") -> list[Event]:
        """End a job early; what it has said stays, and what waited to be certain is released. Of a search, the texts
        that have ended decide."""
        with self._guard.ending():
            if job.finish_reason:
                return []
            if job.explorer is not None and reason == "cancelled":
                job.explorer.stopped(self)
            return self._end(job, job.trunk, job.finish_reason or reason)

    def park(self, job: Job, *, keep: bool = True) -> None:
        """Leave a job out of the steps until `unpark`. Without `keep` its sequences are given back meanwhile, and
        computed again afterwards; the text is the same either way."""
        with self._guard:
            self._batch.park(job, keep=keep)

    def unpark(self, job: Job) -> None:
        """Let a parked job continue."""
        self._batch.unpark(job)

    def statuses(self) -> dict[Status, int]:
        """How many branches are in each status, those that have ended left out."""
        return self._batch.statuses()

    def close(self) -> None:
        """End everything and give the sequences back, whatever state an interrupted step left."""
        self._guard.afterwards(self._close)

    def _close(self) -> None:
        for job in list(self._jobs):
            self.cancel(job)

    # what a search can do

    def accept(self, branch: Branch, step: Step, *, injects: bool = False, confidence: float = 0.0) -> None:
        """Take `step` on `branch`, or the injection that begins with it, and see whether its text ends."""
        request = branch.job.request
        history = branch.history if request.search is not None and request.search.goes_back else None
        state = None
        if history is not None and branch.status is Status.RUNNING:
            state = self._batch.group_of(branch).state_of(branch)
        before = len(branch.tokens)
        if injects:
            self._inject(branch, step)
        else:
            branch.take(step, self.engine.tokenizer)
            branch.pending, branch.pending_kind, branch.fresh = [step.token], Kind.SAMPLED, 1
        taken = len(branch.tokens) - before
        branch.job.spent += taken
        if branch.job.explorer is not None:
            branch.confidence += [confidence] * taken
        if history is not None:
            history += [state or branch.state] * taken
        chosen = not injects and before >= len(request.forced)
        ended = chosen and step.token in self.engine.tokenizer.end_tokens and not request.ignore_end
        if branch.matcher is not None and not ended:
            branch.matcher.accept(step.token)
            ended = branch.matcher.complete
        reason = "end" if ended else ""
        if branch.stream.stopped:
            reason = "stop"
        elif not reason and len(branch.tokens) >= self._limit(branch.job):
            wanted = request.max_tokens
            reason = "length" if wanted is not None and len(branch.tokens) >= wanted else "context"
        branch.finish_reason = reason
        if not chosen and not injects and branch.given is None:
            self._begin_to_choose(branch)
        if reason and branch.job.explorer is not None:
            self._batch.pause(branch)

    def _begin_to_choose(self, branch: Branch) -> None:
        """The last given token has come: the text and the policy begin here, as after a prompt."""
        branch.stream.finish()
        branch.stream = branch.job.new_stream()
        if not branch.finish_reason and branch.status is Status.RUNNING:
            self._batch.leave(branch)
            branch.state = None
            self._batch.add(branch)

    def fork(self, branch: Branch, step: Step, why: str, state: State | None, seed: int) -> Branch:
        """A further branch that shares everything `branch` has taken and continues with `step`."""
        return self._child(branch, len(branch.tokens), step, why, state, seed)

    def retrace(self, branch: Branch, at: int, step: Step, why: str, seed: int) -> Branch:
        """`fork_at` with an alternative seen there: nothing is computed again."""
        return self.fork_at(branch, at, step, why, branch.history[at], seed)

    def fork_at(self, branch: Branch, at: int, step: Step, why: str, state: State | None, seed: int) -> Branch:
        """A further branch that shares the first `at` answer tokens of `branch` and continues with `step`. state: the
        policy's after the decision there."""
        return self._child(branch, at, step, why, state, seed)

    def rewind(self, branch: Branch, at: int) -> None:
        """Take back everything from answer position `at` on and ban the token chosen there. The token before it
        is computed once more, for its logits."""
        job = branch.job
        job.write_off(branch, at)
        branch.banned.setdefault(at, set()).add(branch.tokens[at])
        for later in [p for p in branch.banned if p > at]:
            del branch.banned[later]
        state = branch.history[at - 1] if at else None
        self._batch.leave(branch)
        branch.cut(at, self.engine.tokenizer)
        branch.state, branch.finish_reason = state, ""
        everything = [*job.request.tokens, *branch.tokens]
        if branch.sequence is not None:
            self.engine.rewind(branch.sequence, min(len(everything) - 1, branch.cached))
            branch.pending = everything[branch.cached :]
        branch.fresh = 0
        job.spent += 1
        self._batch.add(branch)

    def pause(self, branch: Branch) -> None:
        """Take a branch out of the rows, with its sequence, until `resume`."""
        self._batch.pause(branch)

    def resume(self, branch: Branch) -> None:
        self._batch.resume(branch)

    def release(self, branch: Branch) -> None:
        """Give the sequence of a branch back whose text has ended; it is a ballot all the same."""
        self._batch.remove(branch)

    def drop(self, branch: Branch, why: str, *, start: int | None = None) -> None:
        """Take a branch out of the search. start: from which answer position on its tokens were only looked ahead;
        None: what is not in the answer counts as abandoned."""
        if start is not None:
            branch.job.write_off(branch, start, looked_ahead=True)
        branch.gone = why
        self._batch.remove(branch)

    def conclude(self, job: Job, winner: Branch) -> None:
        """`winner`'s text is the answer."""
        job.trunk = winner
        job.finish_reason = winner.finish_reason or "length"

    def _child(self, parent: Branch, at: int, step: Step, why: str, state: State | None, seed: int) -> Branch:
        child = parent.child(at, seed, why, state, self.engine.tokenizer)
        child.sequence = self._batch.fork(parent)
        if child.sequence is not None and child.cached > (length := len(parent.job.request.tokens) + at):
            self.engine.rewind(child.sequence, length)
        self._batch.add(child)
        self.accept(child, step, confidence=parent.confidence[at] if at < len(parent.confidence) else 0.0)
        return child

    # the loop's own

    def _book(self) -> None:
        """Enter what the last forward computed into each job's ledger."""
        jobs: dict[Job, int] = {}
        for branch in self._batch.rows:
            jobs.setdefault(branch.job, branch.job.ledger.forwards + 1)
            branch.book(len(branch.pending))
        for job, forwards in jobs.items():
            job.ledger.forwards = forwards  # one call, however many branches took part
            job.ledger.peak_cells = max(job.ledger.peak_cells, job.cells())

    def _act(self, rows: list[Branch], recorder: Recorder, taken: Taken, impossible: dict[int, str]) -> list[Event]:
        """Carry out the decisions: each branch without a search takes its token, each search does as it will. A
        branch in an `impossible` row has no token to take and ends."""
        explored: dict[Job, list[Proposal]] = {job: [] for job in self._jobs if job.idle}
        plain: list[Branch] = []
        events: list[Event] = []
        tokenizer = self.engine.tokenizer
        for row, branch in enumerate(rows):
            job = branch.job
            if job.finish_reason:  # its logits are no numbers
                continue
            if row in impossible:
                self._give_up(branch, impossible[row])
                if job.explorer is None:
                    plain.append(branch)
                else:
                    explored.setdefault(job, [])
                continue
            step = recorder.step(row, len(branch.tokens), branch.length, tokenizer, job.request.leading, job.attention)
            injects = recorder.forced[row] >= 0
            if branch.given is not None:
                step, injects = recorder.given(row, step, branch.given, tokenizer), False
            if job.explorer is None:
                try:
                    self.accept(branch, step, injects=injects)
                    plain.append(branch)
                except Exception as error:
                    events += self._fail(job, error)
            else:
                redraw = Redraw(tokenizer, taken)
                proposal = Proposal(branch, step, injects, row, recorder, tokenizer, self._state_of, redraw)
                explored.setdefault(job, []).append(proposal)
        for branch in plain:
            events += branch.job.released()
            if branch.finish_reason:
                events += self._end(branch.job, branch, branch.finish_reason)
        return events + self._search(explored)

    def _search(self, explored: dict[Job, list[Proposal]]) -> list[Event]:
        events: list[Event] = []
        for job, proposals in explored.items():
            try:
                events += self._explore(job, sorted(proposals, key=lambda p: p.branch.number))
            except Exception as error:
                events += self._fail(job, error)
        return events

    def _fail(self, job: Job, error: Exception) -> list[Event]:
        """End a job that cannot go on, or raise what happened."""
        if job.finish_reason:
            return []
        if not self.isolate:
            raise error
        job.error = error
        return self._end(job, job.trunk, "error")

    def _give_up(self, branch: Branch, why: str) -> None:
        """End a branch's text because no token is possible."""
        branch.finish_reason, branch.problem = "constraint", why
        if branch.job.explorer is not None:
            self._batch.pause(branch)

    def _explore(self, job: Job, proposals: list[Proposal]) -> list[Event]:
        explorer, limit = job.explorer, job.request.search.max_tokens if job.request.search else None
        assert explorer is not None
        if limit is not None and job.spent + sum(p.cost for p in proposals) > limit:
            explorer.exhausted(self)
        else:
            explorer.advance(self, proposals)
        if job.finish_reason:
            return self._end(job, job.trunk, job.finish_reason)
        return job.released()

    def _state_of(self, branch: Branch) -> State | None:
        return self._batch.group_of(branch).state_of(branch)

    def _inject(self, branch: Branch, step: Step) -> None:
        """Put the injection's tokens where the next token would be. Only the first was decided on."""
        start, tokenizer = len(branch.tokens), self.engine.tokenizer
        for n, token in enumerate(branch.job.injection[: self._limit(branch.job) - len(branch.tokens)]):
            label = tokenizer.label(token)
            if n == 0:
                step = replace(step, token=token, label=label, action=Action.INJECT, logprob=None, rank=None)
                step = replace(step, drawn=(), horizon=None, adaptive=None)
            else:
                position = branch.length
                step = Step(len(branch.tokens), position, token, label, "", Regime.CLARIFY, Action.INJECT)
            branch.take(step, tokenizer)
            if branch.stream.stopped:
                break
        branch.pending, branch.pending_kind = branch.tokens[start:], Kind.INJECTED
        branch.fresh = len(branch.pending)

    def _limit(self, job: Job) -> int:
        """Most tokens the answer may have."""
        room = min(self.engine.capabilities.context, self.engine.capabilities.cells) - len(job.request.tokens)
        return min(room, job.request.max_tokens or room)

    def _end(self, job: Job, branch: Branch, reason: str) -> list[Event]:
        """End a job with `branch`'s text: hand out the rest, give the sequences back."""
        job.trunk = branch
        branch.stream.finish()
        if branch.stream.stopped and reason not in ("cancelled", "error"):
            reason = "stop"
        job.finish_reason = branch.finish_reason = reason
        job.notes += [branch.problem] if branch.problem else []
        if job.explorer is not None:
            job.settle()
            job.search = job.explorer.record()
        for other in job.branches:
            keep = job.request.keep and not job.request.reproducible and reason != "error"
            self._batch.remove(other, keep=other is branch and keep)
        self._jobs.remove(job)
        job.ended = job.started + job.seconds
        return [*job.released(), Event(job, None)]
