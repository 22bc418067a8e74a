"""`agenerate` and `astream`: the event loop goes on, and what several tasks ask for is one batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import entropix
from entropix.engines import Engine
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import ModelError, ParameterError, PromptError

PROMPTS = ["Name a river.", "Name a lake.", "Name a hill.", "Name a sea."]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "entropix-decoding":
            thread.join(30)
            assert not thread.is_alive()


class Watched(ScriptedEngine):
    """Notes how many rows each forward had; waits for `go` before the first."""

    def __init__(self, text: str = "Hello wörld 🙂!") -> None:
        super().__init__(saying(text, certainty=9))
        self.rows: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.fail_at = -1

    def forward(self, work: Any, **options: Any) -> Any:
        assert self.go.wait(30)
        self.rows.append(len(work))
        if len(self.rows) == self.fail_at:
            raise RuntimeError("the device is gone")
        return super().forward(work, **options)


def test_an_awaited_answer_is_the_one_that_generate_gives(engine: Engine) -> None:
    model = entropix.Model(engine)
    expected = model.generate(PROMPTS[0], seed=3, max_tokens=12)
    result = asyncio.run(model.agenerate(PROMPTS[0], seed=3, max_tokens=12))
    assert (result.text, result.tokens, result.finish_reason) == (
        expected.text,
        expected.tokens,
        expected.finish_reason,
    )


def test_what_several_tasks_ask_for_is_decoded_as_one_batch(engine: Engine) -> None:
    model = entropix.Model(engine)
    alone = [model.generate(prompt, seed=3, max_tokens=12).text for prompt in PROMPTS]

    async def together() -> list[entropix.Result]:
        return await asyncio.gather(*(model.agenerate(prompt, seed=3, max_tokens=12) for prompt in PROMPTS))

    assert [result.text for result in asyncio.run(together())] == alone


def test_the_batch_holds_the_rows_of_all_tasks() -> None:
    watched = Watched()
    model = entropix.Model(watched)

    async def together() -> None:
        watched.go.clear()
        tasks = [asyncio.create_task(model.agenerate(prompt, seed=1)) for prompt in PROMPTS]
        while len(model._worker._joining) < 3:  # the first may have been taken already
            await asyncio.sleep(0.001)
        watched.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(together())
    assert max(watched.rows) == len(PROMPTS)


def test_the_event_loop_goes_on_while_a_model_call_waits() -> None:
    watched = Watched()
    watched.go.clear()
    model = entropix.Model(watched)

    async def main() -> str:
        task = asyncio.create_task(model.agenerate("hi", seed=1))
        await asyncio.sleep(0.01)
        watched.go.set()  # never, if the call had blocked the loop
        return (await task).text

    assert asyncio.run(main()) == "Hello wörld 🙂!"


def test_tokens_arrive_one_by_one_and_the_results_are_whole() -> None:
    model = entropix.Model(Watched())

    async def main() -> tuple[str, str]:
        stream = model.astream("hi", seed=1)
        texts = [token.text async for token in stream]
        assert len(texts) > 5
        return "".join(texts), stream.result.text

    streamed, whole = asyncio.run(main())
    assert streamed == whole == "Hello wörld 🙂!"


def test_a_list_gives_a_result_per_prompt_in_order() -> None:
    model = entropix.Model(Watched())
    results = asyncio.run(model.agenerate(PROMPTS, seed=1))
    assert [result.prompt_tokens for result in results] == [len(model.encode(prompt)) for prompt in PROMPTS]


def test_a_cancelled_task_cancels_its_answer_and_no_other() -> None:
    watched = Watched("word " * 300)
    model = entropix.Model(watched)

    async def main() -> entropix.Result:
        long = asyncio.create_task(model.agenerate("long", seed=1))
        other = asyncio.create_task(model.agenerate("other", seed=1, max_tokens=40))
        while not watched.rows:
            await asyncio.sleep(0.001)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        return await other

    assert len(asyncio.run(main()).tokens) == 40
    no_thread = [thread for thread in threading.enumerate() if thread.name == "entropix-decoding"]
    for thread in no_thread:
        thread.join(30)
    assert watched.cells_used() == 0
    assert len(watched.rows) < 250


def test_leaving_a_stream_early_gives_its_sequence_back() -> None:
    watched = Watched("word " * 300)
    model = entropix.Model(watched)

    async def main() -> None:
        async with model.astream("long", seed=1) as stream:
            async for _ in stream:
                break
        assert stream.result.text

    asyncio.run(main())
    for thread in [t for t in threading.enumerate() if t.name == "entropix-decoding"]:
        thread.join(30)
    assert watched.cells_used() == 0


@pytest.mark.parametrize(
    ("prompt", "options", "kind"),
    [
        ("", {}, PromptError),
        ([], {}, PromptError),
        ("hi", {"nonsense": 1}, ParameterError),
        ("x" * 9000, {}, PromptError),
    ],
)
def test_bad_arguments_raise_where_the_answer_is_awaited(prompt: Any, options: dict[str, Any], kind: type) -> None:
    model = entropix.Model(Watched())
    with pytest.raises(kind):
        asyncio.run(model.agenerate(prompt, **options))
    assert model.engine.cells_used() == 0


def test_an_engine_that_fails_raises_in_every_task_and_the_next_answer_is_right() -> None:
    watched = Watched()
    watched.fail_at = 3
    model = entropix.Model(watched)

    async def main() -> list[Any]:
        return await asyncio.gather(*(model.agenerate(p, seed=1) for p in PROMPTS), return_exceptions=True)

    failures = asyncio.run(main())
    assert any(isinstance(failure, RuntimeError) for failure in failures)
    assert asyncio.run(model.agenerate("hi", seed=1)).text == "Hello wörld 🙂!"


def test_a_model_that_is_closed_tells_those_who_wait() -> None:
    watched = Watched("word " * 300)
    model = entropix.Model(watched)

    async def main() -> None:
        task = asyncio.create_task(model.agenerate("hi", seed=1))
        while not watched.rows:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(model.close)
        with pytest.raises(ModelError, match="closed"):
            await task

    asyncio.run(main())
