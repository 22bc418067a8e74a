"""One answer's search: several tactics on one set of branches, under one budget."""

from __future__ import annotations

from collections.abc import Sequence

from entropix.decoding import Branch, Decoder, Job, Proposal
from entropix.search import config
from entropix.search.backtrack import GoBack
from entropix.search.ballots import NO_VOTE, Count, count
from entropix.search.compare import Compare
from entropix.search.record import search_record
from entropix.search.seeds import derived
from entropix.search.tactics import Tactic
from entropix.search.tree import Fork, ForkLater
from entropix.types import SearchRecord, Step


class Exploration:
    """lines: the texts that are going to be ballots; where continuations are compared, the one they came from."""

    def __init__(self, plan: config.SearchPlan, job: Job) -> None:
        self.plan, self.job = plan, job
        self.lines = [job.trunk]
        self.vote: config.Vote = plan.of("vote") or config.Vote()
        self.sampled = plan.max_sequences == 1 or plan.samples == 1
        self.tactics: list[Tactic] = [] if plan.max_sequences == 1 else list(map(self._tactic, plan.strategies))
        self.count: Count[Branch] | None = None
        self.notes: list[str] = []
        self._due = 0

    def _tactic(self, settings: config.Strategy) -> Tactic:
        if isinstance(settings, (config.Lookahead, config.Branch)):
            return Compare(settings)
        if isinstance(settings, config.Backtrack):
            return GoBack(settings)
        if isinstance(settings, config.Tree):
            ballots = settings.ballots or self.plan.max_sequences
            return Fork(settings, ballots) if settings.when == "now" else ForkLater(settings, ballots)
        return Tactic()

    @property
    def trunk(self) -> Branch:
        return self.job.trunk

    def advance(self, decoder: Decoder, proposals: Sequence[Proposal]) -> None:
        self._due = len(proposals)
        for proposal in proposals:
            self._due = sum(decoder._cost(p) for p in proposals[proposals.index(proposal) :])
            if any(tactic.instead(self, decoder, proposal) for tactic in self.tactics):
                continue
            if not self.sampled and not proposal.injects:
                self._sample(decoder, proposal)
            for tactic in self.tactics:
                tactic.before(self, decoder, proposal)
            branch, step = proposal.branch, proposal.step
            decoder.accept(branch, step, injects=proposal.injects, confidence=proposal.confidence)
        self._due = 0
        for tactic in self.tactics:
            tactic.after(self, decoder)
        self._conclude(decoder)

    def busy(self, branch: Branch) -> bool:
        return any(tactic.busy(branch) for tactic in self.tactics)

    def affordable(self, wanted: int) -> int:
        """How many of `wanted` further tokens the budget allows beside those about to be taken."""
        limit = self.plan.max_tokens
        return wanted if limit is None else max(min(wanted, limit - self.job.spent - self._due), 0)

    def room(self, wanted: int) -> int:
        """How many of `wanted` further branches the budgets allow."""
        return max(min(wanted, self.plan.max_sequences - len(self.job.live), self.affordable(wanted)), 0)

    def fork(self, decoder: Decoder, proposal: Proposal, step: Step, why: str, seed: int | None = None) -> Branch:
        """Open a branch that takes `step` where `proposal` is about to take its own."""
        branch = proposal.branch
        if seed is None:
            seed = derived(branch.seed, len(branch.tokens), step.token)
        child = decoder.fork(branch, step, why, proposal.state, seed)
        child.confidence[child.origin] = proposal.confidence
        return child

    def replace(self, old: Branch, new: Branch) -> None:
        """`new` goes on in the place of `old`."""
        if old is new:
            return
        self.lines[self.lines.index(old)] = new
        if self.job.trunk is old:
            self.job.trunk = new
        for tactic in self.tactics:
            tactic.replaced(old, new)

    def _sample(self, decoder: Decoder, proposal: Proposal) -> None:
        """Begin the independent samples, all from the logits of one prompt."""
        self.sampled = True
        seeds = [derived(self.job.request.seed, n) for n in range(1, self.room(self.plan.samples - 1) + 1)]
        for n, step in enumerate(proposal.redraw(seeds) if seeds else [], 1):
            self.lines.append(self.fork(decoder, proposal, step, f"sample {n + 1}", seeds[n - 1]))

    def decided(self) -> bool:
        """Whether the ballots cast decide the vote whatever else may come."""
        counted = self._count()
        return counted is not None and counted.decided

    def _count(self) -> Count[Branch] | None:
        ended = [line for line in self.lines if line.finish_reason]
        running = len(self.lines) - len(ended)
        return count(ended, self.vote, running + sum(t.outstanding(self) for t in self.tactics))

    def _conclude(self, decoder: Decoder) -> None:
        if any(line.finish_reason for line in self.lines):
            self.count = self._count()
        if self.count and (self.count.decided or all(line.finish_reason for line in self.lines)):
            if len(self.lines) > 1 and not self.count.shares and self.count.confidence is None:
                self.notes.append(NO_VOTE)
            decoder.conclude(self.job, self.count.winner)

    def exhausted(self, decoder: Decoder) -> None:
        self.notes.append(f"search: the budget of {self.plan.max_tokens} tokens is used up")
        self.count = self._count()
        decoder.conclude(self.job, self.count.winner if self.count else self.job.trunk)

    def certain(self) -> int | None:
        known = [c for c in (tactic.certain(self) for tactic in self.tactics) if c is not None]
        if self.plan.samples > 1 and self.plan.max_sequences > 1:
            known.append(0)
        return min(known, default=None)

    def record(self) -> SearchRecord:
        return search_record(self.plan.spec, self.job.branches, self.job.trunk, self.count, self.notes)
