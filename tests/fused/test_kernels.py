"""The Triton kernels against float64 and against the array operations that they stand for.

No GPU is needed: Triton's interpreter runs them on tensors in host memory. That checks what they compute, not what its
compiler makes of them; `test_targets.py` has them compiled.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import entropix.fused as gate
from entropix.plugins.vllm.asking import read
from entropix.plugins.vllm.draw import Draw, force
from entropix.plugins.vllm.model import Served
from entropix.profiles import Profile
from entropix.sampling import noise, top_window, window
from entropix.signals import logits as signals
from entropix.signals import measure_unchecked
from entropix.types import Thresholds

torch = pytest.importorskip("torch")
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("TRITON_INTERPRET", "1")  # looked at when triton is imported, and when a kernel is defined
    pytest.importorskip("triton")
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    language = pytest.importorskip("triton.language")
    module = pytest.importorskip("entropix.fused.kernels")
if not all(isinstance(f, interpreter.InterpretedFunction) for f in (language.sum, module._force)):
    pytest.skip(
        "triton was imported without its interpreter; set TRITON_INTERPRET=1 and run this file alone",
        allow_module_level=True,
    )

Matrix = np.ndarray[Any, Any]


@pytest.fixture(autouse=True, scope="module")
def interpreted() -> Iterator[None]:
    """Triton looks again when a kernel is launched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        yield


def exact(logits: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Entropy, varentropy and normaliser in float64, straight from the definitions."""
    z = logits.astype(np.float64)
    top = z.max(axis=-1, keepdims=True)
    total = np.exp(z - top).sum(axis=-1, keepdims=True)
    p = np.exp(z - top) / total
    surprisal = np.where(p > 0, top + np.log(total) - z, 0.0)
    entropy = (p * surprisal).sum(axis=-1)
    return entropy, (p * (surprisal - entropy[:, None]) ** 2).sum(axis=-1), (top + np.log(total))[:, 0]


def close(got: Any, wanted: Matrix) -> None:
    error = np.abs(got.double().numpy() - wanted)
    assert ((error <= 1e-3 * np.abs(wanted)) | (error <= 1e-6)).all(), (got, wanted)


def agree(logits: Matrix, tensor: Any = None) -> None:
    with np.errstate(all="ignore"):
        wanted = exact(logits)
    for got, right in zip(
        module.entropies(torch.from_numpy(logits) if tensor is None else tensor), wanted, strict=True
    ):
        assert got.dtype == torch.float32
        close(got, right)


def rows_of(kind: str, rows: int, vocabulary: int) -> Matrix:
    g = np.random.default_rng(rows * vocabulary)
    z = g.normal(size=(rows, vocabulary)) * 3
    spots = g.integers(0, vocabulary, rows)
    if kind == "flat":
        z = np.zeros((rows, vocabulary)) + g.normal(size=(rows, 1)) * 50
    elif kind == "nearly flat":
        z = z * 1e-3 + g.normal(size=(rows, 1)) * 50
    elif kind == "peak over a flat tail":
        z = z * 1e-2
        z[np.arange(rows), spots] = g.uniform(3, 16, rows)
    elif kind == "peaked":
        z[np.arange(rows), spots] += g.uniform(20, 300, rows)
    elif kind == "masked":
        z[g.random((rows, vocabulary)) < 0.99] = -np.inf
        z[np.arange(rows), spots] = 1.0
    elif kind == "masked to the end":
        z[:, vocabulary // 3 + 1 :] = -np.inf
    elif kind == "masked from the start":
        z[:, : vocabulary - vocabulary // 5 - 1] = -np.inf
    elif kind == "one is left":
        z[:] = -np.inf
        z[np.arange(rows), spots] = g.normal(size=rows) * 100
    elif kind == "ties":
        z = np.round(z)
    elif kind == "far apart":
        z *= 1e4
    elif kind == "rising":  # every piece begins anew far above the last
        z = z * 0.1 + np.linspace(-400, 400, vocabulary)
    return z.astype(np.float32)


KINDS = (
    "random",
    "flat",
    "nearly flat",
    "peak over a flat tail",
    "peaked",
    "masked",
    "masked to the end",
    "masked from the start",
    "one is left",
    "ties",
    "far apart",
    "rising",
)
SHAPES = [(300, 7), (1, 7), (2, 4096), (3, 4097), (2, 12_345), (300, 5000), (2, 49_152), (2, 152_064), (1, 262_144)]


@pytest.mark.parametrize(("rows", "vocabulary"), SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_entropies_equal_float64(kind: str, rows: int, vocabulary: int) -> None:
    agree(rows_of(kind, rows if kind in ("random", "masked") else min(rows, 3), vocabulary))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e5, 1e5, width=32) | st.just(float("-inf")), min_size=1, max_size=60).filter(
        lambda row: max(row) > -math.inf
    ),
    st.integers(1, 5000),
)
def test_entropies_equal_float64_on_any_row(row: list[float], repeats: int) -> None:
    agree(np.tile(np.array([row], np.float32), (1, repeats)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_logits_are_measured_as_they_are(dtype: str) -> None:
    tensor = torch.from_numpy(rows_of("random", 3, 9000)).to(getattr(torch, dtype))
    agree(tensor.float().numpy(), tensor)


def test_rows_may_lie_apart() -> None:
    """vLLM cuts the vocabulary's padding off."""
    wide = rows_of("random", 6, 10_000)
    agree(wide[::2, 100:9_900], torch.from_numpy(wide)[::2, 100:9_900])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 5000, 12_344])
