"""The OpenAPI document is true: schemathesis asks what it allows, and what it does not."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from entropix.engines.scripted import ScriptedEngine, saying
from entropix.model import Model
from entropix.serve.app import Server
from entropix.serve.process import Background
from entropix.serve.settings import Settings

MODEL = Model(ScriptedEngine(saying("hello"), sequences=24, context=4096))
# positive data that is refused for what a schema cannot say (a model's name, a policy's parameters) is a 400 or 404
# what Ollama passes over is passed over, and in a message whatever is empty is nothing, of whatever type it is
LENIENT = ({"include-path-regex": "^/api/"}, {"include-path": "/tokenize"})
CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404"]}},
        "operations": [{**where, "checks": {"negative_data_rejection": {"enabled": False}}} for where in LENIENT],
    }
)
schema = schemathesis.openapi.from_dict(Server(MODEL, Settings()).inner.openapi(), config=CONFIG)


@pytest.fixture(scope="module")
def url() -> str:
    with Background(MODEL, Settings(port=0, places=8, max_tokens=64, queue=1000)) as running:
        yield running.url


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_the_document_says(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(base_url=url)


def test_the_document_is_served_and_names_every_endpoint(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/entropix/info", "/health", "/ready"} <= set(
        document["paths"]
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
