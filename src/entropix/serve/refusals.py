"""What is wrong with a request's body, in words: of everything that the schema finds, what helps most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from entropix.serve.errors import ApiError, invalid, response_of
from entropix.serve.schema import NEUTRAL

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")

KINDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


MEDIA = ("image", "input_image", "input_audio", "input_file", "audio", "video", "file", "document")
"""How the types of parts begin that are no text."""


async def on_invalid(request: Request, error: Exception) -> Response:
    """The first thing that is wrong with a body, where it stands and what is allowed there."""
    assert isinstance(error, RequestValidationError)
    return response_of(refused(list(error.errors()), error.body), request.url.path)


def validated(kind: type[T], body: Mapping[str, Any], names: Mapping[str, str] | None = None) -> T:
    """A request of another API, put into the form of `kind`. names: what its fields are called there. Raises ApiError
    as for a body that came in this form."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        errors = [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        raise refused(errors, body, names) from None


def named(read: Callable[[], R], names: Mapping[str, str]) -> R:
    """What `read` reads of a request of another API. names: what its fields are called there, for an ApiError."""
    try:
        return read()
    except ApiError as error:
        told = error.record["error"]
        name = names.get(told["param"] or "")
        if name is None:
            raise
        message = f"{name}: {told['message'].removeprefix(told['param'] + ': ')}"
        kind, code = told["type"], told["code"]
        raise ApiError(error.status_code, message, kind=kind, param=name, code=code, headers=error.headers) from None


def refused(errors: Sequence[Mapping[str, Any]], body: Any, names: Mapping[str, str] | None = None) -> ApiError:
    """The first thing that is wrong with a body. names: what its fields are called where it came from."""
    # of what a field can be, the kind that was given has the error that helps
    same = [e for e in errors if e["loc"][:2] == errors[0]["loc"][:2]]
    helpful = [e for e in same if not e["type"].endswith("_type")] or same
    first = max(helpful, key=lambda e: len(_place(e, body)))
    place = _place(first, body)
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        at = first["loc"][-1]
        where = f", at character {at}" if isinstance(at, int) else ""
        return invalid(f"the body is not JSON: {reason}{where}")
    param = ".".join(map(str, place)) or None
    if not place and first["type"] != "missing":
        return invalid("the body is no JSON object; send one, with Content-Type: application/json")
    if first["type"] == "extra_forbidden":
        if len(place) == 1 and place[0] in NEUTRAL:
            return invalid(f"{param}: this server does not support it; leave it out", param)
        return invalid(f"{param}: unknown field; leave it out", param, "unknown_field")
    words = _words(first, [e for e in same if _place(e, body) == place])
    name = (names or {}).get(str(place[0])) if place else None
    if name is not None:
        return invalid(f"{name}: {words} ({param})", name)
    return invalid(f"{param or 'the body'}: {words}", param)


def _words(error: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """What is allowed where `error` is. alike: the errors of everything that could stand there."""
    kind, given = error["type"], error.get("ctx", {})
    if kind in KINDS:
        kinds = dict.fromkeys(KINDS[e["type"]] for e in alike if e["type"] in KINDS)
        return f"it must be {' or '.join(kinds)}"
    if kind == "missing":
        return "it is missing and needed"
    if kind == "literal_error":
        return f"allowed is {given['expected']}{_reads_text(error.get('input'))}"
    if kind == "union_tag_invalid":
        tag = given["tag"]
        return f"the type {tag!r} is unknown; allowed are {given['expected_tags']}{_reads_text(tag)}"
    if kind == "union_tag_not_found":
        return "it needs a type"
    if kind == "too_short":
        return f"it has {given['actual_length']} items; at least {given['min_length']} is needed"
    if kind == "too_long":
        return f"it has too many items; at most {given['max_length']} are allowed"
    if kind == "string_too_short":
        return f"it is too short; at least {given['min_length']} character is needed"
    if kind == "greater_than_equal":
        return f"it must be at least {given['ge']}"
    if kind == "less_than_equal":
        return f"it must be at most {given['le']}"
    return str(error["msg"])


def _reads_text(kind: Any) -> str:
    return "; this server reads text only" if isinstance(kind, str) and kind.startswith(MEDIA) else ""


def _place(error: Mapping[str, Any], body: Any) -> list[Any]:
    """Where an error stands in the body, without what pydantic calls the kinds that a field can be."""
    place: list[Any] = []
    parts = error["loc"][1:]
    for n, part in enumerate(parts, 1):
        if isinstance(body, dict) and (part in body or (error["type"] == "missing" and n == len(parts))):
            place.append(part)
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            place.append(part)
            body = body[part]
    return place
