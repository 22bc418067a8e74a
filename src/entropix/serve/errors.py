"""Errors as OpenAI's clients know them, {"error": {"message", "type", "param", "code"}}, and as those of other APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from entropix.errors import ModelError

INVALID, AUTHENTICATION, LIMIT, SERVER = (
    "invalid_request_error",
    "authentication_error",
    "rate_limit_error",
    "server_error",
)


class ApiError(HTTPException):
    """An error with a message for the client. retry: after how many seconds it may try again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        retry: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        sent = dict(headers or {})
        if retry is not None:
            sent["Retry-After"] = str(max(round(retry), 1))
        super().__init__(status, message, headers=sent)
        self.record: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> Response:
        return Response(self.body, self.status_code, self.headers, media_type="application/json")

    @property
    def body(self) -> bytes:
        return json.dumps(self.record).encode()


ANTHROPICS = {
    401: AUTHENTICATION,
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: LIMIT,
    503: "overloaded_error",
}
"""What Anthropic's clients call an error with this status; 400 and 500 stand for the others."""


def _is_anthropics(path: str) -> bool:
    return path.startswith("/v1/messages")


def _is_ollamas(path: str) -> bool:
    return path.startswith("/api/")


def body_of(error: ApiError, path: str) -> bytes:
    """An error in the shape of the API that the path belongs to."""
    if _is_ollamas(path):
        return json.dumps({"error": error.detail}).encode()
    if _is_anthropics(path):
        kind = ANTHROPICS.get(error.status_code, INVALID if error.status_code < 500 else "api_error")
        return json.dumps({"type": "error", "error": {"type": kind, "message": error.detail}}).encode()
    return error.body


def framed(body: bytes, path: str) -> bytes:
    """An error's body as what ends a stream of that path."""
    if _is_ollamas(path):
        return body + b"\n"
    return (b"event: error\n" if _is_anthropics(path) else b"") + b"data: " + body + b"\n\n"


def response_of(error: ApiError, path: str) -> Response:
    """What an error is answered with at that path."""
    return Response(body_of(error, path), error.status_code, error.headers, media_type="application/json")


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The request itself is wrong."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, *, retry: float = 5, code: str = "unavailable") -> ApiError:
    """Nothing is wrong with the request, but it cannot be answered now."""
    return ApiError(503, message, kind=SERVER, code=code, retry=retry)


def failed(why: Exception | None = None) -> ApiError:
    """This one request broke something of ours. Only a fault of the model is named; others stand in the log."""
    reason = f": {why}" if isinstance(why, ModelError) else ""
    return ApiError(
        500, f"the server failed on this request; other requests are not affected{reason}", kind=SERVER, code="failed"
    )
