"""An answer → a response object, or the events of its stream."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropix.decoding import Job
from entropix.serve.asking import Asked
from entropix.serve.responses.schema import ResponseRequest
from entropix.serve.responses.tools import named
from entropix.serve.shapes import ChatShape
from entropix.serve.ticket import MailItem
from entropix.serve.tools.speech import Fragment, Speech, WrittenCall
from entropix.serve.tools.writing import SpokenWriter
from entropix.trace.records import to_json
from entropix.types import Result

Remember = Callable[[str, dict[str, Any], dict[str, Any]], None]
"""Called with the id, the assistant's message as the chat API has it, and the response."""


@dataclass
class Open:
    """The item that is being written."""

    kind: str
    index: int
    item: dict[str, Any]
    text: list[str] = field(default_factory=list)


class ResponseWriter(SpokenWriter):
    """Writes the answer to one request of the Responses API. groups: as in `Offer`. remember: called with an
    answer that has ended."""

    def __init__(
        self, asked: Asked, request: ResponseRequest, groups: Mapping[str, tuple[str, str]], remember: Remember
    ) -> None:
        super().__init__(ChatShape(), asked)
        self.request, self.groups, self.remember = request, groups, remember
        self.id = f"resp_{secrets.token_hex(24)}"
        self.output: list[dict[str, Any]] = []
        self._number = 0
        self._open: Open | None = None
        self._logprobs: list[Any] = []

    # whole

    def whole(self) -> bytes:
        job = self.jobs[0]
        result = self.result(job)
        out: list[str] = []
        logprobs, _ = self.reports(MailItem(0, list(result.steps), job))
        self._logprobs = logprobs["content"] if logprobs else []
        speech = self.read(0, result)
        self._write(out, self._parts(speech))
        self._end(out, whole=True)
        return to_json(self._completed(job, result)).encode()

    @staticmethod
    def _parts(speech: Speech) -> list[Fragment]:
        """A whole answer in the order in which it is written."""
        parts = [Fragment("reasoning", speech.reasoning)] if speech.reasoning else []
        parts += [Fragment("content", speech.content)] if speech.content else []
        for n, call in enumerate(speech.calls):
            parts += [Fragment("call", call.name, n), Fragment("arguments", call.arguments, n)]
        return parts

    def _completed(self, job: Job, result: Result) -> dict[str, Any]:
        cut = self.finish(0, result) == "length"
        if cut and self.output:
            self.output[-1]["status"] = "incomplete"
        answer = self._record("incomplete" if cut else "completed")
        answer["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        used = self.usage()
        answer["usage"] = {
            "input_tokens": used["prompt_tokens"],
            "input_tokens_details": {**used["prompt_tokens_details"], "cache_write_tokens": 0},
            "output_tokens": used["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["total_tokens"],
        }
        steps = {} if self.asked.recorded is None else {"steps": self.records(result.steps)}
        answer["entropix"] = {"choices": [{"index": 0, **steps, **self.ours(0, result)}]}
        self.remember(self.id, {k: v for k, v in self.said(0).items() if v is not None}, answer)
        return answer

    def _record(self, status: str) -> dict[str, Any]:
        asked = self.request
        effort = asked.reasoning.effort if asked.reasoning else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.head["created"],
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": {},
            "model": self.head["model"],
            "output": list(self.output),
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": asked.previous_response_id,
            "reasoning": {"effort": effort, "summary": None},
            "store": asked.store is not False,
            "temperature": asked.temperature,
            "text": {"format": (asked.text and asked.text.format) or {"type": "text"}},
            "tool_choice": asked.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in asked.tools or ()],
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    # events

    def opening(self, usage: bool) -> bytes:
        out: list[str] = []
        for kind in ("created", "in_progress"):
            self._event(out, f"response.{kind}", response=self._record("in_progress"))
        return "".join(out).encode()

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        out: list[str] = []
        for item in items:
            speech = self.speeches[0]
            logprobs, _ = self.reports(item)
            self._logprobs = logprobs["content"] if logprobs else []
            parts = speech.feed("".join(self.spelled(item.steps)))
            parts += speech.finish() if item.job is not None else []
            self._write(out, parts)
            if item.job is not None:
                self.jobs[0] = item.job
                result = self.result(item.job)
                whole = self.finish(0, result) != "length"
                self._end(out, whole=whole)
                answer = self._completed(item.job, result)
                self._event(out, f"response.{answer['status']}", response=answer)
        return "".join(out).encode()

    def closing(self, usage: bool) -> bytes:
        return b""

    def _event(self, out: list[str], kind: str, **members: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        out.append(f"event: {kind}\ndata: {to_json(event)}\n\n")

    def _write(self, out: list[str], parts: Sequence[Fragment]) -> None:
        for part in parts:
            if part.kind == "call":
                self._close(out, whole=True)
                self._begin_call(out, self.speeches[0].calls[part.call])
                continue
            kind = {"reasoning": "reasoning", "content": "message", "arguments": "function_call"}[part.kind]
            if self._open is None or self._open.kind != kind:
                self._close(out, whole=True)
                self._begin(out, kind)
            assert self._open is not None
            self._open.text.append(part.text)
            place = {"item_id": self._open.item["id"], "output_index": self._open.index}
            if kind == "function_call":
                self._event(out, "response.function_call_arguments.delta", **place, delta=part.text)
            elif kind == "reasoning":
                self._event(out, "response.reasoning_text.delta", **place, content_index=0, delta=part.text)
            else:
                shown, self._logprobs = self._logprobs, []
                self._event(
                    out, "response.output_text.delta", **place, content_index=0, delta=part.text, logprobs=shown
                )
                self._open.item["logprobs"] += shown

    def _begin(self, out: list[str], kind: str) -> None:
        if kind == "reasoning":
            item: dict[str, Any] = {"id": _new("rs"), "type": "reasoning", "summary": [], "content": []}
            self._add(out, kind, item)
            return
        item = {"id": _new("msg"), "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self._add(out, kind, item)
        assert self._open is not None
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        place = {"item_id": item["id"], "output_index": self._open.index, "content_index": 0}
        self._event(out, "response.content_part.added", **place, part=part)
        item["logprobs"] = []

    def _begin_call(self, out: list[str], call: WrittenCall) -> None:
        item = {"id": _new("fc"), "type": "function_call", "call_id": call.id, "arguments": "", "status": "in_progress"}
        self._add(out, "function_call", {**item, **named(call.name, self.groups)})

    def _add(self, out: list[str], kind: str, item: dict[str, Any]) -> None:
        self._open = Open(kind, len(self.output), item)
        self._event(out, "response.output_item.added", output_index=len(self.output), item=dict(item))

    def _end(self, out: list[str], *, whole: bool) -> None:
        """The answer has ended; one without a word is an empty message."""
        if self._open is None and not self.output:
            self._begin(out, "message")
        self._close(out, whole=whole)

    def _close(self, out: list[str], *, whole: bool) -> None:
        """End the item that is open, if one is."""
        opened = self._open
        if opened is None:
            return
        item, text, self._open = opened.item, "".join(opened.text), None
        place = {"item_id": item["id"], "output_index": opened.index}
        if opened.kind == "function_call":
            item["arguments"] = text
            done = {"arguments": text, "name": item["name"]}
            self._event(out, "response.function_call_arguments.done", **place, **done)
        elif opened.kind == "reasoning":
            item["content"] = [{"type": "reasoning_text", "text": text}]
            self._event(out, "response.reasoning_text.done", **place, content_index=0, text=text)
        else:
            shown = item.pop("logprobs")
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": shown}
            item["content"] = [part]
            self._event(out, "response.output_text.done", **place, content_index=0, text=text, logprobs=shown)
            self._event(out, "response.content_part.done", **place, content_index=0, part=part)
        if opened.kind != "reasoning":
            item["status"] = "completed" if whole else "incomplete"
        self.output.append(item)
        self._event(out, "response.output_item.done", output_index=opened.index, item=item)


def _new(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"
