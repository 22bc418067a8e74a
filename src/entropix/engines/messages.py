"""Conversations before a template sees them: their shape, and the strings within them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from entropix.errors import PromptError

ROLES = ("system", "user", "assistant", "tool")

T = TypeVar("T")


def check_messages(messages: Any) -> list[dict[str, Any]]:
    """Copies of the messages; PromptError when one has the wrong shape. What a message has beside role and content is
    for the template."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise PromptError('a conversation is a list of at least one {"role": …, "content": …}')
    checked = []
    for i, message in enumerate(messages):
        try:
            role, content = message["role"], message["content"]
        except (KeyError, TypeError, IndexError):
            raise PromptError(f'message {i} must be {{"role": …, "content": …}}, not {message!r}') from None
        if role not in ROLES:
            raise PromptError(f"message {i} has the role {role!r}: allowed are {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise PromptError(f"the content of message {i} must be text, not {type(content).__name__}")
        checked.append(dict(message))
    return checked


def strings(value: Any) -> list[str]:
    """Every string within nested lists and dicts, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in strings(part)]
    return [text for part in value for text in strings(part)] if isinstance(value, (list, tuple)) else []


def map_strings(value: T, change: Callable[[str], str]) -> T:
    """`value` with every string within it changed, keys included."""
    made: Any = value
    if isinstance(value, str):
        made = change(value)
    elif isinstance(value, Mapping):
        made = {map_strings(key, change): map_strings(part, change) for key, part in value.items()}
    elif isinstance(value, (list, tuple)):
        made = [map_strings(part, change) for part in value]
    return made  # type: ignore[no-any-return]
