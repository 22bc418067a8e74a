"""Filters and penalties in one text, as people write them."""

from __future__ import annotations

from dataclasses import fields

from entropix.errors import ParameterError
from entropix.parameters import fitted, parse_spec
from entropix.sampling.filters import Filters
from entropix.sampling.repetition import Repetition


def make_settings(text: str) -> tuple[Filters, Repetition]:
    """Filters and penalties from "typical=0.9,dry_multiplier=0.8": each goes where its name is known. Raises
    ParameterError."""
    names, penalties = ({f.name for f in fields(kind)} for kind in (Filters, Repetition))
    _, values = parse_spec(f"filters:{text}")
    unknown = [name for name in values if name not in names | penalties]
    if unknown:
        known = ", ".join(f.name for kind in (Filters, Repetition) for f in fields(kind))
        raise ParameterError(f"there is no filter or penalty {unknown[0]!r}; known are {known}")
    filters = {name: value for name, value in values.items() if name in names}
    rest = {name: value for name, value in values.items() if name in penalties}
    return Filters(**fitted("filters", Filters, filters)), Repetition(**fitted("filters", Repetition, rest))
