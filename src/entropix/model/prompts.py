"""Prompts: a text, a conversation, or several of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from entropix.errors import PromptError


def is_conversation(prompt: Any) -> bool:
    """Whether a prompt is a list of messages."""
    return (
        isinstance(prompt, Sequence)
        and not isinstance(prompt, str)
        and bool(prompt)
        and all(isinstance(message, Mapping) for message in prompt)
    )


def is_several(prompt: Any) -> bool:
    """Whether it is a list of prompts."""
    return not isinstance(prompt, (str, bytes)) and isinstance(prompt, Sequence) and not is_conversation(prompt)


def question_of(prompt: Any) -> str:
    """What is asked: the text, or the last message of a conversation."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


@contextlib.contextmanager
def naming(n: int, of: int) -> Iterator[None]:
    """Within, a PromptError says which of several prompts it is about, from 1 on."""
    try:
        yield
    except PromptError as error:
        raise PromptError(f"prompt {n} of {of}: {error}") if of > 1 else error from None


def check_text(text: str, what: str) -> None:
    """Raises PromptError for a text that is no Unicode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(f"{what} is not valid Unicode text: lone surrogate at character {error.start}") from None


def check_texts(value: Any, what: str) -> None:
    """Raises PromptError for a text within `value` that is no Unicode, by its place behind `what`."""
    if isinstance(value, str):
        check_text(value, what)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            check_text(str(key), f"a key of {what}")
            check_texts(part, f"{what}.{key}")
    elif isinstance(value, (list, tuple)):
        for n, part in enumerate(value):
            check_texts(part, f"{what}.{n}")
