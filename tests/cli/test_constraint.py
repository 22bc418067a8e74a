"""Constraints on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entropix.engines.scripted import hashed
from entropix.trace import read_trace

SCHEMA = '{"type": "array", "items": {"enum": ["ä", 7]}, "maxItems": 3}'


@pytest.fixture
def unsure(cli: Any) -> Any:
    cli.script = hashed(sharpness=2.0)
    return cli


def test_a_schema_is_a_text_or_a_file_and_stands_in_the_trace(unsure: Any, tmp_path: Path) -> None:
    file, trace = tmp_path / "s.json", tmp_path / "t.jsonl"
    file.write_text(SCHEMA, encoding="utf-8")
    first = unsure("generate", "-q", "--seed", "1", "--json-schema", SCHEMA, "hi")
    second = unsure("generate", "-q", "--seed", "1", "--json-schema", str(file), "--trace", str(trace), "hi")
    assert first.code == second.code == 0
    assert first.out == second.out
    assert set(json.loads(first.out)) <= {"ä", 7}
    header = read_trace(trace).header
    assert header["constraint"]["kind"] == "json_schema"
    assert json.loads(header["constraint"]["text"]) == json.loads(SCHEMA)


def test_a_regex_and_a_grammar_are_kept(unsure: Any, tmp_path: Path) -> None:
    assert unsure("generate", "-q", "--regex", "yes|no", "hi").out in ("yes\n", "no\n")
    assert unsure("generate", "-q", "--grammar", 'start: "yes" | "no"', "hi").out in ("yes\n", "no\n")
    (tmp_path / "g.lark").write_text('start: "maybe"\n')
    assert unsure("generate", "-q", "--grammar", str(tmp_path / "g.lark"), "hi").out == "maybe\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json-schema", "missing.json"), "cannot read 'missing.json': no such file or directory; a schema's text"),
        (("--grammar", "begin: /a/"), "a grammar's text has a rule start:"),
        (("--json-schema", '{"type": '), "not JSON"),
        (("--json-schema", '{"uniqueItems": true}'), "uniqueItems"),
        (("--regex", "("), "unclosed group"),
        (("--regex", "a", "--grammar", 'start: "a"'), "not allowed with"),
    ],
)
def test_mistakes_get_one_message(unsure: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = unsure("generate", *arguments, "hi")
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
