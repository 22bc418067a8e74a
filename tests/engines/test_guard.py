"""Several threads and processes with one engine: right texts, or an error that says what to do. Never a crash."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import entropix
from entropix.engines import Engine, Guard, guard_of
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import CapacityError, ModelError
from helpers.llama import needs_llama_cpp

PROMPTS = [f"Count to {n}." for n in range(4)]


def in_threads(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(120) for future in [pool.submit(call) for call in calls]]


def test_threads_that_share_a_model_get_the_texts_they_get_alone(engine: Engine) -> None:
    model = entropix.Model(engine)
    options = {"policy": "greedy", "max_tokens": 8}
    alone = [model.generate(prompt, **options).text for prompt in PROMPTS]
    results = in_threads([lambda prompt=prompt: model.generate(prompt, **options).text for prompt in PROMPTS])
    assert results == alone


def test_models_streams_searches_and_chats_of_several_threads_share_an_engine(engine: Engine) -> None:
    model, other = entropix.Model(engine), entropix.Model(engine)
    calls = [
        lambda: model.generate(PROMPTS[1], policy="greedy", max_tokens=6).text,
        lambda: other.generate(PROMPTS[2], seed=1, max_tokens=6).text,
        lambda: "".join(token.text for token in model.stream(PROMPTS[3], seed=2, max_tokens=6)),
        lambda: other.generate(PROMPTS[0], policy="sample", seed=3, max_tokens=6, search="vote:n=3,answer=number").text,
    ]
    alone = [call() for call in calls]
    assert in_threads(calls) == alone


def test_calls_in_threads_of_asyncio_and_awaited_ones_go_side_by_side(engine: Engine) -> None:
    model = entropix.Model(engine)
    alone = [model.generate(prompt, policy="greedy", max_tokens=6).text for prompt in PROMPTS]

    async def together() -> list[str]:
        calls = [
            asyncio.to_thread(model.generate, PROMPTS[0], policy="greedy", max_tokens=6),
            asyncio.to_thread(model.generate, PROMPTS[1], policy="greedy", max_tokens=6),
            model.agenerate(PROMPTS[2], policy="greedy", max_tokens=6),
            model.agenerate(PROMPTS[3], policy="greedy", max_tokens=6),
        ]
        return [result.text for result in await asyncio.gather(*calls)]

    assert asyncio.run(together()) == alone


def test_streams_that_take_turns_in_one_thread_keep_apart(engine: Engine) -> None:
    model = entropix.Model(engine)
    alone = [model.generate(prompt, policy="greedy", max_tokens=6).text for prompt in PROMPTS[:2]]
    streams = [model.stream(prompt, policy="greedy", max_tokens=6) for prompt in PROMPTS[:2]]
    for _ in zip(*streams, strict=False):
        pass
    for stream in streams:
        for _ in stream:
            pass
    assert [stream.result.text for stream in streams] == alone


def test_more_threads_than_sequences_wait_for_each_other() -> None:
    model = entropix.Model(ScriptedEngine(saying("word " * 200, certainty=9), sequences=2))
    alone = model.generate("a", seed=1, max_tokens=20).text
    assert in_threads([lambda: model.generate("a", seed=1, max_tokens=20).text] * 8) == [alone] * 8


def test_where_no_other_thread_can_give_a_sequence_back_it_is_refused() -> None:
    engine = ScriptedEngine(saying("Hello", certainty=9), sequences=1)
    kept = engine.open([1, 2])
    with pytest.raises(CapacityError):
        entropix.Model(engine).generate("a", seed=1)
    engine.close(kept)


class Slow(ScriptedEngine):
    """A forward that takes a while, and notes whether two threads were ever in it."""

    def __init__(self) -> None:
        super().__init__(saying("word " * 200, certainty=9))
        self.inside = 0
        self.most = 0
        self.callers: list[int] = []

    def forward(self, work: Any, **options: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.callers.append(threading.get_ident())
        time.sleep(0.001)
        observation = super().forward(work, **options)
        self.inside -= 1
        return observation


def test_only_one_thread_is_in_a_forward_and_none_starves() -> None:
    engine = Slow()
    model = entropix.Model(engine)
    in_threads([lambda: model.generate("a", seed=1, max_tokens=60)] * 3)
    assert engine.most == 1
    first = [engine.callers.index(caller) for caller in dict.fromkeys(engine.callers)]
    last = [len(engine.callers) - engine.callers[::-1].index(caller) for caller in dict.fromkeys(engine.callers)]
    assert max(first) < min(last), "a thread waited for another's whole answer"


def test_a_stream_may_be_closed_by_another_thread() -> None:
    engine = Slow()
    stream = entropix.Model(engine).stream("a", seed=1, max_tokens=150)
    begun = threading.Event()

    def read() -> int:
        count = 0
        for _ in stream:
            count += 1
            begun.set()
        return count

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        assert begun.wait(30)
        stream.close()
        assert reading.result(30) < 150
    assert stream.result.finish_reason == "cancelled"
    assert engine.cells_used() == 0


def test_closing_a_model_ends_what_other_threads_decode_with_an_error() -> None:
    engine = Slow()
    model = entropix.Model(engine)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(model.generate, "a", seed=1, max_tokens=150)
        while not engine.callers:
            time.sleep(0.001)
        model.close()
        with pytest.raises(ModelError, match="closed"):
            answer.result(30)
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.generate("a")


def test_threads_that_read_one_stream_share_its_tokens() -> None:
    model = entropix.Model(Slow())
    alone = [token.step.position for token in model.stream("a", seed=1, max_tokens=60)]
    stream = model.stream("a", seed=1, max_tokens=60)
    parts = in_threads([lambda: [token.step.position for token in stream]] * 3)
    assert sorted(position for part in parts for position in part) == alone
    assert all(part == sorted(part) for part in parts)


class Dropping(Slow):
    """In the middle of a forward the garbage collector finds a stream that was dropped unfinished."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[bool] = []

    def forward(self, work: Any, **options: Any) -> Any:
        gc.collect()
        return super().forward(work, **options)

    def close(self, sequence: Any) -> None:
        self.closed.append(_inside(self.forward))
        super().close(sequence)


