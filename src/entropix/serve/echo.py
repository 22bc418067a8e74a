"""`echo` of /v1/completions: the prompt before the answer, with the log-probability of each of its tokens.

A prompt that is scored is decoded token by token, as given tokens of the one decoding loop, beside other answers; a
prompt that is only repeated costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from entropix.serve.answers import FINISH, Writer
from entropix.serve.errors import invalid
from entropix.trace.records import to_json
from entropix.types import Result, Step
from entropix.uncertainty import read_off

if TYPE_CHECKING:
    from entropix.serve.asking import Asked
    from entropix.serve.schema import CompletionRequest
    from entropix.serve.ticket import MailItem


def check_echo(asked: CompletionRequest) -> None:
    """Raises ApiError for what has no echo."""
    ours = asked.entropix
    if asked.logprobs is None and asked.max_tokens == 0:
        raise invalid("max_tokens: 0 with echo is for log-probabilities; give logprobs with it", "max_tokens")
    if asked.logprobs is None:
        return
    if (asked.n or 1) > 1:
        raise invalid("echo: a prompt's log-probabilities go with one answer; give n=1", "echo")
    if ours is not None and (ours.search not in (None, "none") or ours.effort not in (None, "none")):
        raise invalid("echo: a prompt's log-probabilities go without a search or effort; leave one out", "echo")


def echoing(asked: Asked, prompts: Sequence[str], tokens: int) -> Asked:
    """`asked` with its prompts before the answers. tokens: of an answer, beside its prompt."""
    if asked.top is None:
        return replace(asked, echo=tuple(prompts))
    requests = []
    for request in asked.requests:
        first, rest = request.tokens[:1], tuple(request.tokens[1:])
        most = len(rest) + (tokens if tokens > 0 else 0 if rest else 1)
        requests.append(
            replace(request, tokens=first, forced=rest, max_tokens=most, search=None, notes=request.notes, keep=False)
        )
    return replace(asked, requests=tuple(requests), echo=tuple(prompts), silent=tokens == 0)


class EchoWriter(Writer):
    """Writes completions that begin with their prompts."""

    def _prompt(self, index: int) -> str:
        return self.asked.echo[index * self.asked.prompts // len(self.asked.requests)]

    def choice(self, index: int, result: Result, logprobs: Any) -> dict[str, Any]:
        if self.asked.top is not None:
            logprobs = self._scores(index, result.steps, result.finish_reason)
        text = "" if self.asked.silent else result.text
        return self.shape.choice(index, self._prompt(index) + text, logprobs, FINISH[result.finish_reason])

    def answer(self, index: int, result: Result) -> Result:
        """What the model has said, in a text that begins with the prompt: given tokens are none of its own."""
        given, before = len(self.asked.requests[index].forced), len(self._prompt(index))
        answer = result
        if given:  # there is neither a search nor a constraint then
            steps = () if self.asked.silent else result.steps[given:]
            text = "".join(step.text for step in steps)
            answer = replace(result, steps=steps, **read_off(text, steps, result.finish_reason))
        fields = None if answer.fields is None else answer.fields.moved(before)
        return replace(answer, fields=fields, spans=[span.moved(before, given) for span in answer.spans])

    def shown(self, steps: Sequence[Step], finish_reason: str) -> list[Step]:
        """With the token that ends the answer, as vLLM has it: who asks for one token behind a prompt counts on it."""
        shown = list(steps)
        while finish_reason == "stop" and shown and not shown[-1].text:
            shown.pop()
        return shown

    def _scores(self, index: int, steps: Sequence[Step], reason: str) -> dict[str, Any]:
        """The log-probabilities of prompt and answer; the first token of all has none."""
        request, top = self.asked.requests[index], self.asked.top or 0
        given = len(request.forced)
        shown = [*steps[:given], *([] if self.asked.silent else self.shown(steps[given:], reason))]
        head = self._head(request.tokens[0])
        offset = len(self.tokenizer.piece(request.tokens[0]).decode("utf-8", "replace"))
        rest = self.shape.logprobs(shown, top, self.tokenizer, offset)
        return {name: head[name] + rest[name] for name in head}

    def _head(self, token: int) -> dict[str, list[Any]]:
        label = self.tokenizer.label(token)
        return {"tokens": [label], "token_logprobs": [None], "top_logprobs": [None], "text_offset": [0]}

    def opening(self, usage: bool) -> bytes:
        """The prompts, or where they are scored their first tokens."""
        super().opening(usage)
        out = []
        for index, request in enumerate(self.asked.requests):
            text, logprobs = self._prompt(index), None
            if self.asked.top is not None:
                first = request.tokens[0]
                text, logprobs = self.tokenizer.piece(first).decode("utf-8", "replace"), self._head(first)
                self.offsets[index] = len(text)
            out.append(
                f'{self.head_of_chunk}{{"index": {index}, "text": {json.dumps(text)}, '
                f'"logprobs": {to_json(logprobs) if logprobs else "null"}, "finish_reason": null}}]}}\n\n'
            )
        return "".join(out).encode()

    def chunks(self, items: Sequence[MailItem]) -> bytes:
        if self.asked.silent:  # a prompt of one token is decoded on by one that is not wanted
            for item in items:
                item.steps = [s for s in item.steps if s.index < len(self.asked.requests[item.choice].forced)]
        return super().chunks(items)
