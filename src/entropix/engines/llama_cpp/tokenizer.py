"""Text ↔ tokens with a GGUF model's own vocabulary."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from entropix.engines.base import Message
from entropix.engines.llama_cpp.chat import ChatTemplate, hide_markup, split_markup
from entropix.engines.llama_cpp.library import load, metadata
from entropix.engines.llama_cpp.runs import check_runs, recurses
from entropix.engines.messages import check_messages
from entropix.errors import ModelError, ParameterError, PromptError

CLOSED = "this model was closed; load it again"
UNKNOWN, CONTROL = 1, 8  # llama_token_attr: tokens that text becomes only when markup is asked for


class Uses:
    """The calls that read a model's vocabulary, each in a `with`. Many threads may, without the engine's guard, so
    the engine that frees the model ends them: `end` waits for those under way, and later ones raise ModelError."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._count = 0
        self._ended = False

    def __enter__(self) -> None:
        with self._changed:
            if self._ended:
                raise ModelError(CLOSED)
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            if self._ended and not self._count:
                self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._count)


class LlamaCppTokenizer:
    """The tokenizer of a loaded llama.cpp model; see `entropix.engines.base.Tokenizer`."""

    def __init__(self, model: Any) -> None:
        self._llama, _ = load()
        self.owner: Any = None
        """The engine: kept, so that no tokenizer outlives its model, and asked whether it is still open."""
        self._pointer = self._llama.llama_model_get_vocab(model)
        self.uses = Uses()
        self.size: int = self._llama.llama_vocab_n_tokens(self._vocab)
        self._pieces: list[bytes | None] = [None] * self.size
        self._labels: dict[int, str] = {}
        self._pre = metadata(model, "tokenizer.ggml.pre")
        self._recurses = recurses(metadata(model, "tokenizer.ggml.model"), self._pre)
        self.template = metadata(model, "tokenizer.chat_template") or ""
        self.has_chat_template = bool(self.template)
        self._bos: int = self._llama.llama_vocab_bos(self._vocab)
        self._eos: int = self._llama.llama_vocab_eos(self._vocab)
        named = metadata(model, "tokenizer.ggml.bos_token_id") is not None  # else llama.cpp assumes one
        self.begin_token = self._bos if named and self._bos >= 0 else None
        self._adds_bos = bool(self._llama.llama_vocab_get_add_bos(self._vocab)) and self._bos >= 0
        is_end, vocab = self._llama.llama_vocab_is_eog, self._vocab
        ends = {token for token in range(self.size) if is_end(vocab, token)}
        self.end_tokens = frozenset(ends | ({self._eos} if self._eos >= 0 else set()))

    @property
    def _vocab(self) -> Any:
        if self.owner is not None and not self.owner.alive:
            raise ModelError(CLOSED)
        return self._pointer

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        if self._recurses:
            check_runs(text, self._pre)
        data = text.encode("utf-8", "replace")
        head = [self._bos] if begin and self._adds_bos else []
        if not data:
            return head
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        tokenize = self._llama.llama_tokenize
        with self.uses:
            n = tokenize(self._vocab, data, len(data), buffer, room, False, special)
            if n < 0:
                buffer = (ctypes.c_int32 * -n)()
                n = tokenize(self._vocab, data, len(data), buffer, -n, False, special)
        return head + buffer[:n]

    def piece(self, token: int) -> bytes:
        self._check(token)
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token, special=False)
        return piece

    def label(self, token: int) -> str:
        label = self._labels.get(token)
        if label is None:
            label = self._labels[token] = self._make_label(token)
        return label

    def _make_label(self, token: int) -> str:
        piece = self.piece(token) or self._read_piece(token, special=True) or self.raw(token).encode()
        return piece.decode("utf-8", "backslashreplace") or f"<token {token}>"

    def raw(self, token: int) -> str:
        """The vocabulary's own string of a token, as it stands in the model file."""
        self._check(token)
        with self.uses:
            return bytes(self._llama.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        begun: str = "",
    ) -> list[int]:
        template = self._chat_template
        asked = (check_messages(messages), list(tools), begun)
        (turns, shown, begun), hidden = hide_markup(asked, self._has_markup, lambda: self._markup)
        rendered = template.render(turns, shown, variables) + begun
        tokens: list[int] = []
        for text, special in split_markup(rendered, hidden):
            tokens += self.encode(text, special=special)
        if self._adds_bos and tokens[:1] != [self._bos]:
            tokens.insert(0, self._bos)
        return tokens

    @cached_property
    def _chat_template(self) -> ChatTemplate:
        if not self.template:
            raise PromptError("this model has no chat template: give it plain text, or use an instruct model")
        bos = self.raw(self._bos) if self._bos >= 0 else ""
        eos = self.raw(self._eos) if self._eos >= 0 else ""
        return ChatTemplate(self.template, bos=bos, eos=eos)

    def _has_markup(self, text: str) -> bool:
        return self.encode(text, special=True) != self.encode(text)

    @cached_property
    def _markup(self) -> list[str]:
        attributes, vocab = self._llama.llama_vocab_get_attr, self._vocab
        with self.uses:
            special = [t for t in range(self.size) if attributes(vocab, t) & (UNKNOWN | CONTROL)]
        return [text for text in map(self.raw, special) if text]

    def _read_piece(self, token: int, *, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self.uses:
                n = self._llama.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def _check(self, token: int) -> None:
        if not 0 <= token < self.size:
            raise ParameterError(f"there is no token {token}: this model's are 0 … {self.size - 1}")
