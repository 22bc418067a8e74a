"""What a token of a constrained tool call costs beside one of a free text: python -m benchmarks.tools

    python -m benchmarks.tools [MODEL] [--rounds 3] [--tokens 56]

The same question is asked greedily, once without a tool, once with one that must be called, whose argument is a long
text under its JSON schema, and once without it behind as many tokens as the tool has: a token costs more behind a
longer prompt, whatever is written. Steps are those of the server's loop, without HTTP; the first 24, in which the call
begins, are left out. Printed is the time of the processor that steps take, in one thread, so that other work on the
machine does little to it: the mean, and what of it is beside the forward.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import entropix
from entropix.decoding import Decoder, Request
from entropix.model import Model
from entropix.models import DEFAULT
from entropix.serve.asking import Reader
from entropix.serve.schema import ChatRequest
from entropix.serve.settings import Settings

TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 2000}}, "required": ["text"]}
TOOL = {"type": "function", "function": {"name": "write", "description": "Writes a text down.", "parameters": TEXT}}
CALL: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}
FIRST = 24
QUESTION = "Write a long story about a lighthouse keeper who finds a message in a bottle."
FILLER = "The sea was calm that night. "


class Forwards:
    """The forwards of an engine, timed. spent: seconds of the processor."""

    def __init__(self, model: Model) -> None:
        self.spent = 0.0
        self._forward = model.engine.forward
        model.engine.forward = self._timed  # type: ignore[method-assign]

    def _timed(self, *args: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return self._forward(*args, **options)
        finally:
            self.spent += time.thread_time() - began


def steps(model: Model, request: Request, forwards: Forwards) -> list[tuple[float, float]]:
    """Milliseconds of each step of an answer behind the first, and of them those beside the forward."""
    decoder, found = Decoder(model.engine), []
    decoder.submit(request)
    while decoder.busy:
        forwards.spent, began = 0.0, time.thread_time()
        decoder.step()
        took = time.thread_time() - began
        found.append((took * 1e3, (took - forwards.spent) * 1e3))
    if len(found) <= FIRST:
        raise ValueError(f"the answer has {len(found)} tokens; ask another model")
    return found[FIRST:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=56)
    args = parser.parse_args()
    with entropix.load(args.model, context=2048, sequences=4, threads=1) as model:
        reader = Reader(model, Settings(port=0, policy="greedy"), keep=False, places=2)

        def asked(before: int = 0, **options: Any) -> Request:
            messages = [{"role": "user", "content": FILLER * before + QUESTION}]
            usual = {"model": model.info.name, "temperature": 0, "max_tokens": args.tokens, "messages": messages}
            return reader.chat(ChatRequest.model_validate({**usual, **options})).requests[0]

        bare, one, call = (len(request.tokens) for request in (asked(), asked(1), asked(**CALL)))
        before = round((call - bare) / (one - bare))
        ways = {f"free text behind {bare} tokens": {}, f"free text behind {call}": {"before": before}, "call": CALL}
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        forwards = Forwards(model)
        for _ in range(args.rounds):
            for way, options in ways.items():
                found[way] += steps(model, asked(**options), forwards)
    print(f"{model.info.name}, milliseconds a token, {args.rounds} rounds")
    for way, times in found.items():
        whole, beside = (statistics.mean(column) for column in zip(*times, strict=True))
        print(f"  {way}: {whole:.2f}, of them {beside:.2f} beside the forward ({len(times)} tokens)")


if __name__ == "__main__":
    main()
