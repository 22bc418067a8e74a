"""The decoding loop as the host of a search: every branch is a sequence on an engine, and all advance as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from entropix.decoding import Branch, Decoder, Job, Proposal
from entropix.search.exploration import Exploration
from entropix.search.host import Host
from entropix.search.seeds import derived
from entropix.types import Capabilities, SearchRecord, State, Step

if TYPE_CHECKING:
    from entropix.search.spec import SearchPlan


def able(capabilities: Capabilities) -> frozenset[str]:
    """What the loop can do on an engine, names of `host.CAPABILITIES`."""
    forks = {"sample", "fork", "pause"} if capabilities.fork else set()
    both = {"fork_at", "sample_later"} if capabilities.fork and capabilities.rewind else set()
    return frozenset(forks | both | ({"rewind"} if capabilities.rewind else set()))


class LoopHost(Host):
    """A `Host` for the strategies, and the `Explorer` of one answer for the loop."""

    def __init__(self, plan: SearchPlan, job: Job) -> None:
        self.plan, self.job = plan, job
        self.search = Exploration(plan, self)
        self._decoder: Decoder | None = None
        self._prompt: tuple[int, State | None, float] | None = None
        """Where the samples part: position in the answer, state of the policy, confidence of the token there."""
        self._drawn: list[tuple[int, int, Step]] = []
        """Samples not yet begun: number, seed, first step."""
        self._due = 0

    # what the loop calls

    def advance(self, decoder: Decoder, proposals: Sequence[Proposal]) -> None:
        self._decoder = decoder
        search, costs = self.search, [proposal.cost for proposal in proposals]
        for n, proposal in enumerate(proposals):
            self._due = sum(costs[n:])
            if search.instead(proposal):
                continue
            if self._prompt is None and not proposal.injects:
                self._begin(proposal)
            branch, step, injects = proposal.branch, proposal.step, proposal.injects
            if self.plan.greedy_first and branch.number == 0:
                step, injects = proposal.likeliest, False
            search.before(proposal)
            decoder.accept(branch, step, injects=injects, confidence=proposal.confidence)
        self._due = 0
        search.after()
        counted = None if not proposals and search.waits else search.settle()
        if counted is not None:
            decoder.conclude(self.job, counted.winner)

    def exhausted(self, decoder: Decoder) -> None:
        self.search.notes.append(f"search: the budget of {self.plan.max_tokens} tokens is used up")
        counted = self.search.close()
        decoder.conclude(self.job, counted.winner if counted else self.job.trunk)

    def stopped(self, decoder: Decoder) -> None:
        self.search.stopped = True
        counted = self.search.close()
        if counted is not None:
            self.search.notes.append(
                f"search: it was stopped; {len(self.search.cast)} text(s) had ended, and they decided"
            )
            decoder.conclude(self.job, counted.winner)

    def certain(self) -> int | None:
        return self.search.certain()

    def record(self) -> SearchRecord:
        if self.job.finish_reason:
            self.search.end()
        return self.search.record(self.job.branches)

    def _begin(self, proposal: Proposal) -> None:
        self._prompt = proposal.at, proposal.state, proposal.confidence
        numbers = range(1, self.plan.samples if self.plan.max_sequences > 1 else 1)
        seeds = [derived(self.job.request.seed, n) for n in numbers]
        self._drawn = list(zip(numbers, seeds, proposal.redraw(seeds) if seeds else (), strict=True))
        self.search.begin()

    # what a strategy calls

    @property
    def trunk(self) -> Branch:
        return self.job.trunk

    @trunk.setter
    def trunk(self, branch: Branch) -> None:
        self.job.trunk = branch

    @property
    def decoder(self) -> Decoder:
        assert self._decoder is not None, "a strategy acts only while the loop advances its answer"
        return self._decoder

    @property
    def live(self) -> int:
        return len(self.job.live)

    def affordable(self, wanted: int) -> int:
        limit = self.plan.max_tokens
        return wanted if limit is None else max(min(wanted, limit - self.job.spent - self._due), 0)

    def sample(self, n: int) -> Iterator[Branch]:
        assert self._prompt is not None, "samples are begun where the first token is chosen"
        at, state, confidence = self._prompt
        begun, self._drawn = self._drawn[:n], self._drawn[n:]
        for number, seed, step in begun:
            child = self.decoder.fork_at(self.job.branches[0], at, step, f"sample {number + 1}", state, seed)
            child.confidence[child.origin] = confidence
            yield child

    def release(self, branch: Branch) -> None:
        self.decoder.release(branch)

    def fork(self, place: Proposal, alternative: Step, why: str) -> Branch:
        return self._fork(place, alternative, why, derived(place.branch.seed, place.at, alternative.token))

    def _fork(self, place: Proposal, step: Step, why: str, seed: int) -> Branch:
        child = self.decoder.fork(place.branch, step, why, place.state, seed)
        child.confidence[child.origin] = place.confidence
        return child

    def fork_at(self, branch: Branch, at: int, alternative: Step, why: str) -> Branch:
        return self.decoder.retrace(branch, at, alternative, why, derived(branch.seed, at, alternative.token))

    def rewind(self, branch: Branch, at: int) -> None:
        self.decoder.rewind(branch, at)

    def pause(self, branch: Branch) -> None:
        self.decoder.pause(branch)

    def resume(self, branch: Branch) -> None:
        self.decoder.resume(branch)

    def drop(self, branch: Branch, why: str, start: int) -> None:
        self.decoder.drop(branch, why, start=start)
