"""One quick start of one client, as its documentation has it. Runs in the clients' own environment and imports nothing
of Entropix:

    python quickstarts.py CLIENT FEATURE http://127.0.0.1:8000 MODEL

Exits with 0 where the client got what it asks for, with 3 where it has no such feature; else it raises."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ABSENT = 3
Quick = Callable[[str, str], Any]
TABLE: dict[tuple[str, str], Quick] = {}
QUESTION = "Name the capital of France in one word."
SUM = "Use the tool add to find 20 + 22. Then tell me the result in a sentence."
ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two integers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
PERSON = "Extract: John Doe is 30 years old."
TOKENS = 120
EXAMPLES = Path(__file__).parents[2] / "examples"


def quick(client: str, feature: str) -> Callable[[Quick], Quick]:
    def enter(function: Quick) -> Quick:
        TABLE[client, feature] = function
        return function

    return enter


def need(fact: object, what: object = "") -> None:
    if not fact:
        raise AssertionError(f"not so: {what!r}")


def example(name: str, url: str) -> None:
    """A program of examples/ that prints an answer and how sure it is."""
    said = subprocess.run(
        [sys.executable, str(EXAMPLES / name), f"{url}/v1"], stdout=subprocess.PIPE, text=True, check=True
    )
    need(re.search(r"\d+% sure: \d+ of \d+ texts agree", said.stdout), said.stdout)


# openai


def openai_client(url: str) -> Any:
    import openai

    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@quick("openai", "chat")
def openai_chat(url: str, model: str) -> None:
    found = openai_client(url).chat.completions.create(model=model, messages=user(QUESTION), max_tokens=20)
    need(found.choices[0].message.content, found)


@quick("openai", "stream")
def openai_stream(url: str, model: str) -> None:
    chunks = openai_client(url).chat.completions.create(
        model=model, messages=user(QUESTION), max_tokens=20, stream=True
    )
    need("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))


@quick("openai", "tools")
def openai_tools(url: str, model: str) -> None:
    client, messages = openai_client(url), user(SUM)
    for _ in range(3):
        said = client.chat.completions.create(
            model=model, messages=messages, tools=[ADD], temperature=0, max_tokens=TOKENS
        ).choices[0]
        if said.finish_reason != "tool_calls":
            break
        messages.append(said.message)
        for call in said.message.tool_calls:
            given = json.loads(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": str(given["a"] + given["b"])})
    need(len(messages) > 2 and messages[2]["content"] == "42", messages)
    need("42" in (said.message.content or ""), said)


@quick("openai", "structured")
def openai_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    found = openai_client(url).chat.completions.parse(
        model=model, messages=user(PERSON), response_format=Person, max_tokens=TOKENS, temperature=0
    )
    need(isinstance(found.choices[0].message.parsed, Person), found)


@quick("openai", "responses")
def openai_responses(url: str, model: str) -> None:
    client = openai_client(url)
    first = client.responses.create(model=model, input=QUESTION, max_output_tokens=20)
    need(first.output_text, first)
    with client.responses.stream(model=model, input="And of Italy?", max_output_tokens=20) as stream:
        need(list(stream)[-1].type in ("response.completed", "response.incomplete"))
    more = client.responses.create(
        model=model, input="And of Italy?", previous_response_id=first.id, max_output_tokens=20
    )
    need(more.output_text, more)


@quick("openai", "logprobs")
def openai_logprobs(url: str, model: str) -> None:
    client = openai_client(url)
    chat = client.chat.completions.create(
        model=model, messages=user(QUESTION), max_tokens=5, logprobs=True, top_logprobs=3
    )
    need(len(chat.choices[0].logprobs.content[0].top_logprobs) == 3, chat)
    echo = client.completions.create(model=model, prompt="The sky is blue.", echo=True, logprobs=1, max_tokens=0)
    need(echo.choices[0].logprobs.token_logprobs[0] is None and len(echo.choices[0].logprobs.tokens) > 3, echo)


@quick("openai", "confidence")
def openai_confidence(url: str, model: str) -> None:
    found = openai_client(url).chat.completions.create(
        model=model, messages=user("What is 3 + 4?"), reasoning_effort="low", seed=1, max_tokens=TOKENS
    )
    ours = found.model_extra["entropix"]["choices"][0]
    need(ours["vote"]["answer"] and 0 < ours["result"]["confidence"] <= 1, ours)


# litellm


def litellm_options(url: str, model: str) -> dict[str, Any]:
    return {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "timeout": 300}


@quick("litellm", "chat")
def litellm_chat(url: str, model: str) -> None:
    import litellm

    found = litellm.completion(messages=user(QUESTION), max_tokens=20, **litellm_options(url, model))
    need(found.choices[0].message.content, found)


@quick("litellm", "stream")
def litellm_stream(url: str, model: str) -> None:
    import litellm

    chunks = litellm.completion(messages=user(QUESTION), max_tokens=20, stream=True, **litellm_options(url, model))
    need("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))


@quick("litellm", "tools")
def litellm_tools(url: str, model: str) -> None:
    import litellm

    found = litellm.completion(
        messages=user(SUM), tools=[ADD], temperature=0, max_tokens=TOKENS, **litellm_options(url, model)
    )
    (call,) = found.choices[0].message.tool_calls
    need(json.loads(call.function.arguments) == {"a": 20, "b": 22}, found)


@quick("litellm", "responses")
def litellm_responses(url: str, model: str) -> None:
    import litellm

    found = litellm.responses(input=QUESTION, max_output_tokens=20, **litellm_options(url, model))
    need(found.output, found)


# langchain


def langchain_model(url: str, model: str, **options: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, temperature=0, max_tokens=TOKENS, **options)


@quick("langchain-openai", "chat")
def langchain_chat(url: str, model: str) -> None:
    need(langchain_model(url, model).invoke(QUESTION).content)


@quick("langchain-openai", "stream")
def langchain_stream(url: str, model: str) -> None:
    need("".join(chunk.content for chunk in langchain_model(url, model).stream(QUESTION)))


@quick("langchain-openai", "tools")
def langchain_tools(url: str, model: str) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    bound = langchain_model(url, model).bind_tools([add])
    messages: list[Any] = [HumanMessage(SUM)]
    said = bound.invoke(messages)
    (call,) = said.tool_calls
    messages += [said, ToolMessage(str(add.invoke(call["args"])), tool_call_id=call["id"])]
    need("42" in bound.invoke(messages).content)


@quick("langchain-openai", "structured")
def langchain_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        """A person."""

        name: str
        age: int

    need(isinstance(langchain_model(url, model).with_structured_output(Person).invoke(PERSON), Person))


@quick("langchain-openai", "responses")
def langchain_responses(url: str, model: str) -> None:
    need(langchain_model(url, model, use_responses_api=True).invoke(QUESTION).content)


@quick("langchain-openai", "confidence")
def langchain_confidence(url: str, model: str) -> None:
    example("langchain_confidence.py", url)


# llm


def llm_model(url: str, model: str) -> Any:
    from llm.default_plugins.openai_models import Chat

    found = Chat("entropix", model_name=model, api_base=f"{url}/v1", supports_tools=True, supports_schema=True)
    found.key = "none"
    return found


@quick("llm", "chat")
def llm_chat(url: str, model: str) -> None:
    need(llm_model(url, model).prompt(QUESTION, max_tokens=20, stream=False).text())


@quick("llm", "stream")
def llm_stream(url: str, model: str) -> None:
    need("".join(llm_model(url, model).prompt(QUESTION, max_tokens=20)))


@quick("llm", "tools")
def llm_tools(url: str, model: str) -> None:
    def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    chain = llm_model(url, model).chain(SUM, tools=[add], options={"temperature": 0, "max_tokens": TOKENS})
    need("42" in chain.text())


@quick("llm", "structured")
def llm_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    found = llm_model(url, model).prompt(PERSON, schema=Person, max_tokens=TOKENS, temperature=0, stream=False)
    need(Person.model_validate_json(found.text()))


# instructor


@quick("instructor", "structured")
def instructor_structured(url: str, model: str) -> None:
    import instructor
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    client = instructor.from_openai(openai_client(url))
    found = client.chat.completions.create(
        model=model, response_model=Person, messages=user(PERSON), max_tokens=TOKENS, temperature=0
    )
    need(isinstance(found, Person), found)


@quick("instructor", "stream")
def instructor_stream(url: str, model: str) -> None:
    import instructor
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    client = instructor.from_openai(openai_client(url))
    partial = client.chat.completions.create_partial(
        model=model, response_model=Person, messages=user(PERSON), max_tokens=TOKENS, temperature=0
    )
    need(list(partial)[-1].age is not None)


# pydantic-ai


def pydantic_agent(url: str, model: str, **options: Any) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="none")
    settings: Any = {"temperature": 0.0, "max_tokens": TOKENS}
    return Agent(OpenAIChatModel(model, provider=provider), model_settings=settings, **options)


@quick("pydantic-ai", "chat")
def pydantic_chat(url: str, model: str) -> None:
    need(pydantic_agent(url, model).run_sync(QUESTION).output)


@quick("pydantic-ai", "tools")
def pydantic_tools(url: str, model: str) -> None:
    agent = pydantic_agent(url, model)

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    need("42" in agent.run_sync(SUM).output)


@quick("pydantic-ai", "structured")
def pydantic_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    need(isinstance(pydantic_agent(url, model, output_type=Person).run_sync(PERSON).output, Person))


@quick("pydantic-ai", "stream")
def pydantic_stream(url: str, model: str) -> None:
    async def main() -> str:
        async with pydantic_agent(url, model).run_stream(QUESTION) as result:
            return "".join([text async for text in result.stream_text(delta=True)])

    need(asyncio.run(main()))


# openai-agents


def agents_settings(url: str) -> None:
    os.environ["OPENAI_API_KEY"] = "none"
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"


def agent(url: str, model: str, **options: Any) -> Any:
    agents_settings(url)
    from agents import Agent, ModelSettings

    settings = ModelSettings(temperature=0, max_tokens=TOKENS)
    return Agent(name="Assistant", instructions="You are helpful.", model=model, model_settings=settings, **options)


@quick("openai-agents", "chat")
def agents_chat(url: str, model: str) -> None:
    started = agent(url, model)
    from agents import Runner

    need(Runner.run_sync(started, QUESTION).final_output)


@quick("openai-agents", "tools")
def agents_tools(url: str, model: str) -> None:
    agents_settings(url)
    from agents import Runner, function_tool

    @function_tool
    def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    need("42" in Runner.run_sync(agent(url, model, tools=[add]), SUM).final_output)


@quick("openai-agents", "stream")
def agents_stream(url: str, model: str) -> None:
    started = agent(url, model)
    from agents import Runner

    async def main() -> str:
        result = Runner.run_streamed(started, QUESTION)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    need(asyncio.run(main()))


@quick("openai-agents", "structured")
def agents_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    started = agent(url, model, output_type=Person)
    from agents import Runner

    need(isinstance(Runner.run_sync(started, PERSON).final_output, Person))


# dspy


@quick("dspy", "chat")
def dspy_chat(url: str, model: str) -> None:
    import dspy

    dspy.configure(lm=dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key="none", max_tokens=TOKENS, cache=False))
    need(dspy.Predict("question -> answer")(question=QUESTION).answer)


@quick("dspy", "confidence")
def dspy_confidence(url: str, model: str) -> None:
    example("dspy_confidence.py", url)


# ollama


@quick("ollama", "chat")
def ollama_chat(url: str, model: str) -> None:
    import ollama

    client = ollama.Client(host=url)
    need(any(m.model == f"{model}:latest" for m in client.list().models), client.list())
    need(client.chat(model=model, messages=user(QUESTION), options={"num_predict": 20}).message.content)
    need(client.generate(model=model, prompt=QUESTION, options={"num_predict": 20}).response)


@quick("ollama", "stream")
def ollama_stream(url: str, model: str) -> None:
    import ollama

    chunks = ollama.Client(host=url).chat(
        model=model, messages=user(QUESTION), stream=True, options={"num_predict": 20}
    )
    need("".join(chunk.message.content or "" for chunk in chunks))


@quick("ollama", "tools")
def ollama_tools(url: str, model: str) -> None:
    import ollama

    def add(a: int, b: int) -> int:
        """Add two integers.

        Args:
          a: the first
          b: the second
        """
        return a + b

    client, messages = ollama.Client(host=url), user(SUM)
    options = {"temperature": 0, "num_predict": TOKENS}
    said = client.chat(model=model, messages=messages, tools=[add], options=options).message
    (call,) = said.tool_calls
    messages += [said, {"role": "tool", "tool_name": "add", "content": str(add(**call.function.arguments))}]
    need("42" in client.chat(model=model, messages=messages, tools=[add], options=options).message.content)


@quick("ollama", "structured")
def ollama_structured(url: str, model: str) -> None:
    import ollama
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    found = ollama.Client(host=url).chat(
        model=model,
        messages=user(PERSON),
        format=Person.model_json_schema(),
        options={"temperature": 0, "num_predict": TOKENS},
    )
    need(Person.model_validate_json(found.message.content))


# anthropic


def anthropic_client(url: str) -> Any:
    import anthropic

    return anthropic.Anthropic(base_url=url, api_key="none", timeout=300)


ADD_HERE = {
    "name": "add",
    "description": ADD["function"]["description"],
    "input_schema": ADD["function"]["parameters"],
}


@quick("anthropic", "chat")
def anthropic_chat(url: str, model: str) -> None:
    client, asked = anthropic_client(url), {"model": model, "messages": user(QUESTION)}
    found = client.messages.create(system="Be brief.", max_tokens=20, **asked)
    need(found.content[0].text and found.stop_reason in ("end_turn", "max_tokens"), found)
    # of a prompt's tokens those that another answer has left in the cache are counted apart
    counted = found.usage.input_tokens + (found.usage.cache_read_input_tokens or 0)
    need(client.messages.count_tokens(system="Be brief.", **asked).input_tokens == counted, found)


@quick("anthropic", "stream")
def anthropic_stream(url: str, model: str) -> None:
    with anthropic_client(url).messages.stream(model=model, messages=user(QUESTION), max_tokens=20) as stream:
        text = "".join(stream.text_stream)
        need(text and text == stream.get_final_message().content[0].text)


@quick("anthropic", "tools")
def anthropic_tools(url: str, model: str) -> None:
    client, messages = anthropic_client(url), user(SUM)
    for n in range(3):
        asked = {"model": model, "messages": messages, "tools": [ADD_HERE], "max_tokens": TOKENS}
        if n % 2:
            said = client.messages.create(**asked)
        else:
            with client.messages.stream(**asked) as stream:
                said = stream.get_final_message()
        if said.stop_reason != "tool_use":
            break
        calls = [block for block in said.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": str(call.input["a"] + call.input["b"])}
            for call in calls
        ]
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
    need(len(messages) > 2 and messages[2]["content"][0]["content"] == "42", messages)
    need("42" in said.content[0].text, said)


@quick("anthropic", "structured")
def anthropic_structured(url: str, model: str) -> None:
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    found = anthropic_client(url).messages.parse(
        model=model, messages=user(PERSON), output_format=Person, max_tokens=TOKENS
    )
    need(isinstance(found.parsed_output, Person), found)


def main() -> int:
    client, feature, url, model = sys.argv[1:]
    function = TABLE.get((client, feature))
    if function is None:
        return ABSENT
    function(url, model)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
