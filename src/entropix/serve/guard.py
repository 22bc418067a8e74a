"""Who may ask: keys, hosts, origins; and what every answer says about itself. Plain ASGI, so it costs no chunk much."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections import Counter
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entropix.serve.errors import AUTHENTICATION, ApiError, response_of
from entropix.serve.settings import Settings

log = logging.getLogger("entropix.serve")

OPEN = frozenset({"/", "/health", "/ready", "/openapi.json"})
"""Paths that need no key, beside the page's files: nothing there shows a prompt or an answer."""

PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Paths that machines ask every few seconds: a log of them would hide what people ask."""

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BODY_SECONDS = 60.0
"""Seconds a client may take to send a request."""

ONCE = ("host", "origin", "authorization", "x-api-key", "content-type", "content-length", "content-encoding")
"""Headers of which a second one could be read by a proxy where the first is read here."""

HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class AccessGuard:
    """Checks host, origin and key before anything else happens, and logs every answer without what was said in it.

    `requests` counts answers by (path, status), paths that do not exist as one. `scope["state"]["client"]` names who
    asks, for fairness; `scope["state"]["log"]` takes what else the log line should hold. relays: an answer that comes
    with a number is another process's, which has logged it."""

    def __init__(self, app: ASGIApp, settings: Settings, paths: frozenset[str], *, relays: bool = False) -> None:
        self.app, self.settings, self.paths, self.relays = app, settings, paths, relays
        self.requests: Counter[tuple[str, int]] = Counter()
        self._keys = [hashlib.sha256(key.encode()).digest() for key in settings.keys]
        self._local = settings.is_local and not settings.keys
        self._hosts = LOCAL_NAMES | {settings.host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0
        relayed = False
        facts: dict[str, object] = {}
        number = secrets.token_hex(8)
        scope.setdefault("state", {})["log"] = facts
        # the answer to HEAD is that to GET; the protocol leaves the body out
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def answer(message: Message) -> None:
            nonlocal status, relayed
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                relayed = self.relays and "x-request-id" in headers
                if not relayed:
                    headers["x-request-id"] = number
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                scope["state"]["client"] = self._admit(scope)
            except ApiError as error:
                await response_of(error, scope["path"])(scope, receive, answer)
            else:
                await self.app(asked, _bounded(receive, self.settings.max_body), answer)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.requests[path, status] += 1
            fields = {"event": "request", "id": number, "method": scope["method"], "path": path, "status": status}
            seconds = round(time.perf_counter() - began, 4)
            if not relayed:
                level = logging.DEBUG if path in PROBES else logging.INFO
                log.log(level, "request", extra={**fields, "seconds": seconds, **facts})

    def _admit(self, scope: Scope) -> str:
        """Who asks. Raises ApiError for those who may not."""
        headers = Headers(scope=scope)
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise ApiError(400, f"the request has several {name} headers; allowed is one")
        host = headers.get("host", "")
        if self._local and _name(host) not in self._hosts:
            # a page of another site whose name was made to point here (DNS rebinding) would come with that name
            raise ApiError(
                403,
                f"this server answers to the names of this machine only ({', '.join(sorted(self._hosts))}), "
                "not to the Host header of this request",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self.settings.origins and urlsplit(origin).netloc != host:
            raise ApiError(
                403,
                "pages of this origin may not ask here; the server allows origins with --allow-origin",
                code="origin_not_allowed",
            )
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self.settings.max_body:
            raise _too_large(self.settings.max_body)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise ApiError(
                415,
                f"the body comes with Content-Encoding: {encoding}, and this server takes none; send it uncompressed",
                code="unsupported_content_encoding",
                headers={"Accept-Encoding": "identity"},
            )
        peer = scope.get("client")
        client = peer[0] if peer else ""
        if not self._keys:
            return client
        key = self._key(headers)
        if key is None and scope["method"] != "OPTIONS" and not _open(scope["path"]):
            came = "authorization" in headers or "x-api-key" in headers
            given = "the API key is not right" if came else "an API key is needed"
            raise ApiError(
                401,
                f"{given}; send it as the header: Authorization: Bearer KEY",
                kind=AUTHENTICATION,
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return client if key is None else f"key {key}"

    def _key(self, headers: Headers) -> int | None:
        """The number of the key that a request brings, as OpenAI's clients do or as Anthropic's. All keys are compared,
        each in constant time."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if not scheme and "x-api-key" in headers:
            scheme, key = "bearer", headers["x-api-key"]
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for number, known in enumerate(self._keys):
            if hmac.compare_digest(digest, known):
                found = number
        return found if scheme.lower() == "bearer" else None


def with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """`app`, also for the pages of other origins that the settings name."""
    if not settings.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # clients add their own, such as x-stainless-os; the origin is what is checked
        expose_headers=["x-request-id", "retry-after", "www-authenticate"],
    )


def _open(path: str) -> bool:
    return path in OPEN or path.startswith("/page/")


def _name(host: str) -> str:
    """The name in a Host header, without the port; "" where there is no name."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@\s]+))(?::\d*)?", host)
    return (found[1] or found[2]).lower() if found else ""


def _bounded(receive: Receive, most: int) -> Receive:
    """`receive` that takes only so large a body, and waits only so long for it; afterwards it waits for the client to
    go, as long as that takes. Raises ApiError."""
    until = time.monotonic() + BODY_SECONDS
    left = most
    whole = False

    async def bounded() -> Message:
        nonlocal whole, left
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), until - time.monotonic())
        except TimeoutError:
            raise ApiError(408, f"the request's body did not come within {BODY_SECONDS:g} s", code="timeout") from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(most)
        whole = not message.get("more_body", False)
        return message

    return bounded


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the request is too large; allowed are {most} bytes", code="request_too_large")
