"""What is compared: a policy, perhaps with a search, under a name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropix.errors import ParameterError
from entropix.policies import Policy
from entropix.policies.baselines import Greedy
from entropix.sampling import Filters, Repetition, make_settings
from entropix.search import SearchPlan, make_search
from entropix.search.effort import LEVELS, check_effort, make_pool

KEYS = {"policy": str, "search": str, "filters": str, "max_tokens": int, "family": str}
EFFORT = "effort:"
"""Begins a search that is an effort: effort:LEVEL, or effort:LEVEL,ballots=N whose ballots move between the items."""
_NUMBERED = re.compile(r"(.*\S) +\d+", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """One way to decode. policy and search as in `Model.generate`, or a search "effort:LEVEL[,ballots=N]"; max_tokens
    0: that of the run. filters: filters and penalties under the policy, "typical=0.9,dry_multiplier=0.8". family: the
    specs that are one method at several costs, and so the points of one curve; "" for `family_of` the name."""

    name: str
    policy: str | Policy
    search: str | None = None
    max_tokens: int = 0
    family: str = ""
    filters: str = ""

    @classmethod
    def parse(cls, text: str) -> Spec:
        """ "POLICY", "POLICY + FILTERS", "POLICY | SEARCH" or "NAME = POLICY + FILTERS | SEARCH". Raises
        ParameterError."""
        name, named, rest = text.partition(" = ")
        if not named:
            name, rest = text, text
        policy, _, search = rest.partition("|")
        policy, plus, filters = policy.partition(" + ")
        if not policy.strip() or not name.strip() or (plus and not filters.strip()):
            raise ParameterError(
                f"{text!r} is not a spec; write POLICY, POLICY + FILTERS, POLICY | SEARCH or NAME = POLICY + FILTERS | "
                "SEARCH"
            )
        return cls(name.strip(), policy.strip(), search.strip() or None, filters=filters.strip())

    @property
    def settings(self) -> tuple[Filters, Repetition]:
        """Its filters and penalties. Raises ParameterError."""
        return make_settings(self.filters)

    @property
    def seeded(self) -> bool:
        """Whether another seed may give another text. Only of greedy decoding alone is it known that it does not."""
        greedy = self.policy == "greedy" or isinstance(self.policy, Greedy)
        return not greedy or bool(self.filters) or self.search is not None

    @property
    def effort(self) -> tuple[str, int | None] | None:
        """The level and the ballots per item, None for ballots that stay; None where it is no effort.

        Raises ParameterError."""
        if self.search is None or not self.search.startswith(EFFORT):
            return None
        level, *more = self.search.removeprefix(EFFORT).split(",")
        check_effort(level)
        if not more:
            return level, None
        name, _, number = more[0].partition("=")
        if name.strip() != "ballots" or len(more) > 1 or not number.strip().isdecimal():
            raise ParameterError(
                f"search {self.search!r} is not an effort; write effort:LEVEL or effort:LEVEL,ballots=N, with LEVEL of "
                + ", ".join(LEVELS)
            )
        make_pool(level, int(number))
        return level, int(number)

    def plan(self, budget: int | None) -> SearchPlan | None:
        """The search with the run's budget where it has none of its own; None for an effort too, whose vote is about
        one item (`Unit.plan`). Raises ParameterError."""
        if self.effort is not None:
            return None
        plan = make_search(self.search)
        if plan is None or not budget or plan.max_tokens:
            return plan
        return plan.within(budget)

    @property
    def branches(self) -> int:
        """Texts that it writes at a time for one item. Raises ParameterError."""
        if self.effort is not None:
            found = LEVELS[self.effort[0]]
            return 1 if found is None else found[0] + 1
        plan = self.plan(None)
        return 1 if plan is None else plan.max_sequences


def family_of(name: str) -> str:
    """The name without the integer that follows a space at its end: "vote 8" and "vote, 16" are of "vote". What is
    joined to its word, as in "entropix-2024" or "sample:temperature=0.7", says which method it is, not how much."""
    found = _NUMBERED.fullmatch(name)
    return found[1].rstrip(", ") if found else name


def read_specs(given: Sequence[str]) -> list[Spec]:
    """Specs from the command line: each is one spec, or a .toml file with a table a spec. Raises ParameterError."""
    specs: list[Spec] = []
    for text in given:
        specs += _from_toml(Path(text)) if text.endswith(".toml") else [Spec.parse(text)]
    names = [spec.name for spec in specs]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ParameterError(f"the spec {twice[0]!r} is given twice; names must differ")
    if not specs:
        raise ParameterError("there is nothing to compare; give at least one spec, such as greedy")
    for spec in specs:
        spec.plan(None)
        try:
            _ = spec.settings
        except ParameterError as error:
            raise ParameterError(f"spec {spec.name!r}: {error}") from None
    return specs


def _from_toml(path: Path) -> list[Spec]:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"specs {path} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"specs {path} is not TOML: {error}") from None
    specs = []
    for name, table in data.items():
        if not isinstance(table, dict) or not isinstance(table.get("policy"), str):
            raise ParameterError(f'specs {path}: [{name}] needs policy = "…"')
        unknown = sorted(set(table) - set(KEYS))
        if unknown:
            raise ParameterError(f"specs {path}: [{name}] has unknown {unknown[0]!r}; known are {', '.join(KEYS)}")
        for key, value in table.items():
            if not isinstance(value, KEYS[key]) or isinstance(value, bool):
                wanted = "an integer" if KEYS[key] is int else "a string"
                raise ParameterError(f"specs {path}: [{name}] {key} = {value!r} is not {wanted}")
        specs.append(Spec(name, **table))
    return specs
