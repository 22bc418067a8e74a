"""lm_eval over HTTP: its own client of completions gets the log-likelihoods that the plug-in computes."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("fastapi")
pytest.importorskip("tenacity", reason="the clients of lm_eval need it: pip install 'entropix-llm[dev]'")

from entropix import Model
from entropix.engines.base import Engine
from entropix.plugins.lm_eval.model import EntropixLM
from entropix.serve.process import Background
from entropix.serve.settings import Settings

PAIRS = [
    ("The capital of France is", " Paris."),
    ("The capital of France is", " London, of course 🙂."),
    ("Question: 2 + 2?\nAnswer:", " 4"),
    ("A", " b c d e f g h i j k"),
]


class Asked(NamedTuple):
    args: tuple[Any, ...]


def test_its_client_of_completions_gets_what_the_plug_in_computes(llama_engine: Engine) -> None:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model = Model(llama_engine)
    requests = [Asked(pair) for pair in PAIRS]
    wanted = EntropixLM(model).loglikelihood(requests, disable_tqdm=True)  # type: ignore[arg-type]
    with Background(model, Settings(port=0, places=4, kept=0, aliases=("smollm2",))) as server:
        client = LocalCompletionsAPI(
            base_url=f"{server.url}/v1/completions",
            model="smollm2",
            tokenizer_backend="remote",
            tokenized_requests=True,
            batch_size=2,
        )
        found = client.loglikelihood(requests, disable_tqdm=True)
    for (logprob, greedy), (theirs, most) in zip(wanted, found, strict=True):
        assert theirs == pytest.approx(logprob, abs=0.05)  # rows of a batch round by how many there are
        assert most == greedy
