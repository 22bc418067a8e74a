"""A policy of your own in one class: temperature falls as the model becomes unsure. docs/policies.md

python examples/own_policy.py [MODEL]"""

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import entropix
from entropix.arrays import namespace
from entropix.policies import Policy, parameter, sampled


@dataclass(frozen=True, kw_only=True)
class Cautious(Policy):
    """Temperature falls as the model becomes unsure."""

    name: ClassVar[str] = "cautious"
    summary: ClassVar[str] = "colder where the model is unsure"

    heat: float = parameter(0.8, 0.0, 2.0, doc="temperature where the model is sure")

    def decide(self, signals: Any, regime: Any, state: Any) -> Any:
        xp = namespace(signals.entropy)
        temperature = self.heat * xp.exp(-signals.entropy)
        return sampled(regime, like=signals.entropy, temperature=temperature, top_p=0.95), state


model = entropix.load(sys.argv[1] if len(sys.argv) > 1 else "smollm2")
result = model.generate(
    "Name three rivers.", policy=Cautious(thresholds=model.profile.thresholds, heat=1.0), seed=1, max_tokens=40
)
print(result.text)
for step in result.steps[:5]:
    print(f"{step.label!r:12} entropy {step.entropy:.2f} nats, temperature {step.temperature:.2f}")
