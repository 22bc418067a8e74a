"""Log-likelihoods of given continuations on any engine: a context is computed once, and its continuations fork it."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar, cast

import numpy as np

from entropix.arrays import to_numpy
from entropix.engines.base import Engine, SequenceHandle
from entropix.engines.guard import guard_of
from entropix.errors import ModelError
from entropix.types import Array

T = TypeVar("T")

Part = tuple[tuple[int, ...], list[int]]
"""A context and the numbers of some of its continuations."""


class Score(NamedTuple):
    """Σ ln p of a continuation from the raw logits, and whether each of its tokens is the likeliest one."""

    logprob: float
    greedy: bool


NOTHING = Score(0.0, True)
"""Of an empty continuation."""


def scores(engine: Engine, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[tuple[int, Score]]:
    """Of each (context, continuation), its number and score, in the order in which they become known. A context has
    at least one token; an empty continuation scores 0. Closing the iterator gives every sequence back.

    Raises CapacityError when one pair alone does not fit."""
    rests = [rest for _, rest in pairs]
    yield from ((n, NOTHING) for n, rest in enumerate(rests) if not len(rest))
    for wave in _waves(engine, _groups(pairs), rests):
        with guard_of(engine):
            scored = finished(_scored(engine, wave, rests))
        yield from scored.items()


def scoring(
    engine: Engine,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    sequences: int | None = None,
    chunk: int | None = None,
) -> Generator[int, None, list[Score]]:
    """`scores` beside others that use the engine: the guard is free between two forwards. Yields after each how many
    tokens it took, and returns the scores. sequences: most at a time, None for all that the engine has; chunk: most
    tokens of a context a forward."""
    rests = [rest for _, rest in pairs]
    found = [NOTHING] * len(pairs)
    for wave in _waves(engine, _groups(pairs), rests, sequences):
        for n, score in (yield from _scored(engine, wave, rests, chunk)).items():
            found[n] = score
    return found


def _groups(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[tuple[int, ...], list[int]]:
    """Each context with the numbers of its continuations, empty ones left out."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, (context, rest) in enumerate(pairs):
        if len(rest):
            groups.setdefault(tuple(context), []).append(n)
    return groups


def finished(work: Generator[object, None, T]) -> T:
    """What a generator returns when it has come to its end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast(T, end.value)


def _waves(
    engine: Engine,
    groups: dict[tuple[int, ...], list[int]],
    rests: Sequence[Sequence[int]],
    most_sequences: int | None = None,
) -> Iterator[list[Part]]:
    """As much together as the engine holds, contexts of similar length beside each other."""
    most = engine.capabilities
    most_sequences = min(most.sequences, most_sequences or most.sequences)
    wave: list[Part] = []
    sequences = cells = 0
    for context in sorted(groups, key=len, reverse=True):
        begins = True
        for n in groups[context]:
            begins = begins or not most.fork
            opened = int(begins or len(rests[n]) > 1)
            held = len(context) * begins + len(rests[n]) - 1  # the last token is scored and not forwarded
            if wave and (sequences + opened > most_sequences or cells + held > most.cells):
                yield wave
                wave, sequences, cells = [], 0, 0
                begins, opened, held = True, 1, len(context) + len(rests[n]) - 1
            if begins:
                wave.append((context, []))
            wave[-1][1].append(n)
            sequences, cells, begins = sequences + opened, cells + held, False
    if wave:
        yield wave


def _scored(
    engine: Engine, wave: list[Part], rests: Sequence[Sequence[int]], chunk: int | None = None
) -> Generator[int, None, dict[int, Score]]:
    guard, opened = guard_of(engine), list[SequenceHandle]()
    sums = {n: Score(0.0, True) for _, members in wave for n in members}

    def add(n: int, place: int, logits: Array) -> None:
        token, top = rests[n][place], float(logits.max())
        if not math.isfinite(top):
            raise ModelError(
                f"model {engine.info.name!r} computes NaN or infinite logits; nothing can be scored with it"
            )
        logprob = float(logits[token]) - top - float(np.log(np.exp(logits - top).sum()))
        sums[n] = Score(sums[n].logprob + logprob, sums[n].greedy and int(logits.argmax()) == token)

    try:
        work = []
        with guard:
            for context, _ in wave:
                opened.append(engine.open(context))
                work.append((opened[-1], context[len(opened[-1].tokens) :]))
        if chunk is not None:
            for row, (sequence, _) in enumerate(work):
                while len(work[row][1]) > chunk:
                    _forward(engine, [(sequence, work[row][1][:chunk])])
                    work[row] = sequence, work[row][1][chunk:]
                    yield chunk
        logits = _forward(engine, work)
        yield sum(len(rest) for _, rest in work)
        live: list[tuple[int, SequenceHandle]] = []
        for row, (_, members) in enumerate(wave):
            for n in members:
                add(n, 0, logits[row])
            longer = [n for n in members if len(rests[n]) > 1]
            with guard:
                forks = engine.fork(opened[row], len(longer) - 1) if len(longer) > 1 else []
            opened += forks
            live += zip(longer, [*forks, opened[row]], strict=False)
        place = 1
        while live:
            logits = _forward(engine, [(sequence, [rests[n][place - 1]]) for n, sequence in live])
            yield len(live)
            for row, (n, _) in enumerate(live):
                add(n, place, logits[row])
            place += 1
            live = [(n, sequence) for n, sequence in live if place < len(rests[n])]
    finally:
        with guard.ending() as usable:
            for sequence in opened if usable else ():
                engine.close(sequence)
    return sums


def _forward(engine: Engine, work: Sequence[tuple[SequenceHandle, Sequence[int]]]) -> Array:
    with guard_of(engine):
        return to_numpy(engine.forward(work).logits).astype(np.float64)
