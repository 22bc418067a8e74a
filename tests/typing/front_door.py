"""Read by mypy, never run: what an editor and a type checker know of the public functions.

An `ignore` without an error fails the check, so every refusal below is one."""

from __future__ import annotations

from typing import assert_type

import entropix
from entropix.model import AsyncStream, Stream, Token
from entropix.types import Result

model = entropix.load("smollm2", context=2048, threads=2)
entropix.load("smollm2", contxt=2048)  # type: ignore[call-arg]
entropix.load("smollm2", context="2048")  # type: ignore[arg-type]

assert_type(model.generate("Hi"), Result)
assert_type(model.generate([{"role": "user", "content": "Hi"}], seed=1), Result)
assert_type(model.generate(["Hi", "Ho"], policy="sample", temperature=0.7, top_p=0.9), list[Result])
assert_type(model.generate([[{"role": "user", "content": "Hi"}]]), list[Result])
assert_type(model.stream("Hi", search="vote:n=4,answer=number", constraint={"type": "object"}), Stream)
model.generate("Hi", max_token=3)  # type: ignore[call-overload]
model.generate("Hi", max_tokens="3")  # type: ignore[call-overload]
model.generate("Hi", temperature="hot")  # type: ignore[call-overload]
model.chat(sytem="Be brief.")  # type: ignore[call-arg]
assert_type(model.ask("What is 2 + 2?", "low", answer="number", seed=1), Result)
assert_type(model.ask(["What is 2 + 2?", "Who wrote Hamlet?"], effort="high"), list[Result])
model.ask("What is 2 + 2?", "very high")  # type: ignore[call-overload]
model.ask("What is 2 + 2?", search="tree")  # type: ignore[call-overload]
model.generate("What is 2 + 2?", effort="medium")
for token in model.stream("Hi"):
    assert_type(token, Token)
for token in model.chat("Be brief.", seed=3).send("Hi"):
    assert_type(token, Token)


async def asynchronous() -> None:
    assert_type(await model.agenerate("Hi", seed=1), Result)
    assert_type(await model.agenerate(["Hi", "Ho"]), list[Result])
    assert_type(model.astream("Hi"), AsyncStream)
    await model.agenerate("Hi", sed=1)  # type: ignore[call-overload]
    async for token in model.astream("Hi", max_tokens=3):
        assert_type(token, Token)
