"""LangChain with a model that says how sure it is: an effort with every question, the confidence in the message.

pip install langchain-openai
entropix serve &
python examples/langchain_confidence.py [http://127.0.0.1:8000/v1]"""

import sys
from typing import Any

import openai
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI


class ChatEntropix(ChatOpenAI):
    """ChatOpenAI drops what it does not know of a response; this keeps what Entropix says of the answer."""

    def _create_chat_result(self, response: Any, generation_info: dict | None = None) -> ChatResult:
        made = super()._create_chat_result(response, generation_info)
        for generation, ours in zip(made.generations, response.entropix["choices"], strict=True):
            generation.message.response_metadata["entropix"] = ours
        return made


url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
served = openai.OpenAI(base_url=url, api_key="none").models.list().data[0].id
chat = ChatEntropix(base_url=url, api_key="none", model=served, seed=1, max_tokens=60, reasoning_effort="low")
chain = ChatPromptTemplate.from_template("What is {sum}?") | chat
for asked in ("3 + 4", "17 * 23"):
    message = chain.invoke({"sum": asked})
    vote = message.response_metadata["entropix"]["vote"]
    print(f"{asked}: {vote['answer']} · {vote['confidence']:.0%} sure: {vote['confidence_source']}")
