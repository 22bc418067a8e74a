"""What became of a request → JSON in OpenAI's shape, whole or in chunks, with ours in a sibling object `entropix`."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from entropix.decoding import Job
from entropix.engines import Tokenizer
from entropix.serve.asking import Asked
from entropix.serve.ticket import MailItem
from entropix.trace.records import result_record, step_record, to_json
from entropix.types import Candidate, Result, Step

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

IMPOSSIBLE = -9999.0
"""The log-probability that OpenAI's API states where there is none: of injected tokens, and of probability 0."""

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class Shape(Protocol):
    """How one endpoint writes answers."""

    kind: str
    chunk_kind: str
    prefix: str

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]: ...

    def begin(self) -> dict[str, Any] | None:
        """The part of a choice that its first chunk consists of; None for no such chunk."""
        ...

    def delta(self, text: str) -> str:
        """The JSON members that hold a chunk's text."""
        ...

    def last(self) -> str:
        """The same for a chunk without text."""
        ...

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any: ...


class ChatShape:
    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def begin(self) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def delta(self, text: str) -> str:
        return f'"delta": {{"content": {json.dumps(text)}}}'

    def last(self) -> str:
        return '"delta": {}'

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any:
        def entry(token: int, label: str, logprob: float) -> dict[str, Any]:
            return {"token": label, "logprob": logprob, "bytes": list(tokenizer.piece(token))}

        content = [
            {
                **entry(step.token, step.label, _finite(step.logprob)),
                "top_logprobs": [entry(c.token, c.label, _logprob(c)) for c in step.leading[:top]],
            }
            for step in steps
        ]
        return {"content": content, "refusal": None}


class CompletionShape:
    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def choice(self, index: int, text: str, logprobs: Any, finish: str) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def begin(self) -> dict[str, Any] | None:
        return None

    def delta(self, text: str) -> str:
        return f'"text": {json.dumps(text)}'

    def last(self) -> str:
        return '"text": ""'

    def logprobs(self, steps: Sequence[Step], top: int, tokenizer: Tokenizer, offset: int) -> Any:
        offsets = []
        for step in steps:
            offsets.append(offset)
            offset += len(step.text)
        return {
            "tokens": [step.label for step in steps],
            "token_logprobs": [_finite(step.logprob) for step in steps],
            # the token that was taken is always there, so there can be one more than were asked for
            "top_logprobs": [
                {c.label: _logprob(c) for c in step.leading[:top]} | {step.label: _finite(step.logprob)}
                for step in steps
            ],
            "text_offset": offsets,
        }


def _shown(steps: Sequence[Step], tokenizer: Tokenizer, finish_reason: str) -> list[Step]:
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


def _finite(logprob: float | None) -> float:
    return IMPOSSIBLE if logprob is None or not math.isfinite(logprob) else logprob


def _logprob(candidate: Candidate) -> float:
    return math.log(candidate.before) if candidate.before > 0 else IMPOSSIBLE


class Writer:
    """Writes the answer to one request."""

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
        self._offsets = [0] * len(asked.requests)
        self._opening = ""

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
                shown = _shown(result.steps, self.tokenizer, result.finish_reason)
                logprobs = self.shape.logprobs(shown, top, self.tokenizer, 0)
            choices.append(self.shape.choice(index, result.text, logprobs, FINISH[result.finish_reason]))
            steps = {} if recorded is None else {"steps": self._steps(result.steps)}
            begun = {} if self.asked.prefix is None else {"prefix": self.asked.prefix}
            ours.append({"index": index, **begun, **steps, **_vote(result), "result": self._told(result)})
        answer = {**self.head, "object": self.shape.kind, "choices": choices, "usage": self.usage()}
        return to_json({**answer, "entropix": {"choices": ours}}).encode()

    def _told(self, result: Result) -> dict[str, Any]:
        """A result's record, without its text, which stands in the choice; of a search with its branches' steps only
        if steps are asked for."""
        record = result_record(result)
        del record["text"]
        if self.asked.recorded is None and record.get("search"):
            for branch in record["search"]["branches"]:
                branch["steps"] = []
        return record

    def _steps(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        most = self.asked.recorded or 0
        return [step_record(s if len(s.leading) <= most else replace(s, leading=s.leading[:most])) for s in steps]

    def usage(self) -> dict[str, Any]:
        """Tokens of the prompts, each once, and of the choices that were returned; what else was computed stands in
        the ledgers."""
        n = len(self.asked.requests) // self.asked.prompts
        first = [self.jobs[i] for i in range(0, len(self.asked.requests), n) if i in self.jobs]
        prompt = sum(len(request.tokens) for request in self.asked.requests[::n])
        completion = sum(len(job.tokens) for job in self.jobs.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(job.ledger.shared for job in first)},
        }

    # in chunks: texts that do not change are made once, as this runs once per token

    def opening(self, usage: bool) -> bytes:
        """The first chunk of every choice. usage: every chunk has the member `usage`."""
        head = {**self.head, "object": self.shape.chunk_kind, **({"usage": None} if usage else {})}
        self._opening = "data: " + json.dumps(head)[:-1] + ', "choices": ['
        begin = self.shape.begin()
        if begin is None:
            return b""
        parts = json.dumps(begin)[1:-1]
        ours = "" if self.asked.prefix is None else f', "entropix": {json.dumps({"prefix": self.asked.prefix})}'
        return "".join(
            f'{self._opening}{{"index": {i}, {parts}, "logprobs": null, "finish_reason": null}}]{ours}}}\n\n'
            for i in range(len(self.asked.requests))
        ).encode()

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        """What became certain, as server-sent events."""
        out: list[str] = []
        for item in items:
            if item.steps:
                self._chunk(out, item)
            if item.progress is not None:
                ours = to_json({"index": item.choice, "progress": item.progress})
                out.append(
                    f'{self._opening}{{"index": {item.choice}, {self.shape.last()}, "logprobs": null, '
                    f'"finish_reason": null}}], "entropix": {ours}}}\n\n'
                )
            if item.job is not None:
                self.jobs[item.choice] = item.job
                result = self.result(item.job)
                ours = to_json({"index": item.choice, **_vote(result), "result": self._told(result)})
                out.append(
                    f'{self._opening}{{"index": {item.choice}, {self.shape.last()}, "logprobs": null, '
                    f'"finish_reason": "{FINISH[result.finish_reason]}"}}], "entropix": {ours}}}\n\n'
                )
        return "".join(out).encode()

    def _chunk(self, out: list[str], item: MailItem) -> None:
        text = "".join([step.text for step in item.steps])
        top, recorded = self.asked.top, self.asked.recorded
        if not text and top is None and recorded is None:
            return
        logprobs, ours = "null", ""
        if top is not None:
            shown = _shown(item.steps, self.tokenizer, item.job.finish_reason if item.job is not None else "")
            if not (shown or text or recorded is not None):
                return
            logprobs = to_json(self.shape.logprobs(shown, top, self.tokenizer, self._offsets[item.choice]))
            self._offsets[item.choice] += len(text)
        if recorded is not None:
            ours = f', "entropix": {to_json({"index": item.choice, "steps": self._steps(item.steps)})}'
        out.append(
            f'{self._opening}{{"index": {item.choice}, {self.shape.delta(text)}, "logprobs": {logprobs}, '
            f'"finish_reason": null}}]{ours}}}\n\n'
        )

    def closing(self, usage: bool) -> bytes:
        """What ends the stream."""
        if not usage:
            return DONE
        head = {**self.head, "object": self.shape.chunk_kind, "choices": [], "usage": self.usage()}
        return f"data: {json.dumps(head)}\n\n".encode() + DONE
