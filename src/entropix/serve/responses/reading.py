"""A request of the Responses API → the chat request that asks for the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entropix.serve.refusals import validated
from entropix.serve.responses.schema import (
    CallItem,
    ContentPart,
    MessageItem,
    OutputItem,
    ReasoningItem,
    ResponseRequest,
)
from entropix.serve.responses.tools import Offer, chat_name
from entropix.serve.schema import ChatRequest, Drawing


def conversation_of(asked: ResponseRequest, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages so far, in the form of the chat API. before: those of the response that is continued."""
    messages = [dict(message) for message in before]
    if isinstance(asked.input, str):
        return [*messages, {"role": "user", "content": asked.input}]
    reasoning = ""
    for item in asked.input:
        if isinstance(item, ReasoningItem):
            reasoning = _text(item.content or item.summary or "")
            continue
        if isinstance(item, MessageItem):
            message: dict[str, Any] = {"role": item.role, "content": _text(item.content)}
            if item.role == "assistant" and reasoning:
                message["reasoning_content"] = reasoning
            messages.append(message)
        elif isinstance(item, CallItem):
            _add_call(messages, item, reasoning)
        elif isinstance(item, OutputItem):
            messages.append({"role": "tool", "tool_call_id": item.call_id, "content": _text(item.output)})
        reasoning = ""
    return messages


NAMES = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}
"""What fields of chat requests are called here."""


def chat_request(asked: ResponseRequest, offer: Offer, messages: Sequence[dict[str, Any]]) -> ChatRequest:
    """Raises ApiError naming what is wrong."""
    head = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
    shows = asked.top_logprobs is not None or "message.output_text.logprobs" in (asked.include or ())
    body: dict[str, Any] = {
        "model": asked.model,
        "messages": [*head, *messages],
        "max_tokens": asked.max_output_tokens,
        **asked.model_dump(include=set(Drawing.model_fields)),
        "logprobs": shows or None,
        "top_logprobs": asked.top_logprobs,
        "reasoning_effort": asked.reasoning.effort if asked.reasoning else None,
        "response_format": _format(asked),
        "tools": offer.functions or None,
        "tool_choice": _choice(asked.tool_choice),
        "parallel_tool_calls": asked.parallel_tool_calls,
        "continue_final_message": False,
        "stream": asked.stream,
        "entropix": asked.entropix.model_dump(exclude_unset=True) if asked.entropix else None,
    }
    return validated(ChatRequest, body, NAMES)


def _text(content: str | Sequence[ContentPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _add_call(messages: list[dict[str, Any]], item: CallItem, reasoning: str) -> None:
    """Put a call into the assistant's message that it belongs to."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
        if reasoning:
            messages[-1]["reasoning_content"] = reasoning
    function = {"name": chat_name(item.name, item.namespace), "arguments": item.arguments}
    calls = [*messages[-1].get("tool_calls", ()), {"id": item.call_id, "type": "function", "function": function}]
    messages[-1] = {**messages[-1], "tool_calls": calls}


def _format(asked: ResponseRequest) -> dict[str, Any] | None:
    given = asked.text.format if asked.text else None
    if given is None or given.get("type") != "json_schema":
        return given
    schema = {k: v for k, v in given.items() if k in ("name", "description", "schema", "strict") and v is not None}
    return {"type": "json_schema", "json_schema": schema}


def _choice(given: str | dict[str, Any] | None) -> Any:
    """The Responses API's choice of a tool in the form of the chat API."""
    if not isinstance(given, dict):
        return given
    if given.get("type") == "function":
        return {"type": "function", "function": {"name": given.get("name")}}
    if given.get("type") == "allowed_tools":
        tools = [{"type": "function", "function": {"name": t.get("name")}} for t in given.get("tools") or ()]
        return {"type": "allowed_tools", "allowed_tools": {"mode": given.get("mode", "auto"), "tools": tools}}
    return given
