"""The page at / and its files: served as they lie in `page/`, with nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response

from entropix.serve.errors import ApiError

FOLDER = Path(__file__).parent / "page"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def add_page(app: FastAPI) -> None:
    """Routes for the page."""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return page_file("index.html")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str) -> Response:
        return page_file(name)


def page_file(name: str) -> Response:
    """A file of the page. Raises ApiError for anything else, also for a path that leads out of the folder."""
    path = (FOLDER / name).resolve()
    if not path.is_relative_to(FOLDER.resolve()) or path.suffix not in TYPES or not path.is_file():
        raise ApiError(404, "the page has no such file")
    headers = {"content-security-policy": POLICY, "cache-control": "no-store" if path.suffix == ".html" else "no-cache"}
    return FileResponse(path, media_type=TYPES[path.suffix], headers=headers)
