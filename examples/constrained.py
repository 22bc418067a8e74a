"""An answer that has to be JSON, in the form of a schema, and how likely its values were. docs/constraints.md

python examples/constrained.py [MODEL]        needs: pip install 'entropix-llm[llama,constrained]'"""

import json
import math
import sys

import entropix

model = entropix.load(sys.argv[1] if len(sys.argv) > 1 else "smollm2")
schema = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome", "Oslo"]}, "population": {"type": "integer", "maximum": 99999999}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
result = model.generate("Describe the capital of Norway as JSON.", constraint=schema, policy="greedy", max_tokens=60)
print(json.dumps(json.loads(result.text)))
for step in result.steps:
    if step.logprob is not None and step.logprob < math.log(0.9):
        print(f"{step.label!r:14} p = {math.exp(step.logprob):.2f}")
