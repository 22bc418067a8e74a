"""A trace as one HTML document: the viewer, its style and the data in one file that loads nothing from elsewhere.

The view is viewer/*.js and viewer.css, which the server's page uses as they are; here they are only put together.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import html
import os
import re
from pathlib import Path

from entropix.errors import TraceError
from entropix.trace.jsonl import Answer, Trace
from entropix.trace.records import result_record, step_record, thresholds_record, to_json
from entropix.types import Result

VIEWER = Path(__file__).parent / "viewer"
# each imports only from those before it, so that one after the other they are one module
MODULES = (
    "tokens.js",
    "markdown.js",
    "text.js",
    "charts.js",
    "space.js",
    "spans.js",
    "detail.js",
    "summary.js",
    "viewer.js",
    "file.js",
)
DATA = "{trace}"
"""Where the data stands in the document of `shell`."""
FRAME_HEIGHT = 760


def shell() -> str:
    """The document without its data: `DATA` stands once where the escaped JSON belongs."""
    read = {name: (VIEWER / name).read_text(encoding="utf-8") for name in (*MODULES, "viewer.css", "file.html")}
    script = "\n".join(_one_module(read[name]) for name in MODULES)
    style = read["viewer.css"]
    parts = {"style": style, "script": script, "style-hash": _hash(style), "script-hash": _hash(script), "trace": DATA}
    return re.sub(r"\{([a-z-]+)\}", lambda match: parts[match[1]], read["file.html"])


def document(trace: Trace) -> str:
    """A trace, with all its answers, as an HTML document."""
    header = {key: value for key, value in trace.header.items() if key not in ("schema", "kind", "prompts")}
    answers = [
        {
            "index": answer.index,
            "prompt": answer.prompt,
            "steps": [step_record(step) for step in answer.steps],
            "result": None if answer.result is None else result_record(answer.result),
        }
        for answer in trace.answers
    ]
    data = to_json({"header": header, "answers": answers, "problems": list(trace.problems)})
    # inside <script> only markup could end the data, and markup begins with <
    return shell().replace(DATA, data.replace("<", "\\u003c"))


def result_document(result: Result) -> str:
    """One answer as an HTML document."""
    header = {
        "model": result.model,
        "policy": result.policy,
        "profile": result.profile,
        "seed": result.seed,
        "thresholds": thresholds_record(result.thresholds),
    }
    return document(Trace(header, (Answer(0, None, result.steps, result),)))


def result_frame(result: Result) -> str:
    """One answer for a notebook: the document in a frame, so that neither page's styles reach the other."""
    content = html.escape(result_document(result), quote=True)
    return (
        f'<iframe srcdoc="{content}" sandbox="allow-scripts" title="entropix answer" width="100%" '
        f'height="{FRAME_HEIGHT}" frameborder="0"></iframe>'
    )


def write_document(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace as an HTML file; an older file of that name is replaced, but only by a whole one.

    Raises TraceError where it cannot be written."""
    target = Path(path)
    # a device or a pipe is written to, not replaced
    partial = target if target.exists() and not target.is_file() else target.with_name(f"{target.name}.partial")
    try:
        partial.write_text(document(trace), encoding="utf-8")
        if partial is not target:
            partial.replace(target)
    except OSError as error:
        if partial is not target:
            partial.unlink(missing_ok=True)
        hint = "there is no such folder; create it first" if error.errno == errno.ENOENT else None
        reason = hint or (error.strerror or str(error)).lower()
        raise TraceError(f"cannot write the page {os.fspath(path)!r}: {reason}") from None


def _one_module(source: str) -> str:
    """A module's code for one script with the others: names are shared there, so nothing is imported or exported."""
    return re.sub(r"^export (?=\w)|^import .*\n", "", source, flags=re.MULTILINE)


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
