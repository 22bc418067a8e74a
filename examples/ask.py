"""A question, an answer, how sure it is and from what; and the same for several questions that share their texts.

python examples/ask.py [MODEL]"""

import sys

import entropix

model = entropix.load(sys.argv[1] if len(sys.argv) > 1 else "smollm2")
result = model.ask("What is 3 + 4?", "medium", seed=1, max_tokens=40)
print(f"{result.answer} · {result.confidence:.0%} sure: {result.confidence_source}")
if result.search is not None:
    for answer, share in result.search.shares.items():
        print(f"  {share:4.0%}  {answer}")

# four texts per question on average; questions on which the texts agree give theirs to those on which they do not
questions = ["How many days has a week?", "How many legs has a spider?", "What is 12 * 12?"]
for question, found in zip(questions, model.ask(questions, "low", ballots=4, seed=1, max_tokens=40), strict=True):
    texts = len(found.search.branches) if found.search else 1
    print(f"{question} {found.answer} · {found.confidence:.0%} sure, {texts} texts")
