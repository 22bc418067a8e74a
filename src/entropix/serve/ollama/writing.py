"""An answer → Ollama's objects, one per line of a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from entropix.decoding import Job
from entropix.serve.asking import Asked
from entropix.serve.errors import ApiError, body_of, framed, response_of
from entropix.serve.shapes import ChatShape
from entropix.serve.ticket import MailItem
from entropix.serve.tools.speech import Fragment, WrittenCall
from entropix.serve.tools.writing import SpokenWriter
from entropix.types import Result


class OllamaWriter(SpokenWriter):
    """Writes the answer to one request. chats: the text stands in a message, else in `response`."""

    stream_type = "application/x-ndjson"
    keep_alive = b""

    def __init__(self, asked: Asked, name: str, *, chats: bool) -> None:
        super().__init__(ChatShape(), asked)
        self.name, self.chats = name, chats
        self._began = time.perf_counter()

    def whole(self) -> bytes:
        job = self.jobs[0]
        result = self.result(job)
        speech = self.read(0, result)
        return self._line(speech.content, speech.reasoning, speech.calls, self._done(job, result))

    def opening(self, usage: bool) -> bytes:
        return b""

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        out = b""
        for item in items:
            speech = self.speeches[0]
            known = sum(call.whole for call in speech.calls)
            parts = speech.feed("".join(self.spelled(item.steps)))
            parts += speech.finish() if item.job is not None else []
            calls = [call for call in speech.calls if call.whole][known:]
            content, thinking = self._text(parts, "content"), self._text(parts, "reasoning")
            if content or thinking or calls:
                out += self._line(content, thinking, calls, {"done": False})
            if item.job is not None:
                self.jobs[0] = item.job
                out += self._line("", "", [], self._done(item.job, self.result(item.job)))
        return out

    def closing(self, usage: bool) -> bytes:
        return b""

    def refused(self, error: ApiError) -> Response:
        return response_of(error, "/api/")

    def failed(self, error: ApiError) -> bytes:
        return framed(body_of(error, "/api/"), "/api/")

    @staticmethod
    def _text(parts: Sequence[Fragment], kind: str) -> str:
        return "".join(part.text for part in parts if part.kind == kind)

    def _line(self, content: str, thinking: str, calls: Sequence[WrittenCall], rest: dict[str, Any]) -> bytes:
        said: dict[str, Any] = {"role": "assistant", "content": content}
        if thinking:
            said["thinking"] = thinking
        if calls:
            said["tool_calls"] = [{"id": c.id, "function": {"name": c.name, "arguments": c.given}} for c in calls]
        found = (
            {"message": said} if self.chats else {"response": content, **({"thinking": thinking} if thinking else {})}
        )
        made = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {"model": self.name, "created_at": made, **found, **rest}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def _done(self, job: Job, result: Result) -> dict[str, Any]:
        took = int((time.perf_counter() - self._began) * 1e9)
        used, spent = self.usage(), int(job.seconds * 1e9)
        return {
            "done": True,
            "done_reason": "length" if self.finish(0, result) == "length" else "stop",
            "total_duration": took,
            "load_duration": 0,
            "prompt_eval_count": used["prompt_tokens"],
            "prompt_eval_duration": max(took - spent, 0),
            "eval_count": used["completion_tokens"],
            "eval_duration": spent,
            "entropix": self.ours(0, result),
        }
