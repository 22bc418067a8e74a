"""The plug-in of `llm`, in the real `llm`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llm", reason="llm is not installed: pip install 'entropix-llm[dev]'")
import llm
from click.testing import CliRunner
from llm.cli import cli
from llm.plugins import load_plugins

from entropix.plugins import llm as plugin

NAME = "entropix/smollm2"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("llm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_USER_PATH", str(folder))
        load_plugins()
        yield folder
    plugin.loaded.cache_clear()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def logged() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("logs", "-n", "1", "--json").output)[0]
    return found


def test_its_models_are_listed_once_it_is_installed() -> None:
    assert f"Entropix: {NAME}" in run("models", "list").output


def test_a_prompt_is_answered_and_the_log_says_how_sure_it_is() -> None:
    done = run("-m", NAME, "-o", "effort", "low", "-o", "seed", "1", "-o", "max_tokens", "40", "What is 3 + 4?")
    assert done.exit_code == 0
    kept = logged()["response_json"]
    assert kept["answer"] in done.output
    assert 0 < kept["confidence"] <= 1
    assert "agree" in kept["confidence_source"]
    assert kept["shares"][kept["answer"]] == pytest.approx(kept["confidence"])
    assert logged()["input_tokens"] > 20
    assert logged()["output_tokens"] > 10


def test_a_seed_gives_the_same_text_and_a_conversation_goes_on_from_it() -> None:
    first, again = (run("-m", NAME, "-o", "seed", "7", "-o", "max_tokens", "12", "Name a river.").output for _ in "ab")
    assert first == again
    run("-c", "-o", "max_tokens", "12", "Another one?")
    assert logged()["input_tokens"] > 30 + 12


def test_a_schema_is_kept() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["n"],
        "additionalProperties": False,
    }
    done = run("-m", NAME, "-o", "policy", "greedy", "--schema", json.dumps(schema), "How many legs has a spider?")
    assert set(json.loads(done.output)) == {"n"}


def test_a_schema_in_llms_short_form_means_these_fields_and_no_others() -> None:
    done = run("-m", NAME, "-o", "policy", "greedy", "-o", "max_tokens", "60", "--schema", "n int", "Legs of a spider?")
    assert set(json.loads(done.output)) == {"n"}


def test_only_objects_that_leave_it_open_are_closed() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shut = {**inner, "additionalProperties": False}
    assert plugin.closed(inner) == shut
    assert plugin.closed({"type": "array", "items": inner}) == {"type": "array", "items": shut}
    several = {"type": "object", "properties": {"b": inner}, "allOf": [inner]}
    assert plugin.closed(several) == {**several, "properties": {"b": shut}}
    for free in ({**inner, "additionalProperties": True}, {"type": "object"}, {"type": "string"}):
        assert plugin.closed(free) == free


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "policy", "nosuch"], "there is no policy 'nosuch'"),
        (["-o", "effort", "harder"], "'none', 'low', 'medium' or 'high'"),
        (["-o", "temperature", "9"], "out of range"),
        (["-o", "search", "vote:n=9999"], "out of range"),
    ],
)
def test_a_mistake_is_named(options: list[str], message: str) -> None:
    done = run("-m", NAME, *options, "Hi")
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert message in done.output


def test_tasks_of_an_event_loop_are_answered_as_one_batch() -> None:
    model = llm.get_async_model(NAME)

    async def ask(n: int) -> str:
        return str(await model.prompt(f"Count to {n}.", seed=n, max_tokens=8).text())

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(ask, range(2, 6)))

    found = asyncio.run(all_of_them())
    assert len(found) == 4
    assert all(found)


def test_text_streams() -> None:
    pieces = list(llm.get_model(NAME).prompt("Name a river. 🏞", seed=1, max_tokens=10))
    assert len(pieces) > 3


def test_further_models_are_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugin.VARIABLE, "a/b, /models/my model.gguf ,")
    assert plugin.names()[-2:] == ["a/b", "/models/my model.gguf"]
    assert plugin.LlmModel("/models/my model.gguf").model_id == "entropix/my model"
