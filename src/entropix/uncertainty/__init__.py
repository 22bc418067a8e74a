"""How unsure an answer is: the field's estimators under the field's names. docs/uncertainty.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from entropix.errors import PluginError
from entropix.registry import Registry
from entropix.types import SearchRecord, Step
from entropix.uncertainty.base import Estimator, Needs
from entropix.uncertainty.fields import Field, Fields, fields_of
from entropix.uncertainty.options import EnumOptions, options_of
from entropix.uncertainty.readings import Observed, Reading, StepsReading, branch_readings, observed
from entropix.uncertainty.spans import Spans, TextSpan, doubtful, spans_of

ESTIMATORS: Registry[type[Estimator]] = Registry("entropix.estimators", "estimator", Estimator)

BASELINES = ("length", "msp")
"""What a report always shows beside any other."""

__all__ = [
    "BASELINES",
    "ESTIMATORS",
    "EnumOptions",
    "Estimator",
    "Field",
    "Fields",
    "Needs",
    "Observed",
    "Reading",
    "Spans",
    "StepsReading",
    "TextSpan",
    "Uncertainties",
    "branch_readings",
    "doubtful",
    "estimate",
    "fields_of",
    "observed",
    "options_of",
    "read_off",
    "spans_of",
]


def estimate(name: str, seen: Observed) -> float | None:
    """The uncertainty by the estimator of this name; None where something that it needs is not known. Raises
    ParameterError for a name that there is not, PluginError for a broken package's."""
    return ESTIMATORS.find(name)().estimate(seen)


def read_off(
    text: str,
    steps: Sequence[Step],
    ended: str,
    search: SearchRecord | None = None,
    extract: Callable[[str], str | None] | None = None,
    assessed: float | None = None,
) -> dict[str, Any]:
    """What `Result` has that is read off its text and steps: uncertainties and spans when they are first asked for,
    fields of an answer that has ended. The arguments are those of `observed`."""
    return {
        "uncertainties": Uncertainties(lambda: observed(steps, ended, search, extract, assessed)),
        "fields": fields_of(text, steps, search) if ended else None,
        "spans": Spans(lambda: spans_of(text, steps)),
    }


class Uncertainties(Mapping[str, float]):
    """An answer's uncertainties by the name of the estimator; those that it does not know enough for are absent.

    Nothing is computed before it is asked for, and everything once. make: what the estimators read."""

    def __init__(self, make: Callable[[], Observed]) -> None:
        self._make = make
        self._seen: Observed | None = None
        self._known: dict[str, float | None] = {}

    def _value(self, name: str) -> float | None:
        if name not in self._known:
            if self._seen is None:
                self._seen = self._make()
            self._known[name] = estimate(name, self._seen)
        return self._known[name]

    def __getitem__(self, name: str) -> float:
        """Raises KeyError where the estimator is unknown, or has no value for this answer."""
        value = self._value(name) if name in ESTIMATORS else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        for name in ESTIMATORS:
            try:
                known = self._value(name)
            except PluginError:  # its name says so when it is asked for
                continue
            if known is not None:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as the values: what they were read off need not be picklable."""
        return dict, (dict(self),)
