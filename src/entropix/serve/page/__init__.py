"""The page that the server shows at "/": a chat beside the viewer of entropix.trace. Plain files, nothing is built."""

from __future__ import annotations

from pathlib import Path

from entropix.trace.html import VIEWER, shell

HERE = Path(__file__).parent
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Headers of every file: no script or style but the server's own, nothing loaded from elsewhere."""


def files() -> dict[str, tuple[str, bytes]]:
    """Every file of the page by its path on the server, as (media type, content).

    "/page/trace.html" is the document of a trace without its data, which the page's export fills in; it is sent as
    plain text, as it is not to be shown."""
    own = [path for path in HERE.iterdir() if path.suffix in TYPES and path.name != "index.html"]
    viewer = [path for path in VIEWER.iterdir() if not path.name.startswith("file.")]
    found = {f"/page/{path.name}": (TYPES[path.suffix], path.read_bytes()) for path in sorted([*own, *viewer])}
    found["/page/trace.html"] = ("text/plain; charset=utf-8", shell().encode())
    found["/"] = (TYPES[".html"], (HERE / "index.html").read_bytes())
    return found