def test_a_bad_row_is_nan_and_disturbs_no_other(bad: float, place: int) -> None:
    logits = rows_of("random", 4, 12_345)
    good = module.entropies(torch.from_numpy(logits.copy()))
    logits[1, place] = bad
    logits[2] = -np.inf
    for got, undisturbed in zip(module.entropies(torch.from_numpy(logits)), good, strict=True):
        assert got[1:3].isnan().all()
        assert torch.equal(got[[0, 3]], undisturbed[[0, 3]])


@pytest.mark.parametrize("kind", ["random", "flat", "masked", "one is left", "far apart"])
@pytest.mark.parametrize(("rows", "vocabulary"), [(300, 7), (2, 12_345), (2, 152_064)])
def test_the_spread_equals_float64(kind: str, rows: int, vocabulary: int) -> None:
    logits = rows_of(kind, rows, vocabulary)
    logits[0, 0] = np.nan  # is not counted
    logits[-1, 1] = 2.0
    finite = [row[np.isfinite(row)].astype(np.float64) for row in logits]
    wanted = np.array([row.std() if row.size else np.nan for row in finite])
    got = module.logit_std(torch.from_numpy(logits)).double().numpy()
    # flat rows: the rounding of a number as large as theirs
    np.testing.assert_allclose(
        got, wanted, rtol=1e-3, atol=1e-6 * max(1.0, *(np.abs(row).max(initial=0) for row in finite))
    )


SPECIAL = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 2.0, math.inf, math.nan])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SPECIAL | st.floats(-3, 3, width=16), min_size=37, max_size=37), min_size=1, max_size=3))
def test_windows_are_ordered_as_by_two_sorts(rows: list[list[float]]) -> None:
    values = torch.tensor(rows)
    ids = torch.stack([torch.randperm(37) * 3 for _ in rows])
    got, wanted = module.ordered(values, ids), window._ordered.kernel.plain(values, ids)
    assert torch.equal(got[1], wanted[1])
    assert torch.equal(got[0].nan_to_num(7.0), wanted[0].nan_to_num(7.0))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 300])
def test_windows_of_any_size_are_ordered(size: int) -> None:
    values = torch.randint(0, 5, (300 if size < 3 else 4, size)).float()
    ids = torch.stack([torch.randperm(size) for _ in values])
    got, wanted = module.ordered(values, ids), window._ordered.kernel.plain(values, ids)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 40)), min_size=1, max_size=140),
    st.integers(1, 256),
)
def test_noise_is_bit_for_bit_the_same(rows: list[tuple[int, int]], size: int) -> None:
    seeds, positions = (torch.tensor(column) for column in zip(*rows, strict=True))
    keys = module.position_keys(seeds, positions)
    assert torch.equal(keys, noise.position_keys.kernel.plain(seeds, positions))
    assert (
        torch.equal(keys, module.position_keys(seeds, positions.clamp(max=2**31 - 1).int())) or positions.max() >= 2**31
    )
    ids = torch.randint(0, 300_000, (len(rows), size + 3))[:, :size]
    assert torch.equal(module.keyed_uniform(keys, ids), noise.keyed_uniform.kernel.plain(keys, ids))


@pytest.mark.parametrize("vocabulary", [7, 2048, 5000, 152_064])
def test_forced_rows_have_one_token_and_others_stay(vocabulary: int) -> None:
    wide = torch.randn(5, vocabulary + 8)
    logits, ours = wide[:, :vocabulary], torch.tensor([True, False, True, False, True])
    tokens = torch.randint(0, vocabulary, (5,))
    before = wide.clone()
    wanted = force.kernel.plain(logits.clone(), ours, tokens)
    assert module.force(logits, ours, tokens) is logits
    assert torch.equal(logits, wanted)
    assert torch.equal(wide[:, vocabulary:], before[:, vocabulary:])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if host memory were a GPU's."""
    monkeypatch.setattr(gate, "DEVICES", frozenset({"cpu"}))
    monkeypatch.delenv(gate.SWITCH, raising=False)
    every = [f.kernel for f in (signals._entropies, signals.logit_std, window._ordered, force)]
    every += [noise.position_keys.kernel, noise.keyed_uniform.kernel]
    gate.library.cache_clear()
    yield
    gate.library.cache_clear()
    for kernel in every:
        kernel.tried.clear()
        kernel.failed.clear()


