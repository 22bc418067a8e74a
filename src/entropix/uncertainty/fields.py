"""How sure each value of a JSON answer is, in the shape of the value itself."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeAlias

from entropix.answers.spans import whole_steps
from entropix.types import SearchRecord, Step
from entropix.uncertainty.spans import ALTERNATIVES
from entropix.uncertainty.values import JsonValue, Path, scan

Node: TypeAlias = "Field | Fields"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a JSON answer.

    start, end: its characters in the text, of a string those between its quotes. probability: Π p of its tokens under
    the constraint, up to the one that ends it; a token that the constraint forces counts 1. mass: the least share of
    the model's own probability that the constraint has left at one of them; where that is small the value looks sure
    only because the grammar left no other way. unconstrained: Π p without the constraint; both None where no constraint
    was kept. least, least_probability, alternatives: its least likely token and what else was likely there. share: how
    many of the ballots have the same value here, None without a vote. probability is None for injected text."""

    path: Path
    value: Any
    start: int
    end: int
    probability: float | None
    mass: float | None = None
    unconstrained: float | None = None
    least: str = ""
    least_probability: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    share: float | None = None

    @property
    def confidence(self) -> float | None:
        """The one to rank by: the share where there were ballots, else the probability."""
        return self.probability if self.share is None else self.share


class Fields:
    """An object or a list of an answer: its members by key or index, and by attribute where a key is a name.

    `fields["address"]["city"].probability`, `fields.tags[0].mass`. Iterating gives the keys of an object and the
    members of a list. `leaves()` has all values in the order of the text. An empty object or list has no value, and
    stands nowhere."""

    def __init__(self, members: Mapping[str | int, Node], is_list: bool = False) -> None:
        self._members, self._is_list = dict(members), is_list

    def __getitem__(self, key: str | int) -> Node:
        if self._is_list and isinstance(key, int) and key < 0:
            key += len(self._members)
        return self._members[key]

    def __getattr__(self, name: str) -> Node:
        if name.startswith("_") or name not in self._members:
            raise AttributeError(
                f"the answer has no field {name!r}; it has {', '.join(map(str, self._members)) or 'none'}"
            )
        return self._members[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members.values() if self._is_list else self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def items(self) -> list[tuple[str | int, Node]]:
        return list(self._members.items())

    def __repr__(self) -> str:
        return repr(list(self._members.values()) if self._is_list else self._members)

    def leaves(self) -> list[Field]:
        """All values, in the order of the text."""
        found = []
        for node in self._members.values():
            found += [node] if isinstance(node, Field) else node.leaves()
        return found

    def record(self, make: Callable[[Field], Any]) -> Any:
        """The answer's own shape with `make` of each value in its place."""
        made = {k: make(n) if isinstance(n, Field) else n.record(make) for k, n in self._members.items()}
        return list(made.values()) if self._is_list else made


def fields_of(text: str, steps: Sequence[Step], search: SearchRecord | None = None) -> Fields | None:
    """The values of a JSON answer; None for a text that is no object or list. Of one that was cut off, the values that
    are whole. text: what the steps' texts join to; search: whose ballots give the shares. Time is linear in both."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    found = scan(text, partial=True) or []
    ends = list(accumulate(len(step.text) for step in steps))
    shares = _shares(found, search)
    leaves = [_field(value, text, steps, ends, shares.get(value.path)) for value in found]
    root = _Tree(text.lstrip().startswith("["))
    for leaf in leaves:
        root.put(leaf)
    return root.made()


def _field(value: JsonValue, text: str, steps: Sequence[Step], ends: Sequence[int], share: float | None) -> Field:
    # what ends it counts: the quote of a string, and of a number whatever says that no digit follows
    closed = isinstance(value.value, (str, int, float)) and not isinstance(value.value, bool)
    stop = min(value.end + closed, len(text))
    first, last = bisect_right(ends, value.start), bisect_left(ends, stop)
    if value.start == value.end:  # an empty string is the token of its second quote
        first = last
    inside = steps[first : last + 1]
    own = [s for s in inside if s.logprob is not None]
    if not own:
        return Field(value.path, value.value, value.start, value.end, None, share=share)
    least = min(own, key=lambda s: s.logprob or 0.0)
    total = math.fsum(s.logprob or 0.0 for s in own)
    masses = [s.mass for s in own if s.mass is not None]
    whole = len(masses) == len(own)
    free = total + math.fsum(math.log(m) if m > 0 else -math.inf for m in masses)
    return Field(
        path=value.path,
        value=value.value,
        start=value.start,
        end=value.end,
        probability=math.exp(min(total, 0.0)),
        mass=min(masses) if masses else None,
        unconstrained=math.exp(min(free, 0.0)) if whole else None,
        least=least.label,
        least_probability=math.exp(min(least.logprob or 0.0, 0.0)),
        alternatives=tuple((c.label, c.before) for c in least.leading if c.token != least.token)[:ALTERNATIVES],
        share=share,
    )


def _shares(found: Sequence[JsonValue], search: SearchRecord | None) -> dict[Path, float]:
    """Of each path how many of the ballots have the value there that the answer has."""
    if search is None or search.ballots < 2:
        return {}
    whole = zip(search.branches, whole_steps(search.branches), strict=True)
    texts = ["".join(s.text for s in steps) for b, steps in whole if b.weight is not None]
    read = [{v.path: json.dumps(v.value) for v in scan(text, partial=True) or ()} for text in texts]
    return {v.path: sum(r.get(v.path) == json.dumps(v.value) for r in read) / len(read) for v in found}


@dataclass
class _Tree:
    """An object or a list while it is put together."""

    is_list: bool
    members: dict[str | int, _Tree | Field] = field(default_factory=dict)

    def put(self, leaf: Field) -> None:
        at = self
        for n, key in enumerate(leaf.path[:-1]):
            inner = at.members.get(key)
            if not isinstance(inner, _Tree):
                inner = at.members[key] = _Tree(isinstance(leaf.path[n + 1], int))
            at = inner
        at.members[leaf.path[-1]] = leaf

    def made(self) -> Fields:
        return Fields({k: m.made() if isinstance(m, _Tree) else m for k, m in self.members.items()}, self.is_list)


def field_record(found: Field) -> dict[str, Any]:
    """A field for a program in any language."""
    names = ("value", "probability", "mass", "unconstrained", "share", "start", "end", "least", "least_probability")
    return {name: getattr(found, name) for name in names} | {
        "alternatives": [list(pair) for pair in found.alternatives]
    }
