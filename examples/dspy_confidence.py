"""DSPy with a model that says how sure it is: typed outputs, kept by a schema and voted on, with the vote's confidence.

pip install dspy litellm
entropix serve &
python examples/dspy_confidence.py [http://127.0.0.1:8000/v1]"""

import sys

import dspy
import openai


class EntropixLM(dspy.LM):
    """DSPy does not know what a server of one's own can do: this one keeps to a schema."""

    supports_response_schema = True

    @property
    def supported_params(self) -> set[str]:
        return super().supported_params | {"response_format"}


url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
served = openai.OpenAI(base_url=url, api_key="none").models.list().data[0].id
effort = {"entropix": {"effort": "medium"}}
lm = EntropixLM(f"openai/{served}", api_base=url, api_key="none", max_tokens=60, seed=1, extra_body=effort, cache=False)
dspy.configure(lm=lm, adapter=dspy.JSONAdapter())
solve = dspy.Predict("question -> number: int")
for question in ("How many days are in a week?", "How many bones has an adult human?"):
    number = solve(question=question).number
    result = lm.history[-1]["response"].entropix["choices"][0]["result"]
    print(f"{question} {number} · {result['confidence']:.0%} sure: {result['confidence_source']}")
