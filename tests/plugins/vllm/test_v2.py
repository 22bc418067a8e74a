"""Model Runner V2's own request states, loader and sampler on CPU tensors: any schedule gives our answers.

`Runner` does what vLLM's model runner does around them, as read in vLLM 0.32: slots are freed before others are taken
and the last one freed is taken first, rows stand in any order, a request owns a row for each draft token and one more,
and what a step chose is entered on the device after it. `test_v2_engine.py` runs the whole of vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("vllm.v1.worker.gpu.sample.logits_processor")

import torch
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.worker.cpu.buffer_utils import UvaBuffer
from vllm.v1.worker.gpu import buffer_utils
from vllm.v1.worker.gpu.sample.logits_processor import build_custom_logits_processors
from vllm.v1.worker.gpu.sample.sampler import Sampler
from vllm.v1.worker.gpu.states import RequestState

from entropix.engines.scripted import VOCABULARY
from entropix.plugins.vllm import v1, v2
from entropix.plugins.vllm.draw import Draw
from entropix.plugins.vllm.plan import Plan

from .scripted import LONGEST, SERVED, SPECS, Asking, asking, script

OURS = [] if entry_points(group="vllm.logits_processors") else ["entropix.plugins.vllm:LogitsProcessor"]


class Runner:
    """One engine core's steps."""

    def __init__(self, slots: int, drafts: int = 0, library: Any = np) -> None:
        self.drafts = drafts
        self.forbidden: list[int] = []
        self.states = RequestState(slots, LONGEST, 256, drafts, VOCABULARY, torch.device("cpu"))
        config = SimpleNamespace(
            speculative_config=SimpleNamespace(num_speculative_tokens=drafts) if drafts else None,
            parallel_config=SimpleNamespace(data_parallel_index=0),
            model_config=SimpleNamespace(seed=0),
            reasoning_config=None,
            additional_config={},
        )
        processors = build_custom_logits_processors(config, self.states, False, OURS)
        (self.processor,) = processors
        if library is torch:  # as on a GPU: nothing is a NumPy view
            self.processor.host = False
            desk = self.processor.desk
            self.processor.draw = Draw(desk.served, slots, drafts + 2, torch.zeros(1), desk.meter)
        self.sampler = Sampler(
            config, slots, VOCABULARY, torch.device("cpu"), self.states, custom_logits_processors=processors
        )
        self.running: list[Asking] = []

    def leave(self, request: Asking) -> None:
        """A request has ended or is pre-empted: vLLM tells the processor nothing."""
        self.running.remove(request)
        self.states.remove_request(request.name)

    def join(self, *requests: Asking) -> None:
        for request in requests:
            request.known, request.computed = len(request.tokens), 0
            self.states.add_request(request.name, len(request.prompt), request.tokens, 0, request.most)
            self.sampler.add_request(self.slot(request), request.sampling)
            self.running.append(request)
        if requests:
            self.states.apply_staged_writes()
        self.sampler.apply_staged_writes()

    def slot(self, request: Asking) -> int:
        return self.states.req_id_to_index[request.name]

    def step(self, work: list[tuple[Asking, int, list[int]]], *, cut: int = 0) -> None:
        """One forward. work: requests in any order with how many tokens of what is known to compute, and draft tokens;
        −1 for a draft that is only a placeholder. cut: the sampler is called in two parts, as for long batches."""
        parts = [work[:cut], work[cut:]] if 0 < cut < len(work) else [work]
        chosen = [row for part in parts for row in self._sample(part)]
        for (request, new, drafts), rows in zip(work, chosen, strict=True):
            request.computed += new
            if request.computed < len(request.tokens):
                continue
            taken = 0
            while taken < len(drafts) and drafts[taken] == rows[taken]:
                taken += 1
            self._enter(request, rows[: taken + 1])
            request.computed += taken

    def _enter(self, request: Asking, tokens: list[int]) -> None:
        slot, total = self.slot(request), len(request.tokens)
        self.states.all_token_ids.gpu[slot, total : total + len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        self.states.total_len.gpu[slot] = total + len(tokens)
        request.said += tokens
        request.last = len(tokens)

    def _sample(self, work: list[tuple[Asking, int, list[int]]]) -> list[list[int]]:
        """What the sampler leaves of each request's rows."""
        rows = [(request, level) for request, _, drafts in work for level in range(len(drafts) + 1)]
        texts = [
            (*request.tokens[: request.computed + new], *drafts[:level])
            for request, new, drafts in work
            for level in range(len(drafts) + 1)
        ]
        logits = torch.from_numpy(np.stack([script(text) for text in texts]))
        logits[:, self.forbidden] = -torch.inf
        before = logits.clone()
        slots = np.array([self.slot(request) for request, _, _ in work], np.intp)
        after = self.sampler.apply_sampling_params(
            logits,
            torch.tensor([self.slot(request) for request, _ in rows]),
            torch.from_numpy(slots.astype(np.int64)),
            slots,
            torch.tensor([len(text) - 1 for text in texts]),
            torch.tensor([text[-1] for text in texts], dtype=torch.int32),
            torch.tensor([level for _, level in rows], dtype=torch.int32),
            np.array([r.computed + new + len(drafts) for r, new, drafts in work], np.int32),
        )
        assert torch.equal(logits, before), "raw logits, of which raw log-probabilities come, are changed"
        for row, (request, _) in enumerate(rows):
            if request.spec is None or request.spec == "off":
                assert torch.equal(after[row], before[row]), "the row of a request that asks for nothing is changed"
            else:
                assert torch.isfinite(after[row]).sum() == 1, "a row of ours leaves vLLM a choice"
                assert before[row, after[row].argmax()] > -torch.inf, "a token that a mask forbids is chosen"
        best = iter(after.argmax(dim=-1).tolist())
        return [[next(best) for _ in range(len(drafts) + 1)] for _, _, drafts in work]


@pytest.fixture(autouse=True)
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's kernel for staged writes, as a loop, and its buffers as on a CPU; the model is scripted."""

    def apply_write(self: Any) -> None:
        flat, start = self.gpu.view(-1), 0
        for index, first, end in zip(
            self._staged_write_indices, self._staged_write_starts, self._staged_write_cu_lens, strict=True
        ):
            at = index * self.gpu.stride(0) + first
            flat[at : at + end - start] = torch.tensor(self._staged_write_contents[start:end], dtype=self.dtype)
            start = end
        self.clear_staged_writes()

    monkeypatch.setattr(buffer_utils.StagedWriteTensor, "apply_write", apply_write)
    monkeypatch.setattr(buffer_utils, "UvaBuffer", UvaBuffer)
    for runner in (v1, v2):
        monkeypatch.setattr(runner, "served", lambda config: SERVED)


def drafted(request: Asking, count: int, random: Random) -> list[int]:
    """Draft tokens for what comes next, about two of three of them right."""
    right = request.right[len(request.said) : len(request.said) + count]
    return [token if random.random() < 0.67 else random.randrange(VOCABULARY) for token in right]


def schedule(runner: Runner, requests: list[Asking], random: Random, *, drops: bool) -> Iterator[None]:
    """Run all requests to their ends: they join, wait, are pre-empted and come back, in any order."""
    waiting = list(requests)
    while waiting or runner.running:
        for request in list(runner.running):
            if len(request.said) >= request.most:
                runner.leave(request)
            elif random.random() < 0.1:
                runner.leave(request)
                if drops and request.computed >= request.known and request.last:
                    del request.said[len(request.said) - request.last :]
                request.last = 0
                waiting.insert(0, request)  # as vLLM's queue does
        room = len(runner.states.free_indices)
        joins = waiting[: random.randint(0, room)] if runner.running else waiting[: max(1, random.randint(0, room))]
        del waiting[: len(joins)]
        runner.join(*joins)
        work = []
        for request in random.sample(runner.running, len(runner.running)):
            left = len(request.tokens) - request.computed
            if random.random() < 0.15:
                continue
            if left > 1 or request.computed < request.known:
                new = random.choice((left, random.randint(1, left)))
                placeholders = random.randint(0, runner.drafts) if new == left == 1 else 0
                work.append((request, new, [-1] * placeholders))
            else:
                work.append((request, 1, drafted(request, random.randint(0, runner.drafts), random)))
        if work:
            runner.step(work, cut=random.randint(0, len(work)))
        yield


@settings(max_examples=60)
@given(
    requests=st.lists(asking, min_size=1, max_size=7),
    slots=st.integers(1, 4),
    drafts=st.integers(0, 3),
    drops=st.booleans(),
    library=st.sampled_from([np, torch]),
    order=st.integers(0, 2**32 - 1),
)
def test_every_answer_is_our_decoders_whatever_the_schedule(
    requests: list[Asking], slots: int, drafts: int, drops: bool, library: Any, order: int
) -> None:
    fresh = [Asking(f"r{n}", r.prompt, r.spec, r.seed, r.most) for n, r in enumerate(requests)]
    for _ in schedule(Runner(slots, drafts, library), fresh, Random(order), drops=drops):
        pass
    for request in fresh:
        if request.spec is not None:
            assert tuple(request.said[: request.most]) == request.right[: request.most]


def run(runner: Runner, *requests: Asking) -> None:
    """Requests from their beginning to their end, all in one batch."""
    runner.join(*requests)
    while runner.running:
        work = [(r, len(r.tokens) - r.computed, []) for r in runner.running]
        runner.step(work)
        for request in [r for r in runner.running if len(r.said) >= r.most]:
            runner.leave(request)


INJECTS = "entropix:inject=ab,inject_cooldown=8,inject_max=1,temperature=1.0"
COUNTS = "entropix:inject=,control=random"  # decides by how many tokens came before


def test_a_slot_s_next_request_starts_anew() -> None:
    runner = Runner(1)
    answers = []
    for n, seed in enumerate((5, 5, 6)):
        request = Asking(f"r{n}", (7, 1), INJECTS, seed, 24)
        run(runner, request)
        assert runner.processor.draw.seats.keys() == {0}
        assert tuple(request.said) == request.right[:24]
        assert bytes(t for t in request.said if t < 256).count(b"ab") == 1, "the injection was not left to it"
        answers.append(request.said)
    assert answers[0] == answers[1] != answers[2]


def test_a_slot_s_next_request_may_be_where_the_last_one_ended() -> None:
    """One token further, to be exact, while somebody else keeps their states alive."""
    runner = Runner(2)
    run(runner, Asking("keeper", (9,), COUNTS, 9, 1), Asking("first", (7, 1), COUNTS, 0, 3))
    second = Asking("second", (7, 1, 2, 3, 4), COUNTS, 1, 12)
    run(runner, second)
    assert tuple(second.said) == second.right[:12]


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
@pytest.mark.parametrize("prompt", [(7, 1), (7, 2)])
def test_who_comes_back_is_not_taken_for_another(ahead: int, prompt: tuple[int, ...]) -> None:
    """Not for one with the same parameters and seed: neither with another text nor with this one, but further on."""
    for seed in range(8):
        runner = Runner(3, 1)
        back, other = Asking("back", (7, 1), COUNTS, seed, 16), Asking("other", prompt, COUNTS, seed, 20)
        stock = Asking("stock", (5,), None, 0, 4)
        runner.join(back, other, stock)
        runner.step([(r, len(r.prompt), []) for r in runner.running])
        for _ in range(6):
            runner.step([(back, 1, []), (other, 1, [])])
        for _ in range(ahead):
            runner.step([(other, 1, [])])
        runner.leave(back)
        runner.leave(stock)
        runner.join(back)  # where `stock` was, so that its own slot still says what it had
        while len(back.said) < 16:
            runner.step([(back, len(back.tokens) - back.computed, [])])
        assert tuple(back.said) == back.right[:16]


def test_what_asks_for_nothing_is_left_alone() -> None:
    runner = Runner(4)
    runner.join(Asking("stock", (1, 2), None, 0, 4), Asking("off", (3,), "off", 0, 4))
    assert not runner.sampler.needs_logits_processing.any()
    assert not runner.processor.draw.seats
    logits = torch.randn(2, VOCABULARY)
    before = logits.clone()
    assert runner.processor.apply(logits, SimpleNamespace(idx_mapping_np=np.array([3, 2]))) is logits
    assert torch.equal(logits, before)


def test_a_prompt_in_pieces_moves_nothing() -> None:
    runner, request = Runner(1), Asking("r", (1, 2, 3, 4, 5, 6), INJECTS, 0, 3)
    runner.join(request)
    for _ in range(5):
        runner.step([(request, 1, [])])
        assert request.said == []
        assert runner.processor.draw.saved(0).start == -1
    runner.step([(request, 1, [])])
    assert request.said == [request.right[0]]


@pytest.mark.parametrize("library", [np, torch])
def test_what_a_mask_forbids_is_neither_chosen_nor_injected(library: Any) -> None:
    free, runner = Runner(3, library=library), Runner(3, library=library)
    runner.forbidden = [ord("b"), *range(128, 256)]
    spec = "entropix:inject=bab,inject_cooldown=2,inject_max=9,temperature=1.0"
    ours = [Asking(f"{name}{n}", (n,), spec, n, 24) for name in ("free", "masked") for n in range(3)]
    run(free, *ours[:3])
    assert any(b"bab" in bytes(t for t in r.said if t < 256) for r in ours[:3]), "nothing would have been injected"
    run(runner, *ours[3:])  # which asserts that no forbidden token is chosen


def test_only_the_plans_of_a_batch_are_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has ended keeps its slot until the next one comes; it must cost nothing meanwhile."""
    runner, decided = Runner(4), []
    part = Plan.part
    monkeypatch.setattr(Plan, "part", lambda self, *rest: (decided.append(self), part(self, *rest))[1])
    run(runner, *[Asking(f"r{n}", (n,), f"sample:temperature={0.5 + n / 8}", 0, 2) for n in range(4)])
    assert len(runner.processor.draw.plans) == 4
    decided.clear()
    run(runner, Asking("alone", (9,), "greedy", 0, 2))
    assert len(set(decided)) == 1


def test_both_runners_choose_the_same() -> None:
    specs = [*SPECS, None]
    second = Runner(8)
    requests = [Asking(f"r{n}", (n, 1), spec, n, 20) for n, spec in enumerate(specs)]
    config = SimpleNamespace(
        scheduler_config=SimpleNamespace(max_num_seqs=8),
        model_config=SimpleNamespace(seed=0),
        parallel_config=SimpleNamespace(data_parallel_index=0),
    )
    first = v1.FirstRunner(config, torch.device("cpu"), False)
    answers: list[list[int]] = [[] for _ in requests]
    added = [(row, r.sampling, list(r.prompt), answers[row]) for row, r in enumerate(requests)]
    first.update_state(BatchUpdate(batch_size=len(added), removed=[], added=added, moved=[]))
    for _ in range(20):
        logits = np.stack([script((*r.prompt, *a)) for r, a in zip(requests, answers, strict=True)])
        for answer, token in zip(answers, first.apply(torch.from_numpy(logits)).argmax(dim=-1).tolist(), strict=True):
            answer.append(token)
        first.update_state(None)
    run(second, *requests)
    assert [r.said for r in requests] == answers
