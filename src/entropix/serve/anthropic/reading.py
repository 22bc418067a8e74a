"""A request of Anthropic's Messages API → the chat request that asks for the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from entropix.serve.anthropic.schema import (
    CallBlock,
    CountRequest,
    MessagesRequest,
    ResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolChoice,
    Turn,
)
from entropix.serve.refusals import validated
from entropix.serve.schema import ChatRequest

NAMES = {"stop": "stop_sequences", "response_format": "output_config.format", "reasoning_effort": "output_config"}
"""What fields of chat requests are called here."""


def chat_of(asked: MessagesRequest | CountRequest) -> ChatRequest:
    """Raises ApiError naming what is wrong."""
    system = _text(asked.system)
    head = [{"role": "system", "content": system}] if system else []
    config, choice = asked.output_config, asked.tool_choice
    body: dict[str, Any] = {
        "model": asked.model,
        "messages": [*head, *_messages(asked.messages)],
        "tools": [
            {"type": "function", "function": {**t.model_dump(exclude={"type", "input_schema"}, exclude_none=True),
                                              "parameters": t.input_schema}}
            for t in asked.tools or ()
        ] or None,
        "tool_choice": None if choice is None else _choice(choice),
        "parallel_tool_calls": False if choice is not None and choice.disable_parallel_tool_use else None,
    }  # fmt: skip
    if asked.thinking is not None:
        body["chat_template_kwargs"] = {"enable_thinking": asked.thinking.type != "disabled"}
    if config is not None and config.effort is not None:
        body["reasoning_effort"] = config.effort
    if config is not None and config.format is not None:
        schema = {"name": "output", "schema": config.format.schema_}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(asked, MessagesRequest):
        body |= {
            "max_tokens": asked.max_tokens,
            "stop": asked.stop_sequences,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "top_k": asked.top_k,
            "seed": asked.seed,
            "stream": asked.stream,
            "entropix": asked.entropix.model_dump(exclude_unset=True) if asked.entropix else None,
        }
    return validated(ChatRequest, body, NAMES)


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for turn in turns:
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            calls = [block for block in turn.content if isinstance(block, CallBlock)]
            called |= {call.id: call.name for call in calls}
            messages.append(_said(turn, calls))
        else:
            # the results of calls stand in a user's message, before what the user says to them
            results = [block for block in turn.content if isinstance(block, ResultBlock)]
            messages += [_result(block, called) for block in results]
            if len(results) < len(turn.content) or not results:
                messages.append({"role": turn.role, "content": _text(turn.content)})
    return messages


def _said(turn: Turn, calls: Sequence[CallBlock]) -> dict[str, Any]:
    """An assistant's message."""
    message: dict[str, Any] = {"role": "assistant", "content": _text(turn.content)}
    thought = "".join(block.thinking for block in turn.content if isinstance(block, ThinkingBlock))
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.input)}}
            for c in calls
        ]
    return message


def _result(block: ResultBlock, called: dict[str, str]) -> dict[str, Any]:
    name = called.get(block.tool_use_id)
    return {"role": "tool", "tool_call_id": block.tool_use_id, "name": name, "content": _text(block.content)}


def _text(content: str | Sequence[Any] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(block.text for block in content if isinstance(block, TextBlock))


def _choice(given: ToolChoice) -> Any:
    """Anthropic's choice of a tool in the form of the chat API."""
    if given.type == "tool":
        return {"type": "function", "function": {"name": given.name}}
    return {"auto": "auto", "any": "required", "none": "none"}[given.type]
