"""One strategy on two hosts, the loop and an endpoint; what a host cannot do is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from entropix import Model
from entropix.engines.scripted import ScriptedEngine, hashed
from entropix.errors import CapabilityError
from entropix.parameters import parameter
from entropix.search import Best, SearchPlan, Strategy, Tactic, Tree, Vote, make_search
from entropix.search.host import CAPABILITIES, Host
from entropix.search.loop import able
from entropix.search.tree import ForkLater, Promise
from entropix.types import Capabilities


@dataclass(frozen=True, kw_only=True)
class ForkOnce(Strategy):
    """A strategy from outside: forks at one place, whatever the model thinks there."""

    name: ClassVar[str] = "fork-once"
    summary: ClassVar[str] = "forks at one place"
    opens_ballots: ClassVar[bool] = True

    at: int = parameter(2, 0, 100, doc="where")

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"fork"})

    def branches(self, plan: SearchPlan) -> int:
        return 2

    def begin(self, plan: SearchPlan) -> Tactic:
        return Once(self.at)


class Once(Tactic):
    def __init__(self, at: int) -> None:
        self.at = at

    def before(self, search: Any, place: Any) -> None:
        if place.at == self.at and place.branch.parent is None:
            for alternative in place.alternatives(1, 0.0):
                search.add(search.host.fork(place, alternative, "because"))


LETTERS = slice(97, 117)


def letters(tokens: tuple[int, ...]) -> Any:
    """A model that says only twenty letters, so that an endpoint shows all there is, and every prefix is a text."""
    logits = np.full(260, -1e4)
    logits[LETTERS] = hashed(3.0)(tokens)[LETTERS]
    return logits


def here(search: Any) -> Any:
    with Model(ScriptedEngine(letters)) as model:
        return model.generate("hello", raw=True, policy="greedy", max_tokens=8, search=search)


def there(search: Any) -> Any:
    pytest.importorskip("fastapi")
    pytest.importorskip("openai")
    from entropix.remote import connect
    from entropix.serve.process import Background
    from entropix.serve.settings import Settings

    with Background(Model(ScriptedEngine(letters)), Settings(port=0)) as server:
        return connect(server.url).generate("hello", raw=True, temperature=0, max_tokens=8, search=search)


@pytest.mark.parametrize("host", [here, there])
def test_a_strategy_from_outside_runs_on_every_host_that_can_do_what_it_needs(host: Callable[[Any], Any]) -> None:
    result = host([ForkOnce(at=3), Vote(answer="text", stop="none")])
    assert [(b.origin, b.opened) for b in result.search.branches] == [(0, "the prompt"), (3, "because")]
    assert result.search.ballots == 2


def test_the_same_strategy_forks_the_same_texts_on_the_loop_and_over_an_endpoint() -> None:
    """Greedy between the forks, so that the seeds of the branches, which differ, do not matter."""
    search = [Tree(trigger="entropy", threshold=0.5, ratio=0.0, max_sequences=3), Vote(answer="text", stop="none")]
    near, far = here(search), there(search)
    assert len(near.search.branches) == 3
    assert [b.text for b in near.search.branches] == [b.text for b in far.search.branches]
    assert near.search.shares == far.search.shares


@dataclass(frozen=True, kw_only=True)
class Waves(Vote):
    """A vote that draws its next sample when all so far have ended."""

    name: ClassVar[str] = "waves"

    def needs(self, plan: SearchPlan) -> frozenset[str]:
        return frozenset({"sample", "fork_at"})

    def begin(self, plan: SearchPlan) -> Tactic:
        return NextWave()


class NextWave(Tactic):
    def after(self, search: Any) -> None:
        if all(line.finish_reason for line in search.lines) and len(search.lines) < search.plan.samples:
            search.sample(1)

    def outstanding(self, search: Any) -> int:
        return search.plan.samples - len(search.lines)

    def certain(self, search: Any) -> int:
        return 0


def test_samples_drawn_in_waves_are_those_drawn_at_once() -> None:
    """An ended text waits with its sequence, so a later sample computes the prompt no second time."""

    def texts(search: Any) -> tuple[list[str], int]:
        with Model(ScriptedEngine(hashed(2.0))) as model:
            options: dict[str, Any] = {"policy": "sample:temperature=1.5", "seed": 5, "max_tokens": 8}
            result = model.generate("hello", search=search, **options)
        return [b.text for b in result.search.branches], result.ledger.prompt

    at_once = texts(Vote(n=4, answer="text", stop="none"))
    assert texts(Waves(n=4, answer="text", stop="none")) == at_once
    assert len(set(at_once[0])) == 4


@pytest.mark.parametrize(
    ("fork", "rewind", "spec", "reason"),
    [
        (False, True, "tree", "'tree' forks texts while they are written"),
        (False, True, "vote:n=4", "'vote' draws several texts"),
        (False, True, "lookahead", "'lookahead' forks texts .* and pauses texts"),
        (True, False, "tree:when=end", "'tree' forks texts at earlier places"),
        (True, False, "vote:n=2+backtrack", "'backtrack' takes back tokens"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_with_the_reason(fork: bool, rewind: bool, spec: str, reason: str) -> None:
    plan, capabilities = make_search(spec), Capabilities(False, fork, rewind, 16, 100, 1000)
    assert plan is not None
    with pytest.raises(CapabilityError, match=reason):
        plan.check_host(able(capabilities), "this engine", "use another engine")


def test_one_sequence_needs_nothing_of_a_host() -> None:
    for spec in ("tree", "vote", "best", "lookahead", "branch", "backtrack", "tree:when=end"):
        name, _, rest = spec.partition(":")
        plan = make_search(f"{name}:" + ",".join(filter(None, [rest, "max_sequences=1"])))
        assert plan is not None
        assert plan.needs == frozenset()


def test_every_need_of_a_strategy_has_words_for_a_refusal() -> None:
    for spec in ("tree", "vote", "best", "lookahead", "branch", "backtrack", "tree:when=end"):
        plan = make_search(spec)
        assert plan is not None
        assert plan.needs
        assert plan.needs <= set(CAPABILITIES)


def test_a_call_that_a_strategy_did_not_declare_is_refused_by_name() -> None:
    class Bare(Host):
        trunk = None

        @property
        def live(self) -> int:
            return 0

        def affordable(self, wanted: int) -> int:
            return wanted

    with pytest.raises(CapabilityError, match="cannot rewind; a strategy that does names it in its needs"):
        Bare().rewind(None, 0)


def test_best_keeps_the_text_with_the_best_score_and_holds_no_vote() -> None:
    result = here([Best(n=4)])
    assert any("draws the same text each time" in note for note in result.notes)
    with Model(ScriptedEngine(hashed(2.0))) as model:
        result = model.generate("hello", policy="sample:temperature=1.5", seed=1, max_tokens=8, search="best:n=6")
    scores = [b.score for b in result.search.branches]
    assert len(scores) == 6
    assert len(set(scores)) > 1
    assert [b.score for b in result.search.branches if b.kept] == [max(scores)]
    assert (result.search.shares, result.search.notes) == ({}, ())


def test_best_by_another_score_can_keep_another_text() -> None:
    kept = {}
    for score in ("logprob", "confidence", "entropy"):
        with Model(ScriptedEngine(hashed(2.0))) as model:
            options: dict[str, Any] = {"policy": "sample:temperature=1.5", "seed": 2, "max_tokens": 12}
            result = model.generate("hello", search=f"best:n=8,score={score}", **options)
        kept[score] = result.text
        assert [b.score for b in result.search.branches if b.kept] == [max(b.score for b in result.search.branches)]
    assert len(set(kept.values())) > 1


def test_a_vote_without_an_extractor_says_which_text_it_gave() -> None:
    with Model(ScriptedEngine(hashed(2.0))) as model:
        result = model.generate("hello", policy="sample", seed=1, max_tokens=8, search="vote:n=3")
    assert any("no answer= to compare" in note and "best mean log-probability" in note for note in result.search.notes)


def test_a_place_whose_text_was_taken_back_is_forked_no_more() -> None:
    """An alternative belongs to the text before it: after going back it would continue another text."""
    tactic = ForkLater(Tree(when="end"), 4)
    one, other = SimpleNamespace(), SimpleNamespace()
    tactic.promises = [Promise(line, at, None, 1.0) for line in (one, other) for at in (2, 5, 9)]  # type: ignore[arg-type]
    tactic.cut(one, 5)  # type: ignore[arg-type]
    assert [(p.line is one, p.at) for p in tactic.promises] == [(True, 2), (False, 2), (False, 5), (False, 9)]