@pytest.mark.usefixtures("here")
def test_kernels_pass_their_own_trial_and_are_used(caplog: pytest.LogCaptureFixture) -> None:
    logits = torch.from_numpy(rows_of("random", 3, 5000))
    spread = measure_unchecked(logits, asked={"logit_std"}).logit_std
    ids = top_window(logits).ids
    u = noise.keyed_uniform(noise.position_keys(ids[:, 0], ids[:, 1]), ids)
    force(logits, torch.tensor([True, False, True]), ids[:, 0].contiguous())
    assert spread is not None
    assert u.dtype == torch.float64
    assert not caplog.records
    kernels = [f.kernel for f in (signals._entropies, signals.logit_std, window._ordered, noise.keyed_uniform, force)]
    assert [list(kernel.tried.values()) for kernel in kernels] == [[True]] * 5


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", ["wrong", "raises", "another shape"])
def test_a_kernel_that_fails_its_trial_is_dropped_with_one_line(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(logits: Any) -> Any:
        calls.append(logits)
        if kind == "raises":
            raise RuntimeError("no such instruction")
        got = module.logit_std(logits)  # of the same shape, and wrong
        return (got, got, got[:1] if kind == "another shape" else got)

    monkeypatch.setattr(module, "entropies", broken)
    logits = rows_of("random", 3, 500)
    for _ in range(3):
        got = measure_unchecked(torch.from_numpy(logits))
        close(got.entropy, exact(logits)[0])
    measure_unchecked(torch.from_numpy(logits[:, :77]))
    assert len(calls) == 1
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "entropies is not used on cpu" in caplog.text


@pytest.mark.usefixtures("here")
def test_what_the_kernels_cannot_take_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = signals._entropies.kernel
    logits = torch.from_numpy(rows_of("random", 4, 600))
    assert kernel.fits((logits,))
    assert not kernel.fits((logits.double(),))
    assert not kernel.fits((logits.T,))
    assert not kernel.fits((logits[:0],))
    assert not kernel.fits((logits.clone().requires_grad_(),))
    assert not kernel.fits((logits.numpy(),))
    assert not kernel.fits((logits[:, :0],))
    assert not kernel.fits((logits[None],))
    assert not window._ordered.kernel.fits((torch.zeros(2, 1025), torch.zeros(2, 1025, dtype=torch.int64)))
    assert not kernel.failed
    monkeypatch.setenv(gate.SWITCH, "0")
    gate.library.cache_clear()
    assert not kernel.fits((logits,))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "spec", ["entropix:inject=ab,inject_cooldown=2", "sample:top_k=0,temperature=1.2", "top-n-sigma", "mirostat"]
)
def test_the_plug_in_chooses_the_same_with_and_without(
    spec: str, several: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = read({"entropix": spec})
    assert asked is not None
    thresholds = Thresholds(0.3, 2.0, 0.25, 1.5)
    profile = Profile(name="scripted", fingerprint="x", vocabulary=900, thresholds=thresholds, source="test")
    served = Served(profile, 900, None, lambda text: tuple(text.encode()))
    answers = []
    for used in (True, False):
        monkeypatch.setattr(gate, "DEVICES", frozenset({"cpu"} if used else {}))
        draw = Draw(served, 4, 4 if several else 2, torch.zeros(1))
        for slot in range(3):
            draw.join(slot, asked, seed=slot)
        steps = []
        for step in range(5):
            kinds = ("random", "peak over a flat tail", "ties", "masked")
            logits = torch.from_numpy(np.concatenate([rows_of(kind, 1, 900) for kind in kinds]))
            slots, starts = torch.tensor([0, 3, 1, 2]), torch.full((4,), step + 5)
            draw.step(logits, slots, starts, level=torch.zeros(4, dtype=torch.int64) if several else None)
            steps.append(logits)
        answers.append(torch.stack(steps))
    assert torch.equal(*answers)
    assert (answers[0][:, [0, 2, 3]] == 0).sum(-1).eq(1).all()
    assert not caplog.records


def test_host_memory_is_not_a_gpu() -> None:
    assert not signals._entropies.kernel.fits((torch.zeros(2, 9),))
