"""Going back is exact: taking tokens back and choosing again without a ban gives the same text as never going back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from entropix import Model
from entropix.decoding import Decoder, Job, Proposal, Request
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.policies import make_policy
from entropix.types import SearchRecord, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)


@dataclass
class Wander:
    """A search that goes back at certain positions, once each, and forgets why."""

    places: dict[int, int]
    max_sequences: int = 2
    max_tokens: int | None = None
    goes_back: bool = True
    went: int = 0
    job: Job = field(init=False)

    def check(self, *_: Any) -> Sequence[str]:
        return ()

    def begin(self, job: Job) -> Wander:
        self.job = job
        return self

    def advance(self, decoder: Decoder, proposals: Sequence[Proposal]) -> None:
        for proposal in proposals:
            branch = proposal.branch
            at = self.places.pop(len(branch.tokens), None)
            if at is not None:
                decoder.rewind(branch, at)
                branch.banned.clear()
                self.went += 1
                continue
            decoder.accept(branch, proposal.step, injects=proposal.injects, confidence=proposal.confidence)
            if branch.finish_reason:
                decoder.conclude(self.job, branch)

    def certain(self) -> int:
        return 0

    def exhausted(self, decoder: Decoder) -> None:
        raise AssertionError

    def stopped(self, decoder: Decoder) -> None:
        pass

    def record(self) -> SearchRecord:
        return SearchRecord("wander", ())


def decode(engine: Engine, places: dict[int, int] | None, policy: str, **options: Any) -> tuple[Job, int]:
    decoder = Decoder(engine)
    search = Wander(dict(places)) if places else None
    chosen = make_policy(policy, THRESHOLDS, engine.info.vocabulary)
    tokens = options.pop("tokens", [5, 9, 2])
    job = decoder.submit(Request(tokens=tokens, policy=chosen, seed=3, search=search, **options))
    for _ in decoder.run():
        pass
    return job, search.went if search else 0


@pytest.mark.parametrize("policy", ["sample:temperature=1.0", "entropix", "entropix-2024"])
@pytest.mark.parametrize("places", [{5: 2}, {5: 0, 9: 4, 14: 13}, {1: 0}, {12: 3, 13: 1}])
def test_noise_and_policy_state_come_back(policy: str, places: dict[int, int]) -> None:
    for seed in range(3):
        plain, _ = decode(ScriptedEngine(hashed(1.0, seed), context=256), None, policy, max_tokens=30)
        again, went = decode(ScriptedEngine(hashed(1.0, seed), context=256), places, policy, max_tokens=30)
        assert went == len(places)
        assert again.tokens == plain.tokens
        assert [s.action for s in again.steps] == [s.action for s in plain.steps]
        assert again.ledger.abandoned > 0 or places == {1: 0}


@pytest.mark.parametrize("places", [{5: 2}, {7: 6}, {9: 1}, {4: 3, 8: 4, 11: 5}])
@pytest.mark.parametrize("stop", [(), ("wörld 🙂!",), ("d 🙂",), ("🙂🙂",)])
def test_half_characters_and_half_stop_strings_come_back(places: dict[int, int], stop: tuple[str, ...]) -> None:
    said = "Hö 🙂 wörld 🙂! and 🙂 more"
    plain, _ = decode(ScriptedEngine(saying(said), context=256), None, "greedy", stop=stop)
    again, went = decode(ScriptedEngine(saying(said), context=256), places, "greedy", stop=stop)
    assert went > 0
    assert (again.stream.text, again.finish_reason) == (plain.stream.text, plain.finish_reason)
    assert "".join(step.text for step in again.steps) == plain.stream.text


@pytest.mark.parametrize("policy", ["greedy", "sample:temperature=0.8"])
def test_smollm2_engines_come_back(smollm2_engine: Engine, policy: str) -> None:
    tokens = Model(smollm2_engine).encode("Name two rivers. 🙂")
    plain, _ = decode(smollm2_engine, None, policy, tokens=tokens, max_tokens=24)
    again, went = decode(smollm2_engine, {8: 3, 10: 6, 5: 0}, policy, tokens=tokens, max_tokens=24)
    assert went == 3
    assert again.tokens == plain.tokens
    assert again.ledger.recomputed == 3
