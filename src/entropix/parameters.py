"""Parameters of policies and strategies: declared with a range and a line of help, checked, described, parsed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entropix.closest import closest, did_you_mean
from entropix.errors import ParameterError
from entropix.numeric import plain

OPTIONS = (
    "max_tokens",
    "seed",
    "stop",
    "policy",
    "search",
    "effort",
    "constraint",
    "filters",
    "repetition",
    "attention",
)
"""Options of an answer, which stand beside the parameters of its policy."""
OTHERWISE = {
    **dict.fromkeys(
        ("max_new_tokens", "n_predict", "num_predict", "max_length", "max_completion_tokens"), "max_tokens"
    ),
    **dict.fromkeys(("stop_strings", "stop_sequences"), "stop"),
    **dict.fromkeys(("repeat_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty"), "repetition"),
    **dict.fromkeys(("json_schema", "response_format", "grammar", "regex", "schema"), "constraint"),
}
"""What others call them."""


def parameter(
    default: float | int | str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    doc: str,
    allowed: Sequence[str] = (),
    check: Callable[[Any], object] | None = None,
) -> Any:
    """A dataclass field that a person may set. doc: a line of documentation.

    low, high: the range of a number, ends included. allowed: the texts that are allowed, () for any. check: raises
    ParameterError for a wrong value, instead of the range."""
    return dataclasses.field(
        default=default, metadata={"low": low, "high": high, "doc": doc, "allowed": tuple(allowed), "check": check}
    )


def parameters(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """The parameters a person may set on a policy or a strategy, by name."""
    return {f.name: f for f in dataclasses.fields(kind) if "doc" in f.metadata}


def check_parameters(owner: Any) -> None:
    """Raise ParameterError unless every parameter of `owner`, a frozen dataclass with a `name`, has its type and lies
    in its range. Numbers of other libraries become Python's own."""
    for name, f in parameters(type(owner)).items():
        value = plain(getattr(owner, name))
        object.__setattr__(owner, name, value)
        if f.metadata["check"] is not None:
            f.metadata["check"](value)
        else:
            _check(owner.name, name, value, f)


def spec_of(owner: Any) -> str:
    """The text that names `owner`, a policy or a strategy: its name and every parameter that is not its default."""
    known = parameters(type(owner))
    changed = [f"{name}={getattr(owner, name)}" for name, f in known.items() if getattr(owner, name) != f.default]
    return str(owner.name) + (":" + ",".join(changed) if changed else "")


def _check(owner: str, name: str, value: Any, f: dataclasses.Field[Any]) -> None:
    low, high, texts = f.metadata["low"], f.metadata["high"], f.metadata["allowed"]
    if isinstance(f.default, str):
        if not isinstance(value, str):
            raise ParameterError(f"{owner}: {name}={value!r} is not a string")
        if texts and value not in texts:
            raise ParameterError(f"{owner}: {name}={value!r} is unknown; allowed are {', '.join(texts)}")
        return
    whole = isinstance(f.default, int)
    allowed = f"{'an integer' if whole else 'a number'} from {low:g} to {high:g}"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high or (whole and value != int(value)):
        raise ParameterError(f"{owner}: {name}={value!r} is out of range; allowed is {allowed}")


def fitted(owner: str, kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the parameters of `kind` take them: 1 for a string is "1", 1.0 for an integer is 1. owner: the name
    in messages. Raises ParameterError for a parameter that there is not."""
    known, found = parameters(kind), {}
    for name, given in values.items():
        if name not in known:
            raise ParameterError(
                f"{owner}: there is no parameter {name!r}; it has {', '.join(known) or 'none'}"
                f"{did_you_mean(name, known) or _option(name)}"
            )
        default, value = known[name].default, plain(given)
        if isinstance(default, str) and isinstance(value, (int, float)):
            value = str(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif isinstance(default, int) and isinstance(value, float) and value.is_integer():
            value = int(value)
        found[name] = value
    return found


def _option(name: str) -> str:
    """A hint for what is no parameter but an option beside it, or is called so elsewhere."""
    meant = OTHERWISE.get(name) or closest(name, OPTIONS)
    return f"; did you mean the option {meant}?" if meant else ""


def described(kind: type[Any]) -> dict[str, dict[str, Any]]:
    """The parameters of a policy or a strategy as JSON: default, low and high (None: without an end, or a string),
    allowed (texts; None for any) and doc."""
    return {
        name: {
            "default": f.default,
            "low": _end(f, "low"),
            "high": _end(f, "high"),
            "allowed": list(f.metadata["allowed"]) or None,
            "doc": f.metadata["doc"],
        }
        for name, f in parameters(kind).items()
    }


def _end(f: dataclasses.Field[Any], end: str) -> float | None:
    limit: float = f.metadata[end]
    return limit if math.isfinite(limit) and not isinstance(f.default, str) else None


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """A name and its parameters from text: "entropix" or "sample:temperature=0.7,top_p=0.9".

    Returns the name and the parameters, numbers where they look like numbers. Raises ParameterError."""
    name, _, rest = spec.partition(":")
    values: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ParameterError(f"{spec!r}: {pair!r} is not of the form parameter=value")
        if key.strip() in values:
            raise ParameterError(f"{spec!r}: {key.strip()} is given twice")
        values[key.strip()] = parse_value(value.strip())
    return name.strip(), values


def parse_value(text: str) -> int | float | str:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
