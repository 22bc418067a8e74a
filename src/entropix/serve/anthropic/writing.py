"""An answer → a message of Anthropic's, or the events of its stream."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from entropix.decoding import Job
from entropix.serve.asking import Asked
from entropix.serve.errors import ApiError, body_of, framed, response_of
from entropix.serve.shapes import ChatShape
from entropix.serve.ticket import MailItem
from entropix.serve.tools.speech import Fragment
from entropix.serve.tools.writing import SpokenWriter
from entropix.trace.records import to_json
from entropix.types import Result

PATH = "/v1/messages"
REASONS = {"tool_calls": "tool_use", "length": "max_tokens", "stop": "end_turn"}
"""OpenAI's finish reasons → Anthropic's."""
DELTAS = {"thinking": ("thinking_delta", "thinking"), "text": ("text_delta", "text")}
"""Kind of a block → the type of its deltas, and the member that grows."""


class MessageWriter(SpokenWriter):
    """Writes the answer to one request of the Messages API. name: what the model was called."""

    def __init__(self, asked: Asked, name: str) -> None:
        super().__init__(ChatShape(), asked)
        self.name, self.id = name, f"msg_{secrets.token_hex(12)}"
        self._open = ""
        """The kind of the block that is being written, "" for none."""
        self._index = -1

    # whole

    def whole(self) -> bytes:
        job = self.jobs[0]
        result = self.result(job)
        speech = self.read(0, result)
        content: list[dict[str, Any]] = []
        if speech.reasoning:
            content.append(_empty("thinking") | {"thinking": speech.reasoning})
        if speech.content or not speech.calls:
            content.append({"type": "text", "text": speech.content})
        content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.given} for c in speech.calls]
        ended = {"content": content, **self._ended(job, result), "usage": self._used(), **self._ours(result)}
        return to_json({**self._message(), **ended}).encode()

    def _message(self) -> dict[str, Any]:
        head = {"id": self.id, "type": "message", "role": "assistant", "model": self.name, "content": []}
        return {**head, "stop_reason": None, "stop_sequence": None, "usage": self._used()}

    def _ended(self, job: Job, result: Result) -> dict[str, Any]:
        """Why the answer has ended."""
        reason, text = REASONS[self.finish(0, result)], None
        if result.finish_reason == "context":
            reason = "model_context_window_exceeded"
        elif result.finish_reason == "stop" and reason == "end_turn":
            reason, text = "stop_sequence", job.stream.stopped_by
        return {"stop_reason": reason, "stop_sequence": text}

    def _used(self) -> dict[str, int]:
        """Tokens; those of the prompt that a kept prefix saved are counted apart."""
        used = self.usage()
        cached = used["prompt_tokens_details"]["cached_tokens"]
        return {
            "input_tokens": used["prompt_tokens"] - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": used["completion_tokens"],
        }

    def _ours(self, result: Result) -> dict[str, Any]:
        steps = {} if self.asked.recorded is None else {"steps": self.records(result.steps)}
        return {"entropix": {"choices": [{"index": 0, **steps, **self.ours(0, result)}]}}

    # events

    def opening(self, usage: bool) -> bytes:
        return (_event("message_start", message=self._message()) + _event("ping")).encode()

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        out: list[str] = []
        for item in items:
            speech = self.speeches[0]
            parts = speech.feed("".join(self.spelled(item.steps)))
            parts += speech.finish() if item.job is not None else []
            for part in parts:
                self._write(out, part)
            if item.job is not None:
                self._end(out, item.job)
        return "".join(out).encode()

    def closing(self, usage: bool) -> bytes:
        return b""

    def refused(self, error: ApiError) -> Response:
        return response_of(error, PATH)

    def failed(self, error: ApiError) -> bytes:
        return framed(body_of(error, PATH), PATH)

    def _write(self, out: list[str], part: Fragment) -> None:
        if part.kind == "call":
            call = self.speeches[0].calls[part.call]
            self._begin(out, "tool_use", {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
            return
        if part.kind == "arguments":
            delta = {"type": "input_json_delta", "partial_json": part.text}
        else:
            kind = "thinking" if part.kind == "reasoning" else "text"
            if self._open != kind:
                self._begin(out, kind, _empty(kind))
            name, member = DELTAS[kind]
            delta = {"type": name, member: part.text}
        out.append(_event("content_block_delta", index=self._index, delta=delta))

    def _begin(self, out: list[str], kind: str, block: dict[str, Any]) -> None:
        self._close(out)
        self._open = kind
        self._index += 1
        out.append(_event("content_block_start", index=self._index, content_block=block))

    def _close(self, out: list[str]) -> None:
        """End the block that is open, if one is."""
        if self._open:
            out.append(_event("content_block_stop", index=self._index))
        self._open = ""

    def _end(self, out: list[str], job: Job) -> None:
        self.jobs[0] = job
        result = self.result(job)
        if self._index < 0:  # an answer without a word is an empty text
            self._begin(out, "text", _empty("text"))
        self._close(out)
        ended = self._ended(job, result)
        out.append(_event("message_delta", delta=ended, usage=self._used(), **self._ours(result)))
        out.append(_event("message_stop"))


def _empty(kind: str) -> dict[str, Any]:
    """A block of text or thinking in which nothing stands. A signature is of Anthropic's own service."""
    return {"type": "thinking", "thinking": "", "signature": ""} if kind == "thinking" else {"type": kind, "text": ""}


def _event(kind: str, **members: Any) -> str:
    return f"event: {kind}\ndata: {to_json({'type': kind, **members})}\n\n"
