"""The plug-in's choices are those of our own decoding loop, whatever vLLM does with requests and rows in between."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropix.decoding import Decoder, Request
from entropix.engines import Engine
from entropix.engines.scripted import Script, ScriptedEngine, hashed
from entropix.plugins.vllm.asking import PolicyRequest, read
from entropix.plugins.vllm.draw import Draw
from entropix.plugins.vllm.model import Served
from entropix.plugins.vllm.plan import Saved
from entropix.policies import POLICIES, Greedy, sampled
from entropix.policies.base import CANDIDATES
from entropix.profiles import Profile, find
from entropix.types import Regime, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)
PROFILE = Profile(name="scripted", fingerprint="x", vocabulary=260, thresholds=THRESHOLDS, source="test")
SERVED = Served(PROFILE, 260, None, lambda text: tuple(text.encode()))
SPECS = (
    "entropix",
    "entropix:inject_cooldown=3,inject=ab",
    "entropix:inject=,candidates=1",
    "entropix:control=random",
    "entropix:control=low",
    "entropix-2024",
    "greedy",
    "sample:temperature=1.2,top_k=0",
    "top-n-sigma",
    "mirostat:tau=2.0",
    "sample:temperature=1.2,top_k=200|typical=0.9,xtc_probability=0.5,xtc_threshold=0.05",
    "edt",
    "sample:temperature=1.2,top_k=200|adaptive_target=0.4,adaptive_decay=0.6",
    "entropix:inject_cooldown=3,inject=ab|min_p=0.02,adaptive_target=0.3",
)
TOKENS, SLOTS, DRAFTS = 14, 6, 3
SHARPNESS = (0.2, 1.0, 3.0, 9.0)


def script(tokens: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Every text is sure in one place and lost in another, so that every regime occurs."""
    digest = hashlib.sha256(repr(tokens).encode()).digest()
    return hashed(SHARPNESS[digest[0] % 4], seed=1)(tokens).astype(np.float32)


def asked(spec: str) -> PolicyRequest:
    policy, _, filters = spec.partition("|")
    found = read({"entropix": policy, **({"entropix_filters": filters} if filters else {})})
    assert found is not None
    return found


@cache
def own(prompt: tuple[int, ...], spec: str, seed: int) -> tuple[int, ...]:
    """What our own loop answers."""
    engine = ScriptedEngine(script, context=64)
    wanted = asked(spec)
    policy, filters = wanted.make(THRESHOLDS, 260), wanted.filters
    decoder = Decoder(engine)
    job = decoder.submit(
        Request(
            tokens=prompt,
            policy=policy,
            seed=seed,
            max_tokens=TOKENS,
            ignore_end=True,
            attention=False,
            filters=filters,
        )
    )
    for _ in decoder.run():
        pass
    return tuple(job.tokens)


@dataclass
class Client:
    """A request as vLLM would carry it."""

    prompt: tuple[int, ...]
    spec: str
    seed: int
    said: list[int] = field(default_factory=list)
    slot: int | None = None
    saved: Saved | None = None

    @property
    def text(self) -> tuple[int, ...]:
        return (*self.prompt, *self.said)


class Counts:
    def __init__(self) -> None:
        self.rows: list[tuple[int, float]] = []
        self.injections = 0

    def record(self, regimes: Any, entropies: Any, injected: Any) -> None:
        self.injections += int(np.asarray(injected)[np.asarray(regimes) >= 0].sum())
        self.rows += zip(np.asarray(regimes).tolist(), np.asarray(entropies).tolist(), strict=True)


def arrays(library: str) -> Any:
    if library == "numpy":
        return np.asarray
    return pytest.importorskip("torch").from_numpy


