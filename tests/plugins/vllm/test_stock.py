"""Requests that do not ask for Entropix get what vLLM alone gives them, also beside those that do."""

from __future__ import annotations

import pytest

from .conftest import GREEDY, SEEDED, SHAPED, key
from .server import Server
from .traffic import PROMPTS, Answer, Ask, one_by_one, together

OURS = [
    Ask(prompt, {"entropix": policy}, tokens=32, more={"seed": seed})
    for seed, (prompt, policy) in enumerate(
        zip(PROMPTS * 2, ("entropix", "sample", "edt:temperature=1.2", "top-n-sigma", "greedy") * 4, strict=False)
    )
]


def shape(what: Ask) -> str:
    given = {**what.more, **what.more.get("extra_body", {})}
    return "-".join(name for name in given if name not in ("temperature", "logprobs", "extra_body"))


def test_alone_they_equal_vllm_without_us(server: Server, stock: dict[str, Answer]) -> None:
    asks = [*GREEDY, *SEEDED]
    assert one_by_one(server, asks) == [stock[key(what)] for what in asks]


def test_in_a_batch_with_ours_they_equal_vllm_without_us(server: Server, stock: dict[str, Answer]) -> None:
    asks = [*GREEDY, *SEEDED, *SHAPED]
    mixed = [what for i, stock_one in enumerate(asks) for what in (stock_one, OURS[i % len(OURS)])]
    answers = dict(zip(map(key, mixed), together(server, mixed), strict=True))
    for what in asks:
        got, expected = answers[key(what)], stock[key(what)]
        assert got.tokens == expected.tokens
        assert got.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


@pytest.mark.parametrize("what", SHAPED, ids=shape)
def test_the_greedy_policy_is_temperature_0_whatever_else_shapes_the_answer(
    server: Server, stock: dict[str, Answer], what: Ask
) -> None:
    """Penalties, biases, masks and least lengths act before the policy looks, also where vLLM applies them later."""
    hot = {**what.more, "temperature": 1.7, "seed": 5}
    ours = one_by_one(server, [Ask(what.prompt, {"entropix": "greedy"}, what.tokens, more=hot)])[0]
    expected = stock[key(what)]
    assert ours.tokens == expected.tokens
    assert ours.text == expected.text


def test_logprobs_stay_the_models_own(server: Server, stock: dict[str, Answer]) -> None:
    """What the answer reports is before any decision: the same as for vLLM's own greedy choice of the same tokens."""
    cold = [what for what in GREEDY if what.more.get("logprobs")]
    ours = [
        Ask(what.prompt, {"entropix": "greedy"}, what.tokens, more={**what.more, "temperature": 1.0}) for what in cold
    ]
    for what, got in zip(cold, one_by_one(server, ours), strict=True):
        assert got.logprobs
        assert got.logprobs == pytest.approx(stock[key(what)].logprobs, abs=1e-3)
