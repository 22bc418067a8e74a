"""What a constraint costs: reading a vocabulary, compiling a schema, and every step. No forward is computed.

python -m benchmarks.constraints                     SmolLM2, 49,152 tokens
python -m benchmarks.constraints smollm2 FILE.gguf   further models, one after the other

Medians, smallest and largest over the tokens of a JSON text that the schema allows, one thread. `masks` is the loop's
`apply_masks` on 16 rows of logits: none constrained, one, or all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

import entropix
from entropix.constraints import Vocabulary, json_schema
from entropix.decoding import Branch, Constraint, Job, Request
from entropix.decoding.masks import apply_masks
from entropix.policies import make_policy
from entropix.types import Thresholds

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string"}},
        "kind": {"enum": ["river", "lake", "größe 🙂"]},
        "place": {"type": "object", "properties": {"country": {"type": "string"}, "lat": {"type": "number"}}},
    },
    "required": ["name", "age", "tags", "kind", "place"],
    "additionalProperties": False,
}
TEXT = json.dumps(
    {
        "name": "Danube, also called Donau or Дунай in some places",
        "age": 42,
        "tags": ["water", "Europe", "long and rather slow"],
        "kind": "größe 🙂",
        "place": {"country": "Germany", "lat": 48.2},
    },
    ensure_ascii=False,
)
ROWS = 16


def timed(work: Callable[[], Any], repeats: int = 30) -> list[float]:
    """Milliseconds of each call."""
    out = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        out.append((time.perf_counter() - begun) * 1e3)
    return out


def show(what: str, milliseconds: list[float]) -> None:
    least, middle, most = min(milliseconds), median(milliseconds), max(milliseconds)
    print(f"  {what:44} {middle:9.3f} ms   {least:9.3f} … {most:9.3f}", flush=True)


def branches(constraint: Constraint, constrained: int) -> Iterator[Branch]:
    thresholds = Thresholds(0.3, 2.0, 0.25, 1.5)
    for n in range(ROWS):
        policy = make_policy("greedy", thresholds, constraint.vocabulary)
        yield Job(
            Request(tokens=(1,), policy=policy, constraint=constraint if n < constrained else None), (), False
        ).trunk


def measure(name: str) -> None:
    with entropix.load(name, context=512, threads=1) as model:
        tokenizer, size = model.tokenizer, model.info.vocabulary
        print(f"{model.info.name}: {size} tokens")
        show("read the vocabulary, once a model", timed(lambda: Vocabulary(tokenizer, size), 3))
        constraint = model.constraint(SCHEMA)
        show("compile the schema", timed(lambda: model.constraint(SCHEMA)))
        enum = json_schema({"enum": [f"value {n}" for n in range(1000)]})
        show("compile an enum of 1000 texts", timed(lambda: model.constraint(enum)))
        matcher, allowed, taken = constraint.begin(), [], []
        for token in tokenizer.encode(TEXT):
            allowed += timed(matcher.allowed, 1)
            taken += timed(lambda token=token: matcher.accept(token), 1)  # type: ignore[misc]
        assert matcher.complete, matcher.problem
        show(f"allowed tokens, a step ({len(taken)} of them)", allowed)
        show("accept a token", taken)
        show("copy, as for a fork", timed(matcher.copy))
        copies = iter([matcher.copy() for _ in range(30)])
        show("rewind 20 tokens", timed(lambda: next(copies).rewind(len(taken) - 20)))
        logits = np.random.default_rng(0).normal(size=(ROWS, size)).astype(np.float32)
        for constrained in (0, 1, ROWS):
            rows = list(branches(constraint, constrained))
            show(f"masks of {ROWS} rows, {constrained} constrained", timed(lambda: apply_masks(logits, rows)))  # noqa: B023
        show(f"of that, a copy of the {ROWS} rows", timed(lambda: np.array(logits, copy=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["smollm2"], metavar="MODEL", help="a name or a file")
    for name in parser.parse_args().models:
        measure(name)


if __name__ == "__main__":
    main()