def serve(
    clients: list[Client],
    chance: np.random.Generator,
    library: str,
    *,
    several: bool,
    script: Script = script,
    served: Served = SERVED,
) -> Counts:
    """Run requests through the plug-in in a random order of joining, leaving, coming back and losing tokens."""
    array = arrays(library)
    counts = Counts()
    draw = Draw(served, SLOTS, DRAFTS + 2 if several else 2, array(np.zeros(1)), counts)
    free = list(range(SLOTS))
    while waiting := [c for c in clients if len(c.said) < TOKENS]:
        for client in waiting:
            if client.slot is not None and chance.random() < 0.1:
                client.saved = draw.leave(client.slot)
                free.append(client.slot)
                client.slot = None
            elif client.slot is None and free and chance.random() < 0.6:
                client.slot = free.pop(chance.integers(len(free)))
                draw.join(client.slot, asked(client.spec), client.seed, client.saved)
        running = [c for c in waiting if c.slot is not None and chance.random() < 0.9]
        chance.shuffle(running)
        rows: list[tuple[Client | None, int, tuple[int, ...]]] = []
        for client in running:
            drafts: list[int] = []
            for _ in range(int(chance.integers(DRAFTS + 1)) if several else 0):
                drafts.append(int(chance.integers(256)) if chance.random() < 0.3 else guess(client, drafts))
            rows += [(client, n, (*client.text, *drafts[:n])) for n in range(len(drafts) + 1)]
        if not rows:
            continue
        stock = clients[0].prompt
        rows.insert(int(chance.integers(len(rows) + 1)) if not several else 0, (None, 0, stock))
        logits = array(np.stack([script(text) for _, _, text in rows]))
        slots = array(np.array([SLOTS if c is None else c.slot for c, _, _ in rows], np.int64))
        level = array(np.array([n for _, n, _ in rows], np.int64))
        starts = array(np.array([len(text) - n for _, n, text in rows], np.int64))
        draw.step(logits, slots, starts, level=level if several else None)
        chosen = np.asarray(logits)
        for client in running:
            if chance.random() < 0.15:
                continue  # the choice comes to nothing
            for n, row in [(n, r) for r, (c, n, _) in enumerate(rows) if c is client]:
                text = rows[row][2]
                if text != client.text[: len(text)] or len(text) != len(client.text) or n > DRAFTS:
                    break  # the draft before this row was rejected
                assert np.isfinite(chosen[row]).sum() == 1
                if len(client.said) < TOKENS:
                    client.said.append(int(chosen[row].argmax()))
            if len(client.said) == TOKENS and client.slot is not None:
                draw.leave(client.slot)
                free.append(client.slot)
                client.slot = None
        row = next(r for r, (c, _, _) in enumerate(rows) if c is None)
        np.testing.assert_array_equal(chosen[row], script(stock), err_msg="a stock request's row was touched")
    assert not draw.plans, "a policy stayed behind"
    assert not draw.seats
    return counts


def guess(client: Client, drafts: list[int]) -> int:
    """A draft that is right: what our own loop says next."""
    answer = own(client.prompt, client.spec, client.seed)
    place = len(client.said) + len(drafts)
    return answer[place] if place < len(answer) else 0


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from(["numpy", "torch"]), st.booleans())
def test_answers_equal_our_own(seed: int, library: str, several: bool) -> None:
    chance = np.random.default_rng(seed)
    clients = [
        Client(tuple(chance.integers(0, 256, chance.integers(1, 5)).tolist()), str(spec), int(chance.integers(1 << 40)))
        for spec in chance.choice(SPECS, 5)
    ]
    serve(clients, chance, library, several=several)
    for client in clients:
        assert tuple(client.said) == own(client.prompt, client.spec, client.seed), client.spec


