"""Two ways to decode one prompt: where they part, and what the model saw there.

python examples/compare.py [MODEL]"""

import sys

import entropix

model = entropix.load(sys.argv[1] if len(sys.argv) > 1 else "smollm2")
prompt = "Why is the sky blue?"
greedy, ours = (model.generate(prompt, policy=name, seed=1, max_tokens=48) for name in ("greedy", "entropix"))
pairs = zip(greedy.tokens, ours.tokens, strict=False)
parted = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(greedy.tokens), len(ours.tokens)))
print(f"the same for {parted} tokens: {ours.text[:60]!r} …")
if parted < len(ours.steps):
    step = ours.steps[parted]
    print(f"then {step.label!r}, regime {step.regime.label}, entropy {step.entropy:.2f} nats; the likeliest were:")
    for candidate in step.leading[:4]:
        print(f"  {candidate.label!r:14} p = {candidate.before:.2f}")
for name, result in (("greedy", greedy), ("entropix", ours)):
    print(f"{name}: {len(result.tokens)} tokens, {result.surprisal:.1f} nats, {result.token_uncertainty:.0%} unsure")
