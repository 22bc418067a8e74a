"""The report: a page that stands alone, says everything, and takes names and answers for what they are, text."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from entropix.evaluate import markdown, summarise
from entropix.evaluate.page import html

EVIL = '"><\ufffe<script>alert(1)</script> $\\frac{x$ & | `_` \x1b[31m\ud800 日本 😀\n| new row |'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Every element with its attributes, and the text; fails where an end does not fit its beginning."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outcome(spec: str, item: str, right: bool, n: int, **more: Any) -> dict[str, Any]:
    return {
        "task": "t",
        "item": item,
        "seed": 1,
        "spec": spec,
        "answer": "7" if right else EVIL,
        "gold": "7",
        "right": right,
        "any_right": right,
        "ballots": [],
        "tokens": 20,
        "forwarded": 40 + n,
        "unshared": 50,
        "ledger": {"shared": 0, "abandoned": 0},
        "seconds": 1.0,
        "branches": 1,
        "injected": n % 3,
        "departed": n % 5,
        "compared": 0,
        "regimes": {"flow": 0.5, "clarify": 0.0, "branch": 0.1 * (n % 2), "resample": 0.0, "adapt": 0.4},
        "signals": {"confidence": (n % 10) / 10, "length": -n, "sum of log-probabilities": -n / 3},
        **more,
    }


def vote(spec: str, item: str, n: int) -> dict[str, Any]:
    right = [(n + k) % 3 > 0 for k in range(4)]
    return outcome(
        spec,
        item,
        sum(right) > 2,
        n,
        ballots=["7" if r else "8" for r in right],
        ballot_right=right,
        ballot_tokens=[30 + k for k in range(4)],
        ballot_ends=["end"] * 4,
        independent=True,
        forwarded=40 + sum(range(30, 34)),
        branches=4,
    )


ITEMS = [f"{n}{EVIL}" for n in range(12)]
OUTCOMES = [
    o
    for n, item in enumerate(ITEMS)
    for o in (
        outcome("greedy", item, n % 2 == 0, n),
        outcome(EVIL, item, n % 3 == 0, n),
        outcome("_hidden", item, n % 4 == 0, 9 * n),
        vote("vote 4", item, n),
    )
]
MANIFEST = {
    "model": EVIL,
    "versions": "entropix 0.1.0, Python 3",
    "profile": "p",
    "tasks": {"t": {"extractor": "number", "split": "test", "source": EVIL}},
    "specs": {s: {"policy": "greedy", "search": None, "max_tokens": 0} for s in ("greedy", EVIL, "_hidden", "vote 4")},
    "commands": [f"entropix eval t --compare greedy {EVIL}"],
}


@pytest.fixture(scope="module")
def text() -> str:
    return html(summarise(OUTCOMES), MANIFEST)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_loads_nothing_and_runs_nothing(text: str, page: Page) -> None:
    assert not {"script", "link", "iframe", "img", "image", "object"} & {tag for tag, _ in page.elements}
    targets = [a[name] for _, a in page.elements for name in ("href", "src", "xlink:href") if name in a]
    assert {t for t in targets if not t.startswith("#")} == {"report.md", "outcomes.jsonl", "run.json"}
    assert all(t.startswith("#") for t in re.findall(r"url\(([^)]*)\)", text))
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_names_and_answers_are_text(text: str, page: Page) -> None:
    shown = EVIL.replace("\x1b", "\\x1b").replace("\ud800", "\\ud800")
    for where in (f"entropix eval t --compare greedy {shown}", f"0{shown}", "_hidden"):
        assert where in page.text
    assert page.text.count(shown) > 20
    assert "\x1b" not in text
    text.encode("utf-8")


def test_ids_are_unique_and_every_reference_has_its_target(text: str, page: Page) -> None:
    """Inline figures share the page's ids: a clip path or marker of one must not be taken for another's."""
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    references = [a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")]
    references += re.findall(r"url\(#([^)]*)\)", text)
    references += [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    assert set(references) <= set(ids)
    assert len(references) > 100


def test_every_figure_has_words_and_follows_the_page_s_colours(text: str, page: Page) -> None:
    figures = [a for a in page.all("div") if a.get("role") == "img"]
    assert len(figures) == len(page.all("svg")) == 6
    assert all(len(a["aria-label"]) > 20 for a in figures)
    assert len(page.all("table")) == len(page.all("caption")) > 8
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "currentColor" in svg
    assert not re.findall(r"#0[0-9]0[0-9]0[0-9]|#000000|#ffffff", svg)
    assert "prefers-color-scheme: dark" in text


def test_every_table_of_the_markdown_is_on_the_page(page: Page) -> None:
    lines = markdown(summarise(OUTCOMES), MANIFEST).splitlines()
    rows = [n for n, line in enumerate(lines) if line.startswith("|---")]
    assert len(rows) == len(page.all("table")) - 3  # those of items that were helped or hurt are on the page alone
    for n in rows:
        assert lines[n - 3].removesuffix(":").replace("&lt;", "<").replace("&amp;", "&") in page.text
        width = lines[n].count("---")
        for line in lines[n - 1 :]:
            if not line:
                break
            assert len(re.findall(r"(?<!\\)\|", line)) == width + 1, line


def test_the_page_is_the_same_to_the_byte(text: str) -> None:
    assert html(summarise([dict(o) for o in OUTCOMES]), json.loads(json.dumps(MANIFEST))) == text


@pytest.mark.parametrize(
    "outcomes",
    [
        [outcome("a", "1", True, 1)],
        [outcome(s, "1", s == "a", 1) for s in "ab"],
        [outcome(s, str(n), True, n) for n in range(5) for s in "ab"],
        [outcome(s, str(n), False, n, answer=None) for n in range(5) for s in "ab"],
        [vote(f"vote {s}", "1", 1) for s in (4, 8)] + [outcome("a", "1", True, 1)],
        [
            outcome(s, str(n), n % 2 > 0, n, tokens=0, regimes={}, seed=k)
            for n in range(3)
            for s in "ab"
            for k in (1, 2)
        ],
    ],
    ids=["one answer", "one item", "all right", "no answer", "curve of one item", "seeds, no tokens"],
)
@pytest.mark.filterwarnings("error")
def test_a_run_with_little_in_it_is_reported(outcomes: list[dict[str, Any]]) -> None:
    summary = summarise(outcomes)
    page = Page(html(summary, {}))
    assert "nan" not in page.text
    assert "nan" not in markdown(summary, {})
    assert page.all("svg")


def test_an_outcome_of_an_older_version_is_reported() -> None:
    new = ("departed", "compared", "ballot_right", "ballot_tokens", "ballot_ends", "independent")
    summary = summarise([{k: v for k, v in o.items() if k not in new} for o in OUTCOMES])
    assert not summary.tasks[0].points
    assert {e.kind for e in summary.tasks[0].effects} == {"injected tokens", "share of tokens in branch or resample"}
    Page(html(summary, MANIFEST))


def test_regimes_are_weighed_by_tokens() -> None:
    regimes = {"flow": 1.0, "clarify": 0.0, "branch": 0.0, "resample": 0.0, "adapt": 0.0}
    long = outcome("a", "1", True, 0, tokens=30, regimes=regimes)
    short = outcome("a", "2", True, 0, tokens=10, regimes={**regimes, "flow": 0.0, "adapt": 1.0})
    (row,) = summarise([long, short]).rows
    assert row.regimes["flow"] == (0.75, 0.5)
    assert row.regimes["adapt"] == (0.25, 0.5)
    assert row.regimes["branch"] == (0.0, 0.0)


def test_without_matplotlib_there_is_markdown_and_a_word_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from entropix.cli.eval import report
    from entropix.cli.output import Screen

    (tmp_path / "run.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(o) + "\n" for o in OUTCOMES))
    for name in ("entropix.evaluate.page", "entropix.evaluate.figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report(tmp_path, None, Screen("never")) == 0
    assert (tmp_path / "report.md").exists()
    assert not (tmp_path / "report.html").exists()
    shown = capsys.readouterr()
    assert "no report.html: it needs matplotlib; install it with: pip install 'entropix-llm[eval]'" in shown.err
    assert "greedy" in shown.out


def test_a_signal_that_some_answers_lack_ranks_none() -> None:
    """Self-assessment has no value for an answer that was not among those shown to the model."""
    found = [outcome("greedy", item, n % 2 == 0, n) for n, item in enumerate(ITEMS)]
    found[0]["signals"] = {**found[0]["signals"], "self-assessment": 0.5}
    (row,) = summarise(found).rows
    assert set(row.auroc) == {"confidence", "length", "sum of log-probabilities"}