class Recorder:
    """An engine that keeps the logits of every text it was shown."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.logits: dict[tuple[int, ...], np.ndarray[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def forward(self, work: Any, **options: Any) -> Any:
        observation = self.engine.forward(work, **options)
        for (sequence, _), row in zip(work, observation.logits, strict=True):
            self.logits[tuple(sequence.tokens)] = np.array(row, np.float32)
        return observation


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_answers_equal_those_of_a_real_model_on_the_logits_it_showed(llama_engine: Engine, library: str) -> None:
    profile = find(llama_engine.info)
    assert profile.source != "generic"
    vocabulary = llama_engine.info.vocabulary
    encode = llama_engine.tokenizer.encode
    engine: Any = Recorder(llama_engine)
    decoder = Decoder(engine)
    jobs = []
    # where nothing is read back from a device, draws stay within the window (docs/vllm.md)
    specs = [spec.replace("top_k=0", "top_k=200") for spec in SPECS] if library == "torch" else list(SPECS)
    for number, spec in enumerate(specs):
        wanted = asked(spec)
        policy = wanted.make(profile.thresholds, vocabulary)
        prompt = tuple(encode(f"Name {number + 2} rivers and say why"))
        asks = Request(tokens=prompt, policy=policy, seed=number, max_tokens=TOKENS, ignore_end=True, attention=False)
        jobs.append(decoder.submit(replace(asks, filters=wanted.filters)))
    for _ in decoder.run():
        pass
    clients = [Client(job.request.tokens, spec, job.request.seed) for job, spec in zip(jobs, specs, strict=True)]
    served = Served(profile, vocabulary, None, lambda text: tuple(encode(text)))
    chance = np.random.default_rng(3)
    serve(clients, chance, library, several=False, script=engine.logits.__getitem__, served=served)
    assert [tuple(client.said) for client in clients] == [tuple(job.tokens) for job in jobs]


class Three(Greedy):
    """Three candidates, and no parameter of that name that could say so."""

    name = "three"

    @property
    def max_candidates(self) -> int:
        return CANDIDATES

    def decide(self, signals: Any, regime: Any, state: Any) -> Any:
        return sampled(regime, like=signals.entropy, temperature=1.5, candidates=3), state


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_candidates_need_no_parameter_of_that_name(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "three", Three)
    clients = [Client((1, n), "three", n) for n in range(5)]
    serve(clients, np.random.default_rng(1), library, several=False)
    assert [tuple(client.said) for client in clients] == [own(c.prompt, "three", c.seed) for c in clients]


def test_every_regime_and_injection_occurs() -> None:
    """What the test above compares would be little if nothing happened in it."""
    chance = np.random.default_rng(5)
    clients = [Client((1, 2, n), "entropix:inject=ab,inject_cooldown=3", n) for n in range(6)]
    counts = serve(clients, chance, "numpy", several=False)
    assert {regime for regime, _ in counts.rows} >= {int(r) for r in Regime}
    assert any(97 in client.said for client in clients), "no injection"
    assert any(np.isnan(entropy) for _, entropy in counts.rows), "an injection's second token was decided on"


def test_an_injection_is_counted_once_whatever_its_length() -> None:
    counts = Counts()
    draw = Draw(SERVED, 2, 2, np.zeros(1), counts)
    draw.join(0, asked("entropix:inject=abc,inject_cooldown=9"), 3)
    for start in range(4, 9):
        draw.step(np.zeros((1, 260), np.float32), np.array([0]), np.array([start]))
    assert counts.injections == 1
    assert [np.isnan(entropy) for _, entropy in counts.rows] == [False, True, True, False, False]


def test_an_injection_that_masks_forbid_is_not_forced() -> None:
    draw = Draw(SERVED, 2, 2, np.zeros(1))
    draw.join(0, asked("entropix:inject=a"), 3)
    flat = np.zeros((1, 260), np.float32)
    allowed = flat.copy()
    draw.step(allowed, np.array([0]), np.array([4]))
    assert int(allowed[0].argmax()) == ord("a")
    draw.leave(0)
    draw.join(0, asked("entropix:inject=a"), 3)
    flat[0, ord("a")] = -np.inf
    draw.step(flat, np.array([0]), np.array([4]))
    assert np.isfinite(flat[0]).sum() == 1
    assert int(flat[0].argmax()) != ord("a")


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_row_ends_nobody_s_answer(library: str, value: float) -> None:
    draw = Draw(SERVED, 3, 2, arrays(library)(np.zeros(1)))
    for slot in range(3):
        draw.join(slot, asked("entropix"), slot)
    rows = np.stack([script((7, n)) for n in range(3)])
    broken = rows.copy()
    broken[1] = value
    places = arrays(library)(np.arange(3)), arrays(library)(np.full(3, 2))
    logits, alone = arrays(library)(broken), arrays(library)(rows)
    draw.step(logits, *places)
    draw.step(alone, *places)
    found, wanted = np.asarray(logits).argmax(-1), np.asarray(alone).argmax(-1)
    assert (found[0], found[2]) == (wanted[0], wanted[2])
    assert 0 <= found[1] < 260


def test_what_a_policy_remembers_grows_with_its_requests_and_not_with_the_slots() -> None:
    """Everybody may ask for parameters of their own, and a control remembers 60 kB of a request."""
    draw = Draw(SERVED, 1000, 2, np.zeros(1))
    for number in range(20):
        draw.join(number, asked(f"entropix:control=random,temperature={0.5 + number / 100}"), number)
    held = sum(array.nbytes for plan in draw.plans.values() for array in plan.state.values())
    assert len(draw.plans) == 20
    assert held < 20 * 400_000
