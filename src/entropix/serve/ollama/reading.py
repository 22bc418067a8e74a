"""A request of Ollama's API → the chat request or completion that asks for the same."""

from __future__ import annotations

import json
from typing import Any

from entropix.serve.errors import invalid
from entropix.serve.ollama.schema import OllamaCall, OllamaChat, OllamaGenerate, OllamaMessage, OllamaRequest
from entropix.serve.refusals import validated
from entropix.serve.schema import ChatRequest, CompletionRequest

LATEST = ":latest"


def chat_of(asked: OllamaChat | OllamaGenerate) -> ChatRequest:
    """Raises ApiError naming what is wrong."""
    if isinstance(asked, OllamaChat):
        messages = _messages(asked.messages)
        tools = asked.tools or None
    else:
        if asked.images:
            raise invalid("images: this server reads text only; leave them out", "images")
        head = [{"role": "system", "content": asked.system}] if asked.system else []
        messages, tools = [*head, {"role": "user", "content": asked.prompt}], None
    body = {**_common(asked), "messages": messages, "tools": tools, "continue_final_message": None}
    if asked.format == "json":
        body["response_format"] = {"type": "json_object"}
    elif isinstance(asked.format, dict):
        schema = {"name": "format", "schema": asked.format}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(asked.think, bool):
        body["chat_template_kwargs"] = {"enable_thinking": asked.think}
    return validated(ChatRequest, body)


def completion_of(asked: OllamaGenerate) -> CompletionRequest:
    """Of `raw` prompts and holes. Raises ApiError."""
    body = {**_common(asked), "prompt": asked.prompt, "suffix": asked.suffix, "add_special_tokens": not asked.raw}
    body["max_tokens"] = body["max_tokens"] or -1
    return validated(CompletionRequest, body)


def _common(asked: OllamaRequest) -> dict[str, Any]:
    options = asked.options.model_dump(exclude_none=True) if asked.options else {}
    most = options.pop("num_predict", None)
    for name, limit in (("temperature", 2.0), ("top_p", 1.0)):
        if name in options:
            options[name] = min(float(options[name]), limit)
    seed = options.pop("seed", None)
    return {
        "model": asked.model.removesuffix(LATEST),
        "max_tokens": most if most is not None and most > 0 else None,
        "seed": None if seed in (None, 0, -1) else seed,
        **options,
    }


def _messages(given: list[OllamaMessage]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for n, message in enumerate(given):
        if message.images:
            raise invalid(f"messages.{n}.images: this server reads text only; leave them out", "messages")
        made: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.thinking:
            made["reasoning_content"] = message.thinking
        if message.tool_calls:
            made["tool_calls"] = [_call(call, f"call{n}x{i}") for i, call in enumerate(message.tool_calls)]
            waiting = list(made["tool_calls"])
        if message.role == "tool":
            answered = _answered(message, waiting)
            made |= {"tool_call_id": answered["id"], "name": message.tool_name or answered["function"]["name"] or None}
        messages.append(made)
    return messages


def _call(call: OllamaCall, name: str) -> dict[str, Any]:
    """A call in the form of the chat API. name: its id, where it came without one."""
    function = {"name": call.function.name, "arguments": json.dumps(call.function.arguments)}
    return {"id": call.id or name, "type": "function", "function": function}


def _answered(result: OllamaMessage, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """The call that a result is of, taken out of those that wait for one: by its id, else by its tool's name, else the
    first, since results without either come in the order of the calls."""
    by_id = [call for call in waiting if call["id"] == result.tool_call_id]
    by_name = [call for call in waiting if call["function"]["name"] == result.tool_name]
    found = next(iter([*by_id, *by_name, *waiting]), None)
    if found is None:
        return {"id": result.tool_call_id or "", "function": {"name": ""}}
    waiting.remove(found)
    return found
