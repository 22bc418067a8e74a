"""Chat answers that consist of reasoning, content and calls → OpenAI's messages and deltas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from entropix.serve.answers import FINISH, Writer, shown_steps
from entropix.serve.asking import Asked
from entropix.serve.shapes import Shape
from entropix.serve.ticket import MailItem
from entropix.serve.tools.certainty import Spelled, calling, certainties
from entropix.serve.tools.speech import CLOSE, OPEN, Fragment, Speech
from entropix.trace.records import to_json
from entropix.types import Result, Step
from entropix.uncertainty import fields_of, spans_of


class SpokenWriter(Writer):
    """Writes the answers to one chat request whose texts are more than content."""

    def __init__(self, shape: Shape, asked: Asked) -> None:
        super().__init__(shape, asked)
        self.speeches = [Speech(asked.manner) for _ in asked.requests]
        form = asked.manner.form
        wrappers = () if form is None else form.wrappers
        parts = (OPEN, CLOSE, "" if form is None else form.between, "" if form is None else form.dialect)
        self._marks = {text for w in wrappers for text in (w.begin, w.end)} | set(parts)

    def spelled(self, steps: Sequence[Step]) -> list[str]:
        """The text of each step; of a control token that matters here its name."""
        return [
            step.label
            if not step.text and step.label in self._marks and not self.tokenizer.piece(step.token)
            else step.text
            for step in steps
        ]

    def read(self, index: int, result: Result) -> Speech:
        """The whole answer of a choice, read from its beginning."""
        speech = Speech(self.asked.manner)
        speech.feed("".join(self.spelled(result.steps)))
        speech.finish()
        self.speeches[index] = speech
        return speech

    def finish(self, index: int, result: Result) -> str:
        finish = FINISH[result.finish_reason]
        return "tool_calls" if finish == "stop" and self.speeches[index].calls else finish

    def choice(self, index: int, result: Result, logprobs: Any) -> dict[str, Any]:
        self.read(index, result)
        message, finish = self.said(index), self.finish(index, result)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def said(self, index: int) -> dict[str, Any]:
        """The message of a choice that has been read."""
        speech = self.speeches[index]
        message: dict[str, Any] = {"role": "assistant", "content": speech.content, "refusal": None}
        if speech.reasoning:
            message["reasoning_content"] = speech.reasoning
        if speech.calls:
            message["content"] = speech.content or None
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in speech.calls
            ]
        return message

    def answer(self, index: int, result: Result) -> Result:
        """With the places and values of the content: reasoning and calls stand elsewhere."""
        speech = self.speeches[index]
        if speech.content == result.text:
            return result
        begin, end = speech.begin, speech.begin + len(speech.content)
        places = [(step, max(a, begin), min(b, end)) for step, (a, b) in self._spans(result.steps)]
        first = next((n for n, (_, a, b) in enumerate(places) if a < b), len(places))
        text = "".join(self.spelled(result.steps))
        steps = [replace(step, text=text[a:b] if a < b else "") for step, a, b in places[first:]]
        votes = None if speech.reasoning else result.search  # the texts of ballots are whole, reasoning included
        spans = [span.moved(0, first) for span in spans_of(speech.content, steps)]
        return replace(result, spans=spans, fields=fields_of(speech.content, steps, votes))

    def further(self, index: int, result: Result) -> dict[str, Any]:
        manner = self.asked.manner
        if manner.form is None:
            return {}
        calls = self.speeches[index].calls
        if calls:
            return {"calls": certainties(calls, self._spans(result.steps), forced=manner.required)}
        return {"calls": [], "calling": calling(result.steps, [w.begin for w in manner.form.wrappers if w.begin])}

    def _spans(self, steps: Sequence[Step]) -> Spelled:
        ends = accumulate(map(len, self.spelled(steps)), initial=0)
        return list(zip(steps, pairwise(ends), strict=True))

    # in chunks

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        out: list[str] = []
        for item in items:
            speech = self.speeches[item.choice]
            parts = speech.feed("".join(self.spelled(item.steps)))
            parts += speech.finish() if item.job is not None else []
            self._deltas(out, item, parts)
            if item.progress is not None:
                out.append(self.standing(item))
            if item.job is not None:
                out.append(self.ending(item.choice, item.job))
        return "".join(out).encode()

    def _deltas(self, out: list[str], item: MailItem, parts: Sequence[Fragment]) -> None:
        logprobs, ours = self.reports(item)
        deltas = [self._delta(item.choice, part) for part in parts]
        if not deltas and (logprobs is not None or ours):
            deltas.append({})
        for delta in deltas:
            out.append(
                f'{self.head_of_chunk}{{"index": {item.choice}, "delta": {json.dumps(delta)}, '
                f'"logprobs": {to_json(logprobs)}, "finish_reason": null}}]{ours}}}\n\n'
            )
            logprobs, ours = None, ""

    def _delta(self, choice: int, part: Fragment) -> dict[str, Any]:
        if part.kind == "call":
            call = self.speeches[choice].calls[part.call]
            function = {"name": call.name, "arguments": ""}
            return {"tool_calls": [{"index": part.call, "id": call.id, "type": "function", "function": function}]}
        if part.kind == "arguments":
            return {"tool_calls": [{"index": part.call, "function": {"arguments": part.text}}]}
        return {"content" if part.kind == "content" else "reasoning_content": part.text}

    def reports(self, item: MailItem) -> tuple[Any, str]:
        """The log-probabilities and the step records that belong to an item's steps, as far as they are wanted."""
        logprobs = None
        if self.asked.top is not None and item.steps:
            shown = shown_steps(item.steps, self.tokenizer, item.job.finish_reason if item.job is not None else "")
            logprobs = self.shape.logprobs(shown, self.asked.top, self.tokenizer, 0)
        ours = ""
        if self.asked.recorded is not None and item.steps:
            ours = f', "entropix": {to_json({"index": item.choice, "steps": self.records(item.steps)})}'
        return logprobs, ours
