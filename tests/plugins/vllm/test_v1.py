"""Model Runner V1's own batch, whose rows are condensed and swapped, on CPU tensors: any schedule gives our answers.

`Runner` does what vLLM's model runner does around it, as read in vLLM 0.32: a request that is not scheduled leaves the
batch and keeps its parameters and its list of tokens; every row gets a token, and that of a prompt of which only a part
was computed is thrown away. With asynchronous scheduling a token is −1 in that list until the next step, and who comes
back has a new list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("vllm.v1.worker.gpu_input_batch")

import torch
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

from entropix.engines.scripted import VOCABULARY
from entropix.plugins.vllm import v1
from entropix.plugins.vllm.v1 import FirstRunner, Left, comes_back

from .scripted import LONGEST, SERVED, SPECS, Asking, asking, script

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def scripted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1, "served", lambda config: SERVED)


@dataclass
class Runner:
    """One engine core's steps. late: asynchronous scheduling."""

    places: int
    late: bool = False
    known: dict[str, CachedRequestState] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=self.places),
            model_config=SimpleNamespace(seed=0),
            parallel_config=SimpleNamespace(data_parallel_index=0, tensor_parallel_size=1, rank=0),
        )
        self.processor = FirstRunner(config, CPU, False)
        self.batch = InputBatch(
            self.places,
            LONGEST,
            256,
            CPU,
            VOCABULARY,
            [LONGEST],
            [1],
            LogitsProcessors([self.processor]),
            logitsprocs_need_output_token_ids=True,
        )

    def step(self, work: list[tuple[Asking, int]], random: Random) -> None:
        """One forward. work: who is scheduled, with how many of the tokens that have not been computed."""
        scheduled = {request.name for request, _ in work if request.computed}  # else it was pre-empted, or is new
        for name in [name for name in self.batch.req_id_to_index if name not in scheduled]:
            self.batch.remove_request(name)
        for request, _ in work:
            if request.name not in self.batch.req_id_to_index:
                self.batch.add_request(self._state(request))
        self.batch.condense()
        if len(work) > 1 and random.random() < 0.3:
            self.batch.swap_states(*random.sample(range(len(work)), 2))
        self.batch.refresh_metadata()
        self._read()
        texts = {request.name: tuple(request.tokens[: request.computed + new]) for request, new in work}
        logits = torch.from_numpy(np.stack([script(texts[name]) for name in self.batch.req_ids]))
        chosen = dict(zip(self.batch.req_ids, self.processor.apply(logits).argmax(dim=-1).tolist(), strict=True))
        for request, new in work:
            request.computed += new
            request.last = int(request.computed == len(request.tokens))
            if request.last:
                request.said.append(chosen[request.name])
                self.known[request.name].output_token_ids.append(-1 if self.late else chosen[request.name])
                if self.late:
                    self.unread[request.name] = chosen[request.name]

    def _state(self, request: Asking) -> CachedRequestState:
        """What vLLM knows of a request that joins the batch, for the first time or again."""
        state = self.known.setdefault(
            request.name,
            CachedRequestState(request.name, list(request.prompt), [], request.sampling, None, ([0],), 0, []),
        )
        del state.output_token_ids[len(request.said) :]
        if self.late and request.said:
            state.output_token_ids = list(request.said)
        return state

    def _read(self) -> None:
        """The last step's tokens become known to those who are still there."""
        for name, token in self.unread.items():
            if name in self.batch.req_id_to_index and (answer := self.known[name].output_token_ids)[-1:] == [-1]:
                answer[-1] = token
        self.unread.clear()


