"""The same effort and searches over any server that speaks OpenAI's API and returns log-probabilities. docs/remote.md

entropix serve &
python examples/endpoint.py [http://127.0.0.1:8000/v1]"""

import sys

from entropix.remote import connect

endpoint = connect(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1")
result = endpoint.generate("What is 3 + 4?", effort="low", seed=1, max_tokens=40)
print(f"{result.answer} · {result.confidence:.0%} sure: {result.confidence_source}")
print(result.text)
