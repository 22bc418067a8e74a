"""What became of a request → JSON in OpenAI's shape, whole or in chunks, with ours in a sibling object `entropix`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from entropix.decoding import Job
from entropix.engines import Tokenizer
from entropix.model.afterwards import Readings
from entropix.serve.afterwards import options_record
from entropix.serve.errors import ApiError
from entropix.serve.shapes import Shape
from entropix.serve.ticket import MailItem
from entropix.trace.records import result_record, step_record, to_json
from entropix.types import Result, Step

if TYPE_CHECKING:
    from entropix.serve.asking import Asked

FINISH = {
    "end": "stop",
    "stop": "stop",
    "length": "length",
    "context": "length",
    "constraint": "length",
    "cancelled": "length",
}
"""Our finish reasons in OpenAI's terms. An answer is cancelled, and still sent, only by its time limit; of one that its
constraint let not go on, as of one cut off, clients must not take the text for whole."""

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def shown_steps(steps: Sequence[Step], tokenizer: Tokenizer, finish_reason: str) -> list[Step]:
    """The steps that log-probabilities are stated of: without the token that ends the answer, and without those of
    which a stop text has left nothing."""
    shown = [step for step in steps if step.token not in tokenizer.end_tokens]
    while finish_reason == "stop" and shown and not shown[-1].text:
        shown.pop()
    return shown


def _vote(result: Result) -> dict[str, Any]:
    """The vote of a choice, where one was held."""
    search = result.search
    if search is None or not search.ballots:
        return {}
    found = {
        "answer": search.answer,
        "confidence": result.confidence,
        "confidence_source": result.confidence_source,
        "shares": search.shares,
        "agreeing": search.agreeing,
        "ballots": search.ballots,
    }
    return {"vote": found}


class Writer:
    """Writes the answer to one request."""

    stream_type = "text/event-stream"
    keep_alive = KEEP_ALIVE
    """Sent when nothing has come for a while."""

    def __init__(self, shape: Shape, asked: Asked) -> None:
        self.shape, self.asked = shape, asked
        self.tokenizer = asked.model.tokenizer
        self.head = {
            "id": f"{shape.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": asked.model.info.name,
            "system_fingerprint": f"fp_{asked.model.info.fingerprint}",
        }
        self.jobs: dict[int, Job] = {}
        self.offsets = [0] * len(asked.requests)
        self.head_of_chunk = ""

    def result(self, job: Job) -> Result:
        result = self.asked.model.result(job)
        return replace(result, notes=(*result.notes, *self.asked.notes))

    # whole

    def whole(self) -> bytes:
        """The answer without streaming, once all `jobs` have ended."""
        top, recorded = self.asked.top, self.asked.recorded
        choices, ours = [], []
        for index, job in sorted(self.jobs.items()):
            result = self.result(job)
            logprobs = None
            if top is not None:
                shown = self.shown(result.steps, result.finish_reason)
                logprobs = self.shape.logprobs(shown, top, self.tokenizer, 0)
            choices.append(self.choice(index, result, logprobs))
            steps = {} if recorded is None else {"steps": self.records(result.steps)}
            begun = {} if self.asked.prefix is None else {"prefix": self.asked.prefix}
            ours.append({"index": index, **begun, **steps, **self.ours(index, result)})
        answer = {**self.head, "object": self.shape.kind, "choices": choices, "usage": self.usage()}
        return to_json({**answer, "entropix": {"choices": ours}}).encode()

    def shown(self, steps: Sequence[Step], finish_reason: str) -> list[Step]:
        """The steps of which log-probabilities are stated."""
        return shown_steps(steps, self.tokenizer, finish_reason)

    def choice(self, index: int, result: Result, logprobs: Any) -> dict[str, Any]:
        """One whole answer as the endpoint writes it."""
        return self.shape.choice(index, result.text, logprobs, FINISH[result.finish_reason])

    def finish(self, index: int, result: Result) -> str:
        """The finish reason of a choice whose steps have been written."""
        return FINISH[result.finish_reason]

    def further(self, index: int, result: Result) -> dict[str, Any]:
        """What else of ours belongs to a choice."""
        return {}

    def ours(self, index: int, result: Result) -> dict[str, Any]:
        """What `entropix` says of a choice."""
        said = self.jobs[index].readings or Readings()
        options = {} if said.options is None else {"options": options_record(said.options)}
        vote = _vote(result)
        if vote and said.assessed is not None:
            vote["vote"]["assessed"] = said.assessed.by_answer
        return {**vote, **options, **self.further(index, result), "result": self._told(self.answer(index, result))}

    def answer(self, index: int, result: Result) -> Result:
        """The result as a choice has it: with places in the text that is sent."""
        return result

    def _told(self, result: Result) -> dict[str, Any]:
        """A result's record, without its text, which stands in the choice; of a search with its branches' steps only
        if steps are asked for."""
        record = result_record(result)
        del record["text"]
        if self.asked.recorded is None and record.get("search"):
            for branch in record["search"]["branches"]:
                branch["steps"] = []
        return record

    def records(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        most = self.asked.recorded or 0
        return [step_record(s if len(s.leading) <= most else replace(s, leading=s.leading[:most])) for s in steps]

    def usage(self) -> dict[str, Any]:
        """Tokens of the prompts, each once, and of the choices that were returned; what else was computed stands in
        the ledgers."""
        n = len(self.asked.requests) // self.asked.prompts
        first = [self.jobs[i] for i in range(0, len(self.asked.requests), n) if i in self.jobs]
        prompt = sum(len(request.tokens) + len(request.forced) for request in self.asked.requests[::n])
        said = (max(len(job.tokens) - len(job.request.forced), 0) for job in self.jobs.values())
        completion = 0 if self.asked.silent else sum(said)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(job.ledger.shared for job in first)},
        }

    def refused(self, error: ApiError) -> Response:
        """What is sent instead of an answer."""
        return error.response()

    def failed(self, error: ApiError) -> bytes:
        """What ends a stream that fails."""
        return b"data: " + error.body + b"\n\n"

    # in chunks: texts that do not change are made once, as this runs once per token

    def opening(self, usage: bool) -> bytes:
        """The first chunk of every choice. usage: every chunk has the member `usage`."""
        head = {**self.head, "object": self.shape.chunk_kind, **({"usage": None} if usage else {})}
        self.head_of_chunk = "data: " + json.dumps(head)[:-1] + ', "choices": ['
        begin = self.shape.begin()
        if begin is None:
            return b""
        parts = json.dumps(begin)[1:-1]
        ours = "" if self.asked.prefix is None else f', "entropix": {json.dumps({"prefix": self.asked.prefix})}'
        return "".join(
            f'{self.head_of_chunk}{{"index": {i}, {parts}, "logprobs": null, "finish_reason": null}}]{ours}}}\n\n'
            for i in range(len(self.asked.requests))
        ).encode()

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        """What became certain, as server-sent events."""
        out: list[str] = []
        for item in items:
            if item.steps:
                self._chunk(out, item)
            if item.progress is not None:
                out.append(self.standing(item))
            if item.job is not None:
                out.append(self.ending(item.choice, item.job))
        return "".join(out).encode()

    def standing(self, item: MailItem) -> str:
        """A chunk that says how a search stands."""
        ours = to_json({"index": item.choice, "progress": item.progress})
        return (
            f'{self.head_of_chunk}{{"index": {item.choice}, {self.shape.last()}, "logprobs": null, '
            f'"finish_reason": null}}], "entropix": {ours}}}\n\n'
        )

    def ending(self, choice: int, job: Job) -> str:
        """The chunk with which a choice ends."""
        self.jobs[choice] = job
        result = self.result(job)
        ours = to_json({"index": choice, **self.ours(choice, result)})
        return (
            f'{self.head_of_chunk}{{"index": {choice}, {self.shape.last()}, "logprobs": null, '
            f'"finish_reason": "{self.finish(choice, result)}"}}], "entropix": {ours}}}\n\n'
        )

    def _chunk(self, out: list[str], item: MailItem) -> None:
        text = "".join([step.text for step in item.steps])
        top, recorded = self.asked.top, self.asked.recorded
        if not text and top is None and recorded is None:
            return
        logprobs, ours = "null", ""
        if top is not None:
            shown = self.shown(item.steps, item.job.finish_reason if item.job is not None else "")
            if not (shown or text or recorded is not None):
                return
            logprobs = to_json(self.shape.logprobs(shown, top, self.tokenizer, self.offsets[item.choice]))
            self.offsets[item.choice] += len(text)
        if recorded is not None:
            ours = f', "entropix": {to_json({"index": item.choice, "steps": self.records(item.steps)})}'
        out.append(
            f'{self.head_of_chunk}{{"index": {item.choice}, {self.shape.delta(text)}, "logprobs": {logprobs}, '
            f'"finish_reason": null}}]{ours}}}\n\n'
        )

    def closing(self, usage: bool) -> bytes:
        """What ends the stream."""
        if not usage:
            return DONE
        head = {**self.head, "object": self.shape.chunk_kind, "choices": [], "usage": self.usage()}
        return f"data: {json.dumps(head)}\n\n".encode() + DONE
