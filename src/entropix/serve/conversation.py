"""A chat request's messages, tools and format → what the chat template is given, and how the answer is to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entropix.constraints import json_schema
from entropix.constraints.grammar import Grammar
from entropix.decoding import Constraint
from entropix.errors import EntropixError
from entropix.model import Model
from entropix.model.prompts import check_texts
from entropix.serve.errors import ApiError, invalid
from entropix.serve.messages import AllowedChoice, ChosenTool, Format, FunctionTool, Message
from entropix.serve.schema import ChatRequest
from entropix.serve.tools.history import Template
from entropix.serve.tools.speech import Manner
from entropix.serve.tools.toolset import NOTHING, Tool, Toolset

RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "documents"})
"""Names of the template that are not for chat_template_kwargs."""


@dataclass(frozen=True)
class Conversation:
    """What a chat request says. turns, tools, variables, begun: for `Tokenizer.chat`. question: by which a vote
    recognises answers. toolset: None where nothing may be called."""

    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    variables: Mapping[str, Any]
    begun: str
    question: str
    toolset: Toolset | None
    answer: Grammar | None

    @property
    def texts(self) -> list[str]:
        """What of it is long where it is long."""
        return [*(turn["content"] for turn in self.turns), *([str(self.tools)] if self.tools else []), self.begun]


def read_conversation(asked: ChatRequest, template: Template) -> Conversation:
    """Raises ApiError naming what is wrong."""
    messages = read_messages(asked.messages)
    goes_on = _continues(asked)
    begun = ""
    if goes_on:
        begun = messages.pop()["content"]
    toolset = read_tools(asked.tools, asked.tool_choice, asked.parallel_tool_calls)
    variables = asked.chat_template_kwargs or {}
    for name in variables:
        if name in RESERVED or not name.isidentifier():
            raise invalid(
                f"chat_template_kwargs: {name!r} cannot be set; allowed are names that the template reads beside those",
                "chat_template_kwargs",
            )
    _check_texts(variables, "chat_template_kwargs", "the object")
    turns, shown = template.conversation(messages, toolset.tools if toolset else ())
    question = next((m["content"] for m in reversed(messages) if m["role"] == "user"), messages[-1]["content"])
    return Conversation(turns, shown, variables, begun, question, toolset, _answer(asked.response_format))


def manner_of(said: Conversation, template: Template, prompt: Sequence[int]) -> Manner:
    """How the answer's text is to be read. prompt: its tokens."""
    thinking = template.opens_thinking(prompt)
    if said.toolset is None:
        return Manner(thinks=template.thinks, thinking=thinking)
    return Manner(template.form, said.toolset.names, template.thinks, thinking, said.toolset.required)


def constraint_of(said: Conversation, template: Template, model: Model) -> Constraint | None:
    """What the answer's text must keep to. Raises ApiError."""
    name = "response_format" if said.toolset is None else "tools"
    try:
        if said.toolset is not None:
            return said.toolset.constraint(template.form, model.vocabulary, model.tokenizer, said.answer)
        return None if said.answer is None else model.constraint(said.answer)
    except EntropixError as error:
        raise invalid(f"{name}: {error}", name) from None


def read_tools(given: Sequence[FunctionTool] | None, choice: Any, parallel: bool | None) -> Toolset | None:
    """The tools that may be called, None for none. Raises ApiError for a choice that is not among them."""
    tools = {}
    for n, one in enumerate(given or ()):
        function = one.function
        if function.name in tools:
            raise invalid(
                f"tools.{n}: there are two tools called {function.name!r}; give each a name of its own", "tools"
            )
        _check_texts(function.model_dump(), "tools", f"tools.{n}.function")
        parameters = function.parameters or NOTHING
        tools[function.name] = Tool(function.name, function.description, parameters, bool(function.strict))
    required = choice == "required"
    chosen = list(tools)
    if isinstance(choice, ChosenTool):
        chosen, required = [choice.function.name], True
    elif isinstance(choice, AllowedChoice):
        chosen = [tool.function.name for tool in choice.allowed_tools.tools]
        required = choice.allowed_tools.mode == "required"
    missing = [name for name in chosen if name not in tools]
    if missing or (required and not tools):
        known = ", ".join(tools) or "none"
        what = f"there is no tool {missing[0]!r}" if missing else "a call is required and there are no tools"
        raise invalid(f"tool_choice: {what}; tools of this request: {known}", "tool_choice")
    if not tools or choice == "none":
        return None
    return Toolset(tuple(tools[name] for name in chosen), required, parallel is not False)


def read_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the form that templates know. Raises ApiError for one that is no Unicode."""
    turns = [_message(message) for message in messages]
    for n, turn in enumerate(turns):
        _check_texts(turn, "messages", f"message {n}")
    return turns


def _check_texts(value: Any, param: str, what: str) -> None:
    try:
        check_texts(value, what)
    except EntropixError as error:
        raise invalid(f"{param}: {error}", param) from None


def _message(message: Message) -> dict[str, Any]:
    """A message in the form that templates know."""
    role = "system" if message.role == "developer" else message.role
    turn: dict[str, Any] = {"role": role, "content": message.text}
    if message.tool_calls:
        turn["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if message.reasoning_content:
        turn["reasoning_content"] = message.reasoning_content
    if role == "tool":
        turn |= {"tool_call_id": message.tool_call_id or "", "name": message.name or ""}
    return turn


def _continues(asked: ChatRequest) -> bool:
    """Whether the last message, an assistant's, is the beginning of the answer, as llama.cpp treats it."""
    last = asked.messages[-1]
    wanted, opens = asked.continue_final_message, asked.add_generation_prompt
    if wanted and opens:
        raise invalid(
            "continue_final_message and add_generation_prompt are both true; give one of them", "continue_final_message"
        )
    if last.role != "assistant" or last.tool_calls:
        if wanted:
            raise invalid(
                "continue_final_message: the last message must be an assistant's text", "continue_final_message"
            )
        return False
    goes_on = wanted if wanted is not None else not opens
    if goes_on and len(asked.messages) == 1:
        raise invalid("messages: before the assistant's message that is continued there must be another", "messages")
    return goes_on


def _answer(wanted: Format | None) -> Grammar | None:
    """What the answer's text must keep to; of a schema that is not strict, as much as is supported."""
    if wanted is None or wanted.type == "text":
        return None
    schema: dict[str, Any] = {"type": "object"}
    lenient = False
    if wanted.type == "json_schema":
        given = wanted.json_schema
        schema, lenient = schema if given.schema_ is None else given.schema_, not given.strict
    try:
        return json_schema(schema, lenient=lenient)
    except EntropixError as error:
        raise _of_format(error) from None


def _of_format(error: EntropixError) -> ApiError:
    return invalid(f"response_format: {error}", "response_format")
