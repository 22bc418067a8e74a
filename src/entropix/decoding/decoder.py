"""The decoding loop: observe, decide, act, record. Everything that decodes runs this one loop over a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from entropix.arrays import namespace
from entropix.decoding.record import Recorder
from entropix.decoding.request import Job, Request
from entropix.engines import Engine
from entropix.errors import CapabilityError, CapacityError, ParameterError, PromptError
from entropix.policies import Policy
from entropix.sampling import WINDOW, choose, noise_key, reach, top_window
from entropix.signals import measure
from entropix.types import Action, Array, Decisions, Observation, Regime, Signals, State, Step


@dataclass(frozen=True, slots=True)
class Event:
    """A token whose text is certain, or the end of an answer (`step` None, `job.finish_reason` set)."""

    job: Job
    step: Step | None


@dataclass(eq=False)
class Group:
    """Running jobs that decide by the same policy; the policy sees them as one batch."""

    policy: Policy
    attention: bool
    jobs: list[Job] = field(default_factory=list)
    joining: list[Job] = field(default_factory=list)
    state: State | None = None

    def admit(self, like: Array) -> None:
        """Give the joining jobs a state and make them rows. `like`: an array of the engine's library."""
        xp = namespace(like)
        for job in self.joining:
            state = job.state or self.policy.initial(1, like)
            if self.state is None:
                self.state = state
            else:
                self.state = {k: xp.concat([v, state[k]]) for k, v in self.state.items()}
            job.state = None
        self.joining.clear()

    def leave(self, job: Job) -> None:
        """Take a job out; its state goes with it."""
        row = self.jobs.index(job)
        joined = len(self.jobs) - len(self.joining)
        self.jobs.pop(row)
        if job in self.joining:
            self.joining.remove(job)
        elif self.state is not None:
            job.state = {k: v[row : row + 1] for k, v in self.state.items()}
            rest = [r for r in range(joined) if r != row]
            self.state = {k: v[rest] for k, v in self.state.items()} if rest else None


