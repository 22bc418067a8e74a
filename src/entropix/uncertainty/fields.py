"""How sure each value of a JSON answer is, in the shape of the value itself."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

from entropix.answers.spans import whole_steps
from entropix.types import SearchRecord, Step
from entropix.uncertainty.spans import ALTERNATIVES, first_step
from entropix.uncertainty.values import JsonValue, Path, blocks, same, scan

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
        """The one to rank by: the probability, with ballots times their share. docs/uncertainty.md has the reason."""
        if self.share is None or self.probability is None:
            return self.share if self.probability is None else self.probability
        return self.probability * self.share


class Fields:
    """An object or a list of an answer: its members by key or index, and by attribute where a key is a name.

    `fields["address"]["city"].probability`, `fields.tags[0].mass`. Iterating gives the keys of an object and the
    members of a list. `leaves()` has all values in the order of the text. A key that is the name of a method, as items
    or keys, is there by its key alone."""

    def __init__(self, members: Mapping[str | int, Node], is_list: bool = False) -> None:
        self._members, self._is_list = dict(members), is_list

    def __getitem__(self, key: str | int) -> Node:
        """Raises KeyError or IndexError for what the answer does not have there."""
        if self._is_list and isinstance(key, int):
            return list(self._members.values())[key]
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

    def keys(self) -> list[str | int]:
        return list(self._members)

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

    def moved(self, characters: int) -> Fields:
        """The same in a text that has so many more characters before this one."""
        made: dict[str | int, Node] = {}
        for key, node in self._members.items():
            if isinstance(node, Field):
                made[key] = replace(node, start=node.start + characters, end=node.end + characters)
            else:
                made[key] = node.moved(characters)
        return Fields(made, self._is_list)

    def record(self, make: Callable[[Field], Any]) -> Any:
        """The answer's own shape with `make` of each value in its place."""
        made = {k: make(n) if isinstance(n, Field) else n.record(make) for k, n in self._members.items()}
        return list(made.values()) if self._is_list else made


def fields_of(text: str, steps: Sequence[Step], search: SearchRecord | None = None) -> Fields | None:
    """The values of an answer that is JSON, alone or in its only fence; None for another. Of one that was cut off, the
    values that are whole. text: what the steps' texts join to; search: whose ballots give the shares. Time is linear in
    both."""
    where = blocks(text)
    if len(where) != 1:
        return None
    start = where[0][0]
    found = scan(text, *where[0], partial=True) or []
    ends = list(accumulate(len(step.text) for step in steps))
    shares = _shares(found, search)
    root = _Tree(text[start:].lstrip().startswith("["))
    for value in found:
        if value.path:  # nothing else is an empty answer
            empty = _Tree(isinstance(value.value, list))
            root.put(value.path, empty if value.is_empty else _field(value, text, steps, ends, shares.get(value.path)))
    return root.made()


def _field(value: JsonValue, text: str, steps: Sequence[Step], ends: Sequence[int], share: float | None) -> Field:
    # what ends it counts: the quote of a string, and of a number whatever says that no digit follows
    closed = isinstance(value.value, (str, int, float)) and not isinstance(value.value, bool)
    stop = min(value.end + closed, len(text))
    first, last = first_step(steps, ends, value.start), bisect_left(ends, stop)
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
    read = [{v.path: v.value for place in blocks(t)[:1] for v in scan(t, *place, partial=True) or ()} for t in texts]
    return {v.path: sum(v.path in r and same(r[v.path], v.value) for r in read) / len(read) for v in found}


@dataclass
class _Tree:
    """An object or a list while it is put together."""

    is_list: bool
    members: dict[str | int, _Tree | Field] = field(default_factory=dict)

    def put(self, path: Path, leaf: _Tree | Field) -> None:
        at = self
        for key, beneath in pairwise(path):
            inner = at.members.get(key)
            if not isinstance(inner, _Tree):
                inner = at.members[key] = _Tree(isinstance(beneath, int))
            at = inner
        at.members[path[-1]] = leaf

    def made(self) -> Fields:
        return Fields({k: m.made() if isinstance(m, _Tree) else m for k, m in self.members.items()}, self.is_list)


def field_record(found: Field) -> dict[str, Any]:
    """A field for a program in any language."""
    sure = ("confidence", "probability", "mass", "unconstrained", "share")
    names = ("value", *sure, "start", "end", "least", "least_probability")
    return {name: getattr(found, name) for name in names} | {
        "alternatives": [list(pair) for pair in found.alternatives]
    }
