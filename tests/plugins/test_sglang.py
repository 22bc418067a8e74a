"""Entropix as a custom logit processor of SGLang: what its sampler is left with is what our own loop draws from."""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from entropix.decoding.step import Part, first_state, noise_keys, take_step  # noqa: E402
from entropix.errors import CapabilityError, EntropixError, ParameterError  # noqa: E402
from entropix.plugins import sglang as plugin  # noqa: E402
from entropix.plugins.sglang.asking import NEUTRAL, read  # noqa: E402
from entropix.policies import POLICIES, Greedy, Policy, make_policy  # noqa: E402
from entropix.profiles import generic_thresholds, named  # noqa: E402
from entropix.sampling import keyed_gumbel  # noqa: E402
from entropix.signals import measure_unchecked  # noqa: E402
from helpers.sglang import OURS, VARIABLE, Host, hosted, rows_of  # noqa: E402

VOCABULARY = 700
SINGLE = "candidates=1,inject="
POLICIES_HERE = [
    f"entropix:{SINGLE}", f"entropix-2024:{SINGLE}", "edt", "dynatemp", "top-n-sigma", "greedy", "sample",
    "sample:temperature=1.3,top_k=40", "sample:temperature=0.9,top_p=0.8,min_p=0.02", "sample:top_k=300,top_p=0.95",
]  # fmt: skip


