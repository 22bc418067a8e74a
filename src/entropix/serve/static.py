"""The page at / and its files: what `entropix.serve.page` has, and nothing else."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response

from entropix.serve.errors import ApiError
from entropix.serve.page import SECURITY, files


def add_page(app: FastAPI) -> None:
    """Routes for the page. Its files are read once."""
    found = files()

    def answer(path: str) -> Response:
        if path not in found:
            raise ApiError(404, "the page has no such file")
        kind, content = found[path]
        return Response(content, media_type=kind, headers=SECURITY)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return answer("/")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str) -> Response:
        return answer(f"/page/{name}")
