"""A vocabulary whose pre-tokenizer recurses: long runs of one kind of character are refused, and the server goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from entropix.engines.llama_cpp.runs import LONGEST_RUN
from entropix.serve.process import Background

RUN = "A" * (LONGEST_RUN + 1)
SHORT = {"model": "smollm2", "max_tokens": 1}


def said(content: Any) -> dict[str, Any]:
    return {**SHORT, "messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", said(RUN)),
        ("chat/completions", said(f"Hi. {'中' * (LONGEST_RUN + 1)}")),
        ("chat/completions", said([{"type": "text", "text": "Hi"}, {"type": "text", "text": RUN}])),
        ("chat/completions", {**SHORT, "messages": [{"role": "system", "content": RUN}, *said("Hi")["messages"]]}),
        ("chat/completions", {**SHORT, "messages": [*said("Hi")["messages"], {"role": "assistant", "content": RUN}]}),
        ("completions", {**SHORT, "prompt": RUN}),
        ("completions", {**SHORT, "prompt": ["Hi", RUN]}),
    ],
)
def test_a_run_over_the_limit_is_a_400(
    real_server: Background, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_server.server.reader.model.tokenizer, "_recurses", True)
    answer = httpx.post(f"{real_server.url}/v1/{path}", json=body, timeout=60)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert f"takes {LONGEST_RUN}" in error["message"]
    assert "break the run up" in error["message"]
    after = httpx.post(f"{real_server.url}/v1/chat/completions", json=said("Hi"), timeout=60)
    assert after.status_code == 200, after.text