def schedule(runner: Runner, requests: list[Asking], random: Random, *, drops: bool) -> None:
    """Run all requests to their ends: their prompts are computed in pieces, they wait, are pre-empted and come back."""
    waiting, running = list(requests), []
    while waiting or running:
        running = [request for request in running if len(request.said) < request.most]
        for request in list(running):
            if random.random() < 0.15:
                if drops and request.last:  # its last token was in flight
                    request.said.pop()
                request.computed = request.last = 0
                running.remove(request)
                waiting.insert(0, request)
        room = runner.places - len(running)
        joins = random.randint(0 if running else 1, room) if waiting and room else 0
        running += waiting[:joins]
        del waiting[:joins]
        scheduled = [request for request in running if random.random() < 0.85]
        work = [
            (request, random.choice((left, random.randint(1, left))))
            for request in random.sample(scheduled, len(scheduled))
            for left in [len(request.tokens) - request.computed]
        ]
        if work:
            runner.step(work, random)


@settings(max_examples=60)
@given(
    requests=st.lists(asking, min_size=1, max_size=7),
    places=st.integers(1, 4),
    late=st.booleans(),
    drops=st.booleans(),
    order=st.integers(0, 2**32 - 1),
)
def test_every_answer_is_our_decoders_whatever_the_schedule(
    requests: list[Asking], places: int, late: bool, drops: bool, order: int
) -> None:
    runner = Runner(places, late)
    fresh = [Asking(f"r{n}", r.prompt, r.spec, r.seed, r.most) for n, r in enumerate(requests)]
    schedule(runner, fresh, Random(order), drops=late and drops)
    for request in fresh:
        assert tuple(request.said) == request.right[: request.most]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_who_leaves_within_the_prompt_and_again_within_the_answer_goes_on_from_there(spec: str, late: bool) -> None:
    """The state of the first time, after a token that was thrown away, must not be taken up the second time."""
    for seed in range(4):
        runner, chance = Runner(2, late), Random(seed)
        back, other = Asking("back", (7, 1, 2, 3), spec, seed, 16), Asking("other", (5,), None, 0, 99)
        runner.step([(back, 2), (other, 1)], chance)
        runner.step([(other, 1)], chance)
        back.computed = 0
        while len(back.said) < 16:
            runner.step([(back, len(back.tokens) - back.computed), (other, 1)], chance)
            if len(back.said) in (1, 6):
                back.computed = 0
                runner.step([(other, 1)], chance)
        assert tuple(back.said) == back.right[:16]


def test_a_request_is_counted_once_however_often_it_leaves() -> None:
    runner, chance, counted = Runner(2), Random(0), []
    runner.processor.desk.meter = SimpleNamespace(request=counted.append)
    back, other = Asking("back", (7, 1, 2), SPECS[0], 0, 4), Asking("other", (5,), None, 0, 99)
    for new in (1, 1, 1, 3, 4):  # twice before its first token
        runner.step([(back, new), (other, 1)], chance)
        runner.step([(other, 1)], chance)
        back.computed = 0
    assert len(back.said) == 2
    assert counted == ["entropix"]


def left(*answers: list[int]) -> list[Left]:
    saved: Any = None
    return [Left(answer, seed, saved) for seed, answer in enumerate(answers)]


def test_who_is_back_is_told_from_others_with_the_same_parameters() -> None:
    mine: list[int] = []
    waiting = left([], [-1], mine, [8, 9])
    assert comes_back(waiting, []) is None, "it is new"
    for answer, seed in ((mine, 2), ([7], 1), ([8, 9], 3)):
        found = comes_back(waiting, answer)
        assert found is not None
        assert found.seed == seed
    assert [one.seed for one in waiting] == [0]
    waiting = left([-1], [7, 8, -1])
    found = comes_back(waiting, [7, 8, 9])
    assert found is not None
    assert found.seed == 1, "the other one had said less when it left"


def test_who_is_back_in_the_same_step_may_have_another_row() -> None:
    runner, chance = Runner(3), Random(0)
    first, back, new = (Asking(name, (7, n), SPECS[0], n, 12) for n, name in enumerate(("first", "back", "new")))
    runner.step([(first, 2), (back, 2)], chance)
    back.computed = 0
    runner.step([(back, 3), (new, 2)], chance)  # `back` takes the row of `first`, and `new` that of `back`
    while len(back.said) < 12:
        runner.step([(back, 1), (new, 1)], chance)
    assert tuple(back.said) == back.right[:12]