class Decoder:
    """Decodes any number of requests on one engine, as many at a time as it has room for.

    Requests join and leave the running batch at every step. `submit` queues, `step` advances everything by one
    model call and returns what became certain, `cancel` ends one early, `close` ends all.
    """

    def __init__(self, engine: Engine, *, window: int = WINDOW) -> None:
        self.engine = engine
        self.window = window
        self.waiting: deque[Job] = deque()
        self._groups: list[Group] = []
        self._rows: list[Job] = []

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self._rows)

    def submit(self, request: Request, index: int = 0) -> Job:
        """Queue a request. Raises PromptError or CapabilityError at once rather than in the middle of a text."""
        capabilities = self.engine.capabilities
        limit = min(capabilities.context, capabilities.cells)
        if not len(request.tokens):
            raise PromptError("the prompt is empty; give at least one character")
        if len(request.tokens) >= limit:
            raise PromptError(
                f"the prompt has {len(request.tokens)} tokens, and the context holds {limit} including the answer; "
                "shorten the prompt or load the model with a larger context"
            )
        if any(token >= self.engine.info.vocabulary for token in request.logit_bias):
            raise ParameterError(f"logit_bias: this model's tokens are 0 … {self.engine.info.vocabulary - 1}")
        wants = request.policy.uses_attention if request.attention is None else request.attention
        notes = []
        if wants and not capabilities.attention:
            if request.attention:
                raise CapabilityError(
                    f"policy {request.policy.name!r} was asked to use attention signals, and the engine of "
                    f"{self.engine.info.name!r} shows none; leave attention out or use an engine that shows it"
                )
            notes.append("attention: the engine shows none; attention terms are neutral")
            wants = False
        injection = request.policy.injection
        job = Job(
            request,
            injection=tuple(self.engine.tokenizer.encode(injection)) if injection else (),
            attention=wants,
            index=index,
            notes=notes,
        )
        self.waiting.append(job)
        return job

    def step(self) -> list[Event]:
        """One model call for everything that runs. Returns the events it made certain, in row order."""
        self._admit()
        self._make_room()
        if not self._rows:
            return []
        work = [(job.sequence, job.pending) for job in self._rows if job.sequence is not None]
        observation = self.engine.forward(work, attention=any(g.attention for g in self._groups))
        self._book()
        logits = self._biased(observation)
        signals, decisions = self._decide(logits, observation)
        wanted = max(reach(decisions, self.window), *(job.request.leading for job in self._rows))
        window = top_window(logits, wanted)
        xp = namespace(logits)
        keys = np.array([noise_key(job.request.seed, job.length) for job in self._rows], np.int64)
        choice = choose(window, decisions, keys if xp is np else xp.asarray(keys, device=logits.device))
        recorder = Recorder(signals, decisions, window, choice)
        events: list[Event] = []
        for row, job in enumerate(self._rows):
            events += self._act(job, row, recorder)
        for job in [e.job for e in events if e.step is None]:
            self._retire(job)
        return events

    def run(self) -> Iterator[Event]:
        """Steps until nothing is left. Closing the iterator cancels what still runs."""
        try:
            while self.busy:
                yield from self.step()
        finally:
            self.close()

    def cancel(self, job: Job) -> list[Event]:
        """End a job early; what it has said stays, and what waited to be certain is released."""
        if job.finish_reason:
            return []
        events = self._finish(job, "cancelled")
        self._retire(job)
        return events

    def close(self) -> None:
        """End everything and give the sequences back, whatever state an interrupted step left."""
        for job in [*self.waiting, *self._rows]:
            self.cancel(job)

    def _admit(self) -> None:
        """Move waiting jobs into the batch while there are sequences and cells for them."""
        capabilities = self.engine.capabilities
        while self.waiting and len(self._rows) < capabilities.sequences:
            job = self.waiting[0]
            tokens = [*job.request.tokens, *job.tokens]
            spare = 0 if not self._rows else len(self._rows) + 1
            if self.engine.cells_used() + self._claimed() + len(tokens) + spare > capabilities.cells and self._rows:
                break
            try:
                sequence = self.engine.open(tokens)
            except CapacityError:
                if not self._rows:
                    raise
                break
            self.waiting.popleft()
            job.sequence = sequence
            have = len(sequence.tokens)
            job.pending = tokens[have:]
            if not job.tokens:
                job.ledger.shared = have
            group = next(
                (g for g in self._groups if g.policy == job.request.policy and g.attention == job.attention),
                None,
            )
            if group is None:
                group = Group(job.request.policy, job.attention)
                self._groups.append(group)
            group.jobs.append(job)
            group.joining.append(job)
            self._reorder()

    def _claimed(self) -> int:
        """Tokens the running jobs are about to forward."""
        return sum(len(job.pending) for job in self._rows)

    def _make_room(self) -> None:
        """Send the youngest jobs back to the queue until the next forward fits. Their text continues later as if
        nothing had happened: noise depends on the position alone. A job that fills the cache alone is at its end."""
        capabilities = self.engine.capabilities
        while self._rows and self.engine.cells_used() + self._claimed() > capabilities.cells:
            youngest = max(self._rows, key=lambda job: job.started)
            if len(self._rows) == 1:
                raise CapacityError(
                    f"no room for {youngest.length} tokens: the KV cache has {capabilities.cells} cells, of which "
                    f"{self.engine.cells_used()} are taken; close kept sequences or load the model with more cells"
                )
            self._leave(youngest)
            self._close(youngest)
            youngest.pending_kind = "recomputed"
            self.waiting.appendleft(youngest)

    def _book(self) -> None:
        """Enter what the last forward computed into each job's ledger."""
        for job in self._rows:
            ledger = job.ledger
            setattr(ledger, job.pending_kind, getattr(ledger, job.pending_kind) + len(job.pending))
            ledger.forwards += 1
            ledger.peak_cells = max(ledger.peak_cells, job.length)

    def _biased(self, observation: Observation) -> Array:
        """The logits with each request's bias; copied only when there is one."""
        logits = observation.logits
        if any(job.request.logit_bias for job in self._rows):
            xp = namespace(logits)
            logits = xp.asarray(logits, copy=True)
            for row, job in enumerate(self._rows):
                for token, bias in job.request.logit_bias.items():
                    logits[row, token] += bias
        return logits

    def _decide(self, logits: Array, observation: Observation) -> tuple[Signals, Decisions]:
        spread = any(g.policy.needs_spread for g in self._groups)
        signals = measure(logits, observation.attention, spread=spread)
        for group in self._groups:
            if group.joining:
                group.admit(signals.entropy)
        if len(self._groups) == 1:
            group = self._groups[0]
            decisions, group.state = group.policy(signals, group.state or {})
            return signals, decisions
        parts = []
        start = 0
        for group in self._groups:
            rows = slice(start, start + len(group.jobs))
            start = rows.stop
            decisions, group.state = group.policy(_rows_of(signals, rows, group.attention), group.state or {})
            parts.append(decisions)
        xp = namespace(signals.entropy)
        columns = Decisions.__dataclass_fields__
        return signals, Decisions(**{c: xp.concat([getattr(p, c) for p in parts]) for c in columns})

    def _act(self, job: Job, row: int, recorder: Recorder) -> list[Event]:
        """Carry out the decision for one row: take the token or inject, then see whether the answer ends."""
        step = recorder.step(
            row, len(job.tokens), job.length, self.engine.tokenizer, job.request.leading, job.attention
        )
        if recorder.action[row] == Action.INJECT and job.injection:
            return self._inject(job, step)
        released = self._append(job, step)
        ended = step.token in self.engine.tokenizer.end_tokens and not job.request.ignore_end
        job.pending = [step.token]
        job.pending_kind = "sampled"
        return self._events(job, released, "end" if ended else "")

    def _inject(self, job: Job, step: Step) -> list[Event]:
        """Put the injection's tokens where the next token would be. Only the first was decided on."""
        room = self._limit(job) - len(job.tokens)
        tokens = job.injection[:room]
        released: list[Step] = []
        for n, token in enumerate(tokens):
            label = self.engine.tokenizer.label(token)
            if n == 0:
                step = replace(step, token=token, label=label, action=Action.INJECT, logprob=None, rank=None)
                step = replace(step, drawn=(), horizon=None)
            else:
                position = job.length
                step = Step(len(job.tokens), position, token, label, "", Regime.CLARIFY, Action.INJECT)
            released += self._append(job, step)
        job.pending = list(tokens)
        job.pending_kind = "injected"
        return self._events(job, released, "")

    def _append(self, job: Job, step: Step) -> list[Step]:
        job.tokens.append(step.token)
        job.steps.append(step)
        return job.stream.push(step, self.engine.tokenizer.piece(step.token))

    def _limit(self, job: Job) -> int:
        """Most tokens the answer may have."""
        capabilities = self.engine.capabilities
        room = min(capabilities.context, capabilities.cells) - len(job.request.tokens)
        return min(room, job.request.max_tokens or room)

    def _events(self, job: Job, released: list[Step], reason: str) -> list[Event]:
        events = [Event(job, step) for step in released]
        if job.stream.stopped:
            reason = "stop"
        elif not reason and len(job.tokens) >= self._limit(job):
            wanted = job.request.max_tokens
            reason = "length" if wanted is not None and len(job.tokens) >= wanted else "context"
        return events + self._finish(job, reason) if reason else events

    def _finish(self, job: Job, reason: str) -> list[Event]:
        released = job.stream.finish()
        if job.stream.stopped and reason != "cancelled":
            reason = "stop"
        job.finish_reason = reason
        job.ended = job.started + job.seconds
        return [*(Event(job, step) for step in released), Event(job, None)]

    def _retire(self, job: Job) -> None:
        """Out of the batch or the queue; the sequence is closed unless the request keeps it."""
        if job in self._rows:
            self._leave(job)
        elif job in self.waiting:
            self.waiting.remove(job)
        if not (job.request.keep and job.finish_reason):
            self._close(job)

    def _leave(self, job: Job) -> None:
        group = next(g for g in self._groups if job in g.jobs)
        group.leave(job)
        if not group.jobs:
            self._groups.remove(group)
        self._reorder()

    def _close(self, job: Job) -> None:
        if job.sequence is not None:
            self.engine.close(job.sequence)
            job.sequence = None

    def _reorder(self) -> None:
        """Rows are the groups' jobs, group after group."""
        self._rows = [job for group in self._groups for job in group.jobs]


def _rows_of(signals: Signals, rows: slice, attention: bool) -> Signals:
    """The signals of one group, without attention if the group does without."""

    def cut(array: Array | None) -> Array | None:
        return None if array is None else array[rows]

    shown = signals.attention if attention else None
    if shown is not None:
        shown = replace(
            shown,
            entropy=cut(shown.entropy),
            varentropy=cut(shown.varentropy),
            agreement=cut(shown.agreement),
            interaction=cut(shown.interaction),
        )
    return Signals(cut(signals.entropy), cut(signals.varentropy), cut(signals.normaliser), shown, cut(signals.spread))