@pytest.fixture(params=["its text", "stand-in"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "its text" and VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no folder with SGLang's package; make test-sglang makes one")
    with hosted(request.param) as found:
        yield found


class Req:
    """A request, as far as SGLang's scheduler lets a processor see it."""

    to_finish: Any = None


def some_logits(rows: int = 9, seed: int = 0) -> Any:
    """Sure, unsure and in between, with tokens that a mask forbids and others that tie."""
    g = np.random.default_rng(seed)
    logits = g.normal(0, g.uniform(0.3, 6, (rows, 1)), (rows, VOCABULARY)).astype(np.float32)
    logits[:, ::17] = -np.inf
    logits[1, 5:9] = logits[1].max()
    return torch.from_numpy(logits)


def our_draw(policy: Policy, logits: Any, keys: Any) -> Any:
    """The tokens of our own decoding loop's step."""
    numbers = logits.numpy()
    signals = measure_unchecked(numbers, asked=policy.asked)
    state = first_state(policy, 0, len(numbers), signals.entropy)
    part = Part(policy, slice(None), lambda _: state, lambda *_: None, attention=False)
    return take_step(numbers, signals, [part], keys).tokens


@pytest.mark.parametrize("spec", POLICIES_HERE)
def test_a_plain_draw_from_what_is_left_is_the_draw_of_our_own_loop(host: Host, spec: str) -> None:
    logits = some_logits()
    before = logits.clone()
    host.apply(logits, rows_of(host, host.processor.to_str(), [plugin.custom_params(spec)] * len(logits)))
    left = logits.numpy().astype(np.float64)
    np.testing.assert_allclose(np.exp(left).sum(axis=-1), 1, rtol=1e-5)
    policy = make_policy(spec, generic_thresholds(VOCABULARY), VOCABULARY)
    for seed in range(20):
        keys = noise_keys([(seed, n) for n in range(len(left))], left)
        ids = np.broadcast_to(np.arange(VOCABULARY), left.shape)
        drawn = (left + keyed_gumbel(keys, ids)).argmax(axis=-1)
        assert drawn.tolist() == our_draw(policy, before, keys).tolist()


def test_rows_go_their_own_ways_and_those_that_ask_for_nothing_stay(host: Host) -> None:
    logits = some_logits(5)
    before = logits.clone()
    params = [None, {"entropix": "greedy"}, {"thinking_budget": 3}, {"entropix": "edt"}, {"entropix": "greedy"}]
    host.apply(logits, rows_of(host, plugin.PROCESSOR, params, rows=[1, 2, 3, 4]))
    assert torch.equal(logits[[0, 2]], before[[0, 2]])
    for row in (1, 4):
        assert logits[row].isfinite().sum() == 1
        assert before[row, logits[row].argmax()] == before[row].max()
    alone = before[3:4].clone()
    host.apply(alone, rows_of(host, plugin.PROCESSOR, [{"entropix": "edt"}]))
    assert torch.equal(logits[3], alone[0])
    assert alone.isfinite().sum() > 1


def test_every_row_of_a_request_is_shaped_where_drafts_bring_several(host: Host) -> None:
    logits = some_logits(6)
    single = logits.clone()
    params = [{"entropix": "edt"}, {"entropix": "greedy"}]
    host.apply(logits, rows_of(host, plugin.PROCESSOR, params), 3)
    host.apply(single, rows_of(host, plugin.PROCESSOR, [params[0]] * 3 + [params[1]] * 3))
    assert torch.equal(logits, single)


def test_many_rows_are_shaped_some_at_a_time_and_to_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = some_logits()
    at_once = logits.clone()
    info = rows_of(host, plugin.PROCESSOR, [{"entropix": "dynatemp"}] * len(logits))
    host.apply(at_once, info)
    monkeypatch.setattr(f"{OURS}.CHUNK", 2 * VOCABULARY)
    host.apply(logits, info)
    assert torch.equal(logits, at_once)


def test_half_precision_stays_half_precision(host: Host) -> None:
    logits = some_logits().bfloat16()
    host.apply(logits, rows_of(host, plugin.PROCESSOR, [{"entropix": "edt"}] * len(logits)))
    assert logits.dtype == torch.bfloat16
    np.testing.assert_allclose(logits.float().exp().sum(-1), 1, atol=0.02)


def test_thresholds_of_a_profile_come_with_the_request(host: Host) -> None:
    """Under those of another model the same logits are another regime."""
    logits, measured = some_logits(), some_logits()
    spec = f"entropix:{SINGLE}"
    asked = plugin.custom_params(spec, profile="Gemma-3-270M")
    assert asked["entropix_thresholds"]["entropy_low"] == named("Gemma-3-270M").thresholds.entropy_low
    host.apply(logits, rows_of(host, plugin.PROCESSOR, [{"entropix": spec}] * len(logits)))
    host.apply(measured, rows_of(host, plugin.PROCESSOR, [asked] * len(logits)))
    assert not torch.equal(logits, measured)


def test_the_class_travels_by_its_name_and_a_client_needs_no_sglang_to_write_it(host: Host) -> None:
    for string in (plugin.PROCESSOR, host.processor.to_str()):
        assert type(host.base.from_str(string)) is host.processor
    assert pickle.loads(pickle.dumps(host.processor)) is host.processor
    asked = plugin.request("edt")
    assert asked == {"custom_logit_processor": plugin.PROCESSOR, "custom_params": {"entropix": "edt"}, **NEUTRAL}


def test_a_request_that_cannot_be_kept_ends_with_the_reason_and_no_other(host: Host) -> None:
    logits = some_logits(3)
    before = logits.clone()
    requests = [Req() for _ in range(3)]
    specs = ["entropix", "greedy", "nonsense"]
    params: list[Any] = [
        {"entropix": spec, "__req__": weakref.proxy(req)} for spec, req in zip(specs, requests, strict=True)
    ]
    host.apply(logits, rows_of(host, plugin.PROCESSOR, params))
    assert requests[1].to_finish is None
    assert logits[1].isfinite().sum() == 1
    assert torch.equal(logits[[0, 2]], before[[0, 2]])
    for req, said in ((requests[0], "draws up to 3 candidates"), (requests[2], "there is no policy 'nonsense'")):
        ended = req.to_finish.to_json()
        assert (ended["type"], ended["status_code"]) == ("abort", 400)
        assert said in ended["message"]


class Counting(Greedy):
    """Remembers how many tokens it has seen."""

    name = "counting"

    def initial(self, rows: int, like: Any) -> Any:
        return {"seen": np.zeros(rows)}

    def decide(self, signals: Any, regime: Any, state: Any) -> Any:
        decisions, _ = super().decide(signals, regime, state)
        return decisions, {"seen": state["seen"] + 1}


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"entropix": "entropix"}, CapabilityError, "puts '...' into answers.*'entropix:candidates=1,inject='"),
        ({"entropix": "entropix:inject="}, CapabilityError, "draws up to 3 candidates for a token; inside SGLang"),
        ({"entropix": "mirostat"}, CapabilityError, "needs surprisal, and SGLang"),
        ({"entropix": "counting"}, CapabilityError, "'counting' remembers earlier tokens"),
        ({"entropix": "sample:control=low"}, CapabilityError, "remembers earlier tokens"),
        ({"entropix": "edt", "entropix_search": "vote:n=3"}, ParameterError, "entropix_search.*`entropix serve`"),
        ({"entropix_thresholds": {}}, ParameterError, "entropix=None is no policy"),
        ({"entropix": 3}, ParameterError, "entropix=3 is no policy"),
        ({"entropix": "edt:heat=1"}, ParameterError, "no parameter 'heat'"),
        ({"entropix": "edt", "entropix_thresholds": {"entropy_low": 1}}, ParameterError, "the numbers entropy_low, "),
        ({"entropix": "edt", "entropix_thresholds": 7}, ParameterError, "entropix_thresholds=7 must be an object"),
    ],
)
def test_what_a_logit_processor_cannot_do_is_refused(
    params: dict[str, Any], error: type[EntropixError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "counting", Counting)
    with pytest.raises(error, match=said):
        read(params, VOCABULARY)


def test_a_client_hears_of_it_before_it_asks() -> None:
    with pytest.raises(CapabilityError, match="inject="):
        plugin.request("entropix")
    with pytest.raises(ParameterError, match="no policy 'nonsense'"):
        plugin.request("nonsense", profile="Gemma-3-270M")
