"""The report as one self-contained HTML page. Needs jinja2 and matplotlib."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

from entropix.evaluate.figures import SERIES, pictures
from entropix.evaluate.report import GUIDE, described, facts, heading, left_out, tables, title
from entropix.evaluate.store import MANIFEST, OUTCOMES
from entropix.evaluate.summary import Summary
from entropix.trace.terminal import visible

MOST_FLIPS = 100
"""Items listed of each comparison; the outcomes beside the page hold all."""


def html(summary: Summary, manifest: dict[str, Any], stem: str = "report") -> str:
    """The report as an HTML page, the same to the byte for the same run. It loads nothing. stem: of its file's name."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("entropix.evaluate", "."),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = []
    for n, task in enumerate(summary.tasks, 1):
        drawn = [(p, Markup(p.svg)) for p in pictures(task, f"task-{n}")]
        sections.append(
            {"id": f"task-{n}", "task": task, "heading": heading(task), "figures": drawn, "tables": [*tables(task)]}
        )
    page = environment.get_template("page.html.jinja")
    return page.render(
        title=title(manifest),
        facts=facts(manifest),
        described=described(manifest),
        commands=manifest.get("commands", []),
        left_out=left_out(summary),
        sections=sections,
        guide=GUIDE,
        series=SERIES,
        most_flips=MOST_FLIPS,
        files=(f"{stem}.md", OUTCOMES, MANIFEST),
    )
