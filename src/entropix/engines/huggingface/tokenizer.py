"""Text ↔ tokens through a transformers tokenizer, as the engine contract wants it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from entropix.engines.base import Message
from entropix.engines.messages import check_messages, map_strings, strings
from entropix.errors import PromptError

PRIVATE = 0xF0000  # first of a plane of code points that no text uses
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")

_locks: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()
"""One for each transformers tokenizer: it keeps in itself whether markup is text, so between setting that and
taking a text apart another thread could make control tokens of a user's words."""


class TransformersTokenizer:
    """A transformers tokenizer; `more_ends` are end tokens that the model names besides its own. Threads may share it;
    calls of the transformers tokenizer itself from other threads need a lock."""

    def __init__(self, tokenizer: Any, more_ends: Iterable[int] = ()) -> None:
        self._hf = tokenizer
        self._lock = _locks.setdefault(tokenizer, threading.Lock())
        self._controls = _control_tokens(tokenizer)
        self._added = {int(i): str(t) for i, t in tokenizer.added_tokens_decoder.items()}
        names = sorted(self._controls, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(re.escape(name) for name in names) or r"(?!)")
        self._control_ids = frozenset(self._controls.values())
        self._pieces: dict[int, bytes] = {}
        self._spelling = _spelling(tokenizer)
        self._begin = self._begin_tokens()
        source = getattr(tokenizer, "chat_template", None) or ""
        self.template: str = source if isinstance(source, str) else source.get("tool_use", source.get("default", ""))
        self.has_chat_template = bool(source)
        begin = tokenizer.bos_token_id
        self.begin_token: int | None = None if begin is None else int(begin)
        ends = {int(i) for i in more_ends} | self._turn_end()
        if tokenizer.eos_token_id is not None:
            ends.add(int(tokenizer.eos_token_id))
        self.end_tokens = frozenset(ends)

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        """Tokens of `text`. `special`: markup such as <|im_end|> becomes its token instead of plain text.
        `begin`: prepend the model's beginning-of-text token, if it wants one."""
        with self._lock:
            out = self._hf(text, add_special_tokens=False, split_special_tokens=not special, verbose=False)
        ids = [int(i) for i in out["input_ids"]]
        return [*self._begin, *ids] if begin else ids

    def piece(self, token: int) -> bytes:
        """The bytes that `token` adds to the text: b"" for control tokens and ids beyond the vocabulary."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._spell(token)
        return piece

    def label(self, token: int) -> str:
        """`token` for a person, never empty: control tokens by their name, undecodable bytes escaped."""
        return self.piece(token).decode("utf-8", errors="backslashreplace") or self.raw(token) or f"<{token}>"

    def raw(self, token: int) -> str:
        """The vocabulary's own string of `token`, "" beyond the vocabulary."""
        return str(self._hf.convert_ids_to_tokens(token) or "") if 0 <= token < len(self._hf) else ""

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        begun: str = "",
    ) -> list[int]:
        """Tokens of a conversation in the model's own template, ready for the assistant's answer.

        Control markup inside a message stays plain text. Raises PromptError when the model has no template or
        the template refuses the messages."""
        if not self.has_chat_template:
            raise PromptError(
                "this model's tokenizer has no chat template; give a plain text prompt, or choose an instruct model"
            )
        asked = (check_messages(messages), list(tools), begun)
        contents = "\n".join(strings(asked))
        found = sorted(set(self._control_pattern.findall(contents)))
        free = (chr(c) for c in range(PRIVATE, PRIVATE + 0xFFFE) if chr(c) not in contents)
        hidden = dict(zip(found, free, strict=False))
        if hidden:
            pattern = self._control_pattern
            asked = map_strings(asked, lambda text: pattern.sub(lambda match: hidden[match[0]], text))
        turns, shown, begun = asked
        text = self._render(turns, prompt=True, **{**(variables or {}), **({"tools": shown} if shown else {})}) + begun
        return self._encode_hiding(text, hidden) if hidden else self.encode(text, special=True)

    def _render(self, turns: list[dict[str, Any]], *, prompt: bool, **variables: Any) -> str:
        try:
            options = {**variables, "tokenize": False, "add_generation_prompt": prompt}
            return str(self._hf.apply_chat_template(turns, **options))
        except Exception as error:  # templates are programs, and raise what they like
            raise PromptError(f"the model's chat template refuses these messages: {error}") from error

    def _encode_hiding(self, text: str, hidden: Mapping[str, str]) -> list[int]:
        """Tokens of a rendered template; `hidden` maps markup that is to stay text to its stand-in."""
        back = {ord(stand_in): markup for markup, stand_in in hidden.items()}
        ids: list[int] = []
        end = 0
        for match in self._control_pattern.finditer(text):
            ids += self.encode(text[end : match.start()].translate(back))
            ids.append(self._controls[match[0]])
            end = match.end()
        return ids + self.encode(text[end:].translate(back))

    def _begin_tokens(self) -> list[int]:
        begin = self._hf.bos_token_id
        if begin is None:
            return []
        with self._lock:
            wants = self._hf("a", verbose=False)["input_ids"][:1] == [begin]
        return [int(begin)] if wants else []

    def _turn_end(self) -> set[int]:
        """The control token that the chat template writes after an assistant's turn."""
        if not self.has_chat_template:
            return set()
        answer = "entropix"
        try:
            turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
            text = self._render(turns, prompt=False)
        except PromptError:
            return set()
        _, found, tail = text.rpartition(answer)
        match = self._control_pattern.match(tail.lstrip()) if found else None
        return {self._controls[match[0]]} if match else set()

    def _spell(self, token: int) -> bytes:
        if token in self._control_ids:
            return b""
        if token in self._added:
            return self._added[token].encode()
        text = self.raw(token)
        if self._spelling == "bytes":
            spelled = [_BYTES.get(character) for character in text]
            return text.encode() if None in spelled else bytes(b for b in spelled if b is not None)
        if self._spelling == "sentencepiece":
            match = BYTE_TOKEN.fullmatch(text)
            return bytes([int(match[1], 16)]) if match else text.replace("▁", " ").encode()
        return str(self._hf.convert_tokens_to_string([text])).encode() if text else b""


def _control_tokens(tokenizer: Any) -> dict[str, int]:
    """Every token that is markup and not text, by its name."""
    controls = {str(t): int(i) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    named = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    controls.update((str(name), int(i)) for name, i in named)
    controls.pop("", None)
    return controls


def _spelling(tokenizer: Any) -> str:
    """How vocabulary strings stand for bytes: "bytes" (GPT-2's alphabet), "sentencepiece" or "other"."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        if hasattr(tokenizer, "byte_decoder"):
            return "bytes"
        return "sentencepiece" if hasattr(tokenizer, "sp_model") else "other"
    state = json.loads(decoder.__getstate__())
    kinds = {part.get("type") for part in (state, *state.get("decoders", ()))}
    if "ByteLevel" in kinds:
        return "bytes"
    return "sentencepiece" if kinds & {"Metaspace", "ByteFallback"} else "other"


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet, character → byte: printable bytes stand for themselves, the rest from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(rest)}


_BYTES = _byte_alphabet()
