"""Steps and results ↔ JSON objects, as they stand in a trace and in `--json` output."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from entropix.types import Action, BranchRecord, Candidate, Ledger, Regime, Result, SearchRecord, Step, Thresholds

if TYPE_CHECKING:
    from entropix.uncertainty import TextSpan

DIGITS = 6
"""Significant digits of the numbers in a record."""

THRESHOLDS = ("entropy_low", "entropy_high", "varentropy_low", "varentropy_high")

# valid in a JSON string, but not in UTF-8 (lone surrogates), or not safe to show (C1, line separators)
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def to_json(record: Mapping[str, Any]) -> str:
    """One line of valid JSON: non-ASCII kept, lone surrogates escaped, NaN and infinities as null."""
    text = json.dumps(_plain(record), ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if kind is float:
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if kind is list or kind is tuple:
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return _plain(_builtin(value))


def _builtin(value: Any) -> Any:
    """The built-in value that stands for `value`, such as the number in a NumPy scalar."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return str(value)


def step_record(step: Step) -> dict[str, Any]:
    """Every field of a step; regime and action by name, leading as [token, label, before, after]."""
    record = {f.name: getattr(step, f.name) for f in fields(Step)}
    record["regime"] = step.regime.label
    record["action"] = step.action.name.lower()
    record["attention"] = None if step.attention is None else list(step.attention)
    record["drawn"] = list(step.drawn)
    record["leading"] = [list(candidate) for candidate in step.leading]
    return record


def result_record(result: Result) -> dict[str, Any]:
    """What is known about an answer beside its steps."""
    from entropix.uncertainty.fields import field_record  # loads NumPy, which printing a message must not wait for

    return {
        "text": result.text,
        "finish_reason": result.finish_reason,
        "seed": result.seed,
        "reproducible": result.reproducible,
        "policy": result.policy,
        "profile": result.profile,
        "model": result.model,
        "prompt_tokens": result.prompt_tokens,
        "ledger": {**asdict(result.ledger), "forwarded": result.ledger.forwarded},
        "uncertainty": result.uncertainty,
        "uncertainty_source": result.uncertainty_source,
        "token_uncertainty": result.token_uncertainty,
        "uncertainties": dict(result.uncertainties),
        "spans": [span_record(span) for span in result.spans],
        "fields": None if result.fields is None else result.fields.record(field_record),
        "surprisal": result.surprisal,
        "mean_entropy": result.mean_entropy,
        "regime_shares": result.regime_shares,
        "seconds": result.seconds,
        "notes": list(result.notes),
        "confidence": result.confidence,
        "calibrated": result.calibrated,
        "calibration": result.calibration,
        "abstained": result.abstained,
        "risk_bound": result.risk_bound,
        "confidence_source": result.confidence_source,
        "search": None if result.search is None else search_record(result.search),
    }


def span_record(span: TextSpan) -> dict[str, Any]:
    """A span with its characters and steps; alternatives as [label, p]."""
    record = {f.name: getattr(span, f.name) for f in fields(span)}
    return {**record, "alternatives": [list(pair) for pair in span.alternatives]}


def search_record(search: SearchRecord) -> dict[str, Any]:
    """A search with every branch and its own steps."""
    record = {f.name: getattr(search, f.name) for f in fields(SearchRecord)}
    record["branches"] = [
        {**{f.name: getattr(b, f.name) for f in fields(BranchRecord)}, "steps": [step_record(s) for s in b.steps]}
        for b in search.branches
    ]
    return record


def search_from(record: Mapping[str, Any]) -> SearchRecord:
    """The search that `search_record` wrote. Raises ValueError as `step_from` does."""
    shares = record.get("shares") or {}
    if not isinstance(shares, Mapping):
        raise ValueError("'shares' is not an object")
    return SearchRecord(
        spec=_text(record, "spec"),
        branches=tuple(_branch_from(b) for b in _list(record, "branches", ())),
        shares={str(a): _number(s, "shares") for a, s in shares.items()},
        confidence=_real(record, "confidence"),
        answer=None if record.get("answer") is None else _text(record, "answer"),
        ballots=_whole(record, "ballots", 0),
        notes=tuple(str(note) for note in _list(record, "notes", ())),
        agreeing=_whole(record, "agreeing", 0),
        stopped=record.get("stopped") is True,
    )


def _branch_from(record: Any) -> BranchRecord:
    if not isinstance(record, Mapping):
        raise ValueError("'branches' has an entry that is not an object")
    return BranchRecord(
        number=_whole(record, "number"),
        parent=_whole(record, "parent", None),
        origin=_whole(record, "origin"),
        opened=_text(record, "opened"),
        ended=_text(record, "ended"),
        steps=tuple(step_from(step) for step in _list(record, "steps", ())),
        text=_text(record, "text"),
        score=_real(record, "score"),
        answer=None if record.get("answer") is None else _text(record, "answer"),
        weight=_real(record, "weight"),
        kept=record.get("kept") is True,
        before=_whole(record, "before", None),
    )


