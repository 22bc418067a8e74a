"""Conversations that keep their KV cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from entropix.decoding import Decoder, Job
from entropix.engines import SequenceHandle, guard_of
from entropix.model.options import Options
from entropix.model.stream import Stream

if TYPE_CHECKING:
    from entropix.model.core import Model


class Chat:
    """A conversation that keeps its KV cache, so that a turn costs only what is new."""

    def __init__(self, model: Model, system: str | None = None, **options: Unpack[Options]) -> None:
        self._model = model
        self.system = system
        self.options = options
        self.messages: list[dict[str, str]] = []
        self._kept: SequenceHandle | None = None
        self.reset()

    def send(self, text: str) -> Stream:
        """The model's answer to `text`. Iterate over the stream, or close it to stop the answer; either way the
        turn, with what was said, is part of the conversation afterwards."""
        model = self._model
        messages = [*self.messages, {"role": "user", "content": text}]
        decoder = Decoder(model.engine, isolate=True)
        jobs = [decoder.submit(request) for request in model._requests(messages, keep=True, **self.options)]
        if model.engine.capabilities.sequences < 2:
            self._release()
        return _ChatStream(self, messages, decoder, jobs)

    def reset(self) -> None:
        """Forget everything but the system message."""
        self._release()
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def close(self) -> None:
        """Give the KV cache back."""
        self._release()

    def _release(self) -> None:
        if self._kept is not None:
            with guard_of(self._model.engine).ending() as usable:
                if usable:
                    self._model.engine.close(self._kept)
            self._kept = None


class _ChatStream(Stream):
    """A stream that hands its sequence to the conversation when it ends."""

    def __init__(self, chat: Chat, messages: list[dict[str, str]], decoder: Decoder, jobs: list[Job]) -> None:
        super().__init__(chat._model, decoder, jobs)
        self._chat = chat
        self._messages = messages

    def _ended(self) -> None:
        job = self._jobs[0]
        self._chat._release()
        self._chat._kept = job.sequence
        self._chat.messages = self._messages
        self._messages.append({"role": "assistant", "content": job.stream.text})