def _inside(method: Any) -> bool:
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code is not method.__func__.__code__:
        frame = frame.f_back
    return frame is not None


def test_a_stream_dropped_unfinished_ends_between_two_steps_never_in_a_forward() -> None:
    engine = Dropping()
    model = entropix.Model(engine)
    dropped = model.stream("a", seed=1, max_tokens=60)
    next(dropped)
    gc.disable()
    try:
        del dropped
        assert engine.cells_used() > 0
        assert model.generate("a", seed=1, max_tokens=5).finish_reason == "length"
    finally:
        gc.enable()
    assert engine.closed == [False, False]
    assert engine.cells_used() == 0


def test_a_guard_is_reentrant_and_handed_over_in_the_order_of_asking() -> None:
    guard = Guard()
    order: list[int] = []

    def enter(n: int) -> None:
        with guard, guard:
            order.append(n)

    threads = []
    with guard:
        for n in range(5):
            threads.append(threading.Thread(target=enter, args=(n,)))
            threads[-1].start()
            while len(guard._waiting) <= n:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_an_engine_has_one_guard() -> None:
    engine, other = ScriptedEngine(), ScriptedEngine()
    assert guard_of(engine) is guard_of(engine)
    assert guard_of(engine) is not guard_of(other)


def _in_child(model: entropix.Model, send: Any) -> None:
    try:
        send.send(model.generate("Hi", policy="greedy", max_tokens=2).text)
    except Exception as error:
        send.send(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_to_spawn_and_the_parent_goes_on(real_engine: Engine) -> None:
    model = entropix.Model(real_engine)
    before = model.generate("Hi", policy="greedy", max_tokens=2).text
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(model, send))
    child.start()
    assert receive.poll(60), "the child hangs"
    error = receive.recv()
    child.join(60)
    assert child.exitcode == 0
    assert isinstance(error, ModelError)
    assert "spawn" in str(error)
    assert model.generate("Hi", policy="greedy", max_tokens=2).text == before


def _load_in_child(path: Any, send: Any) -> None:
    from entropix.engines.llama_cpp import LlamaCppEngine

    try:
        LlamaCppEngine(path, context=64, sequences=1, threads=2).shutdown()
        send.send(None)
    except Exception as error:
        send.send(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_of_a_process_with_a_model_may_not_load_one_with_threads(smollm2: Any) -> None:
    needs_llama_cpp()
    from entropix.engines.llama_cpp import LlamaCppEngine

    LlamaCppEngine(smollm2, context=64, sequences=1, threads=2).shutdown()
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_load_in_child, args=(smollm2, send))
    child.start()
    assert receive.poll(60), "the child hangs"
    error = receive.recv()
    child.join(60)
    assert isinstance(error, ModelError)
    assert "spawn" in str(error)