def step_from(record: Mapping[str, Any]) -> Step:
    """The step that `step_record` wrote. Raises ValueError naming the field that is missing or wrong."""
    attention = _list(record, "attention", None)
    leading = _list(record, "leading", ())
    return Step(
        index=_whole(record, "index"),
        position=_whole(record, "position"),
        token=_whole(record, "token"),
        label=_text(record, "label"),
        text=_text(record, "text"),
        regime=_member(record, "regime", Regime),
        action=_member(record, "action", Action),
        entropy=_real(record, "entropy"),
        varentropy=_real(record, "varentropy"),
        attention=None if attention is None else tuple(_number(a, "attention") for a in attention),
        temperature=_real(record, "temperature"),
        top_k=_whole(record, "top_k", None),
        top_p=_real(record, "top_p"),
        min_p=_real(record, "min_p"),
        candidates=_whole(record, "candidates", 1),
        logprob=_real(record, "logprob"),
        rank=_whole(record, "rank", None),
        drawn=tuple(_integer(d, "drawn") for d in _list(record, "drawn", ())),
        horizon=_whole(record, "horizon", None),
        leading=tuple(_candidate(c) for c in leading),
        truncated=_whole(record, "truncated", None),
        mass=_real(record, "mass"),
        adaptive=_real(record, "adaptive"),
    )


def result_from(record: Mapping[str, Any], header: Mapping[str, Any], steps: tuple[Step, ...]) -> Result:
    """The result that `result_record` wrote, with its steps. Raises ValueError as `step_from` does."""
    from entropix.uncertainty import Spans, fields_of, spans_of

    ledger = record.get("ledger") or {}
    if not isinstance(ledger, Mapping):
        raise ValueError("'ledger' is not an object")
    uncertainties = record.get("uncertainties") or {}
    if not isinstance(uncertainties, Mapping):
        raise ValueError("'uncertainties' is not an object")
    text, search = _text(record, "text"), _search(record.get("search"))
    return Result(
        text=text,
        finish_reason=_text(record, "finish_reason"),
        tokens=tuple(step.token for step in steps),
        prompt_tokens=_whole(record, "prompt_tokens", 0),
        steps=steps,
        ledger=Ledger(**{f.name: _whole(ledger, f.name, 0) for f in fields(Ledger)}),
        seed=_whole(record, "seed", 0),
        policy=_text(record, "policy", str(header.get("policy") or "")),
        profile=_text(record, "profile", str(header.get("profile") or "")),
        model=_text(record, "model", str(header.get("model") or "")),
        seconds=_real(record, "seconds") or 0.0,
        notes=tuple(str(note) for note in _list(record, "notes", ())),
        search=search,
        thresholds=thresholds_from(header),
        calibrated=_real(record, "calibrated"),
        calibration=_text(record, "calibration", ""),
        abstained=record.get("abstained") is True,
        risk_bound=_real(record, "risk_bound"),
        reproducible=record.get("reproducible") is True,
        fields=fields_of(text, steps, search) if record.get("fields") is not None else None,
        spans=Spans(lambda: spans_of(text, steps)),
        uncertainties={str(name): _number(value, "uncertainties") for name, value in uncertainties.items()},
    )


def thresholds_record(thresholds: Thresholds | None) -> dict[str, float] | None:
    """Where the regimes begin, as it stands in a header: the four numbers that every policy reads."""
    return None if thresholds is None else {name: getattr(thresholds, name) for name in THRESHOLDS}


def thresholds_from(header: Mapping[str, Any]) -> Thresholds | None:
    """The thresholds in a header, None where it has none. Raises ValueError as `step_from` does."""
    record = header.get("thresholds")
    if record is None:
        return None
    given = [record.get(name) for name in THRESHOLDS] if isinstance(record, Mapping) else [None]
    if any(value is None for value in given):
        raise ValueError(f"'thresholds' is not an object with the numbers {', '.join(THRESHOLDS)}")
    h_low, h_high, v_low, v_high = (_number(value, "thresholds") for value in given)
    return Thresholds(h_low, h_high, v_low, v_high)


def _search(value: Any) -> SearchRecord | None:
    if value is not None and not isinstance(value, Mapping):
        raise ValueError("'search' is not an object")
    return None if value is None else search_from(value)


_REQUIRED: Any = object()


def _field(record: Mapping[str, Any], name: str, default: Any) -> Any:
    if name in record:
        return record[name]
    if default is _REQUIRED:
        raise ValueError(f"{name!r} is missing")
    return default


def _text(record: Mapping[str, Any], name: str, default: Any = _REQUIRED) -> str:
    value = _field(record, name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is not a string")
    return value


def _whole(record: Mapping[str, Any], name: str, default: Any = _REQUIRED) -> Any:
    value = _field(record, name, default)
    return value if value is None and default is None else _integer(value, name)


def _integer(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name!r} is not an integer")
    return value


def _real(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    return None if value is None else _number(value, name)


def _number(value: Any, name: str) -> float:
    """A number; null stands for one that was not finite."""
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name!r} is not a number")
    return float(value)


def _list(record: Mapping[str, Any], name: str, default: Any) -> Any:
    value = record.get(name)
    if value is None:
        return default
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is not a list")
    return value


def _member(record: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = _text(record, name)
    try:
        return kind[value.upper()]
    except KeyError:
        known = ", ".join(member.name.lower() for member in kind)
        raise ValueError(f"{name!r} is {value!r}; known are {known}") from None


def _candidate(value: Any) -> Candidate:
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[1], str):
        raise ValueError("'leading' has an entry that is not [token, label, before, after]")
    token, label, before, after = value
    return Candidate(_integer(token, "leading"), label, _number(before, "leading"), _number(after, "leading"))
