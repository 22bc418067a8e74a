"""Answers formatted as Markdown: every token stays in its place, and of text comes nothing but text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from entropix.trace.html import VIEWER

MOUNT = """(pieces) => import("/page/text.js").then(({ Text }) => {
  const text = new Text();
  text.format(true);
  const signals = { regime: "flow", entropy: 1, action: "sample", logprob: -1 };
  const step = (piece) => ({ text: piece, label: piece || "<end>", ...signals });
  text.show(pieces.map(step), "", new Map());
  document.querySelector("#shown")?.remove();
  document.body.append(Object.assign(document.createElement("div"), { id: "shown" }));
  document.querySelector("#shown").append(text.node);
  window.text = text;
})"""


@pytest.fixture
def formatted(visit: Callable[..., Any], double: Any) -> Callable[..., Any]:
    """Shows tokens as Markdown, and gives the element that holds them."""
    seen = visit(double.address)

    def show(*pieces: str) -> Any:
        seen.page.evaluate(MOUNT, list(pieces))
        return seen.page.locator("#shown .exv-text")

    return show


def tokens(text: str, size: int = 3) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


SHAPE = """(node) => {
  const of = (node) => [...node.childNodes].map((child) => {
    if (child.nodeType === 3 || child.classList.contains("t")) return child.textContent;
    const tag = child.tagName.toLowerCase();
    return `<${tag}>${of(child)}</${tag}>`;
  }).join("");
  return of(node);
}"""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** c", "<p>a <strong>b</strong> c</p>"),
        ("a *b* _c_ a_b_c 2 * 3", "<p>a <em>b</em> <em>c</em> a_b_c 2 * 3</p>"),
        ("***b***", "<p><strong><em>b</em></strong></p>"),
        ("`a *b*` ``c`d``", "<p><code>a *b*</code> <code>c`d</code></p>"),
        ("# One\ntwo", "<h3>One</h3><p>two</p>"),
        ("1. a\n2. b\n   - c", "<ol><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li></ol>"),
        ("- a\n- b\n\nend", "<ul><li><p>a</p></li><li><p>b</p></li></ul><p>end</p>"),
        ("> a\n> b", "<blockquote><p>a\nb</p></blockquote>"),
        ("```py\na = *1*\n```\nb", "<pre><code>a = *1*\n</code></pre><p>b</p>"),
        ("```\nnot closed", "<pre><code>not closed</code></pre>"),
        (
            "|a|b|\n|-|-|\n|1|**2**|",
            "<table><thead><tr><th>a</th><th>b</th></tr></thead>"
            "<tbody><tr><td>1</td><td><strong>2</strong></td></tr></tbody></table>",
        ),
        (r"\*a\* **b", "<p>*a* **b</p>"),
        ("~~a~~", "<p><del>a</del></p>"),
        ("[a *b*](http://x.y)", "<p><span>a <em>b</em></span></p>"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_formats_are_elements_however_the_text_is_cut_into_tokens(
    formatted: Callable[..., Any], text: str, html: str, size: int
) -> None:
    assert formatted(*tokens(text, size)).evaluate(SHAPE) == html


def test_every_token_with_a_letter_can_be_pointed_at_where_it_stands(formatted: Callable[..., Any]) -> None:
    text = "# A list\n\n1. **bold** and `code`\n2. *more*\n\n| a | b |\n|---|---|\n| c | d |\n"
    pieces = tokens(text, 4)
    shown = formatted(*pieces)
    indices = {int(i) for i in shown.locator(".t").evaluate_all("all => all.map((t) => t.dataset.i)")}
    assert {n for n, piece in enumerate(pieces) if any(c.isalpha() for c in piece)} <= indices
    order = shown.locator(".t").evaluate_all("all => all.map((t) => Number(t.dataset.i))")
    assert order == sorted(order)


def test_a_token_across_formats_has_several_elements_that_light_up_together(formatted: Callable[..., Any]) -> None:
    shown = formatted("one **two", "** three")
    assert shown.locator("[data-i='0']").all_inner_texts() == ["one ", "two"]
    assert shown.page.evaluate("window.text.pieces(0).length") == 2
    shown.page.evaluate("window.text.mark(0, 'differs')")
    assert shown.locator(".differs").count() == 2
    shown.page.evaluate("window.text.format(false)")
    assert shown.locator(".differs").count() == 1, "a mark stays when the text is drawn anew"


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "[a](javascript:alert(1)) ![b](http://x/y.png) <a href='javascript:alert(2)'>c</a>",
        "```\n</code></pre><script>alert(1)</script>\n```",
        "| <b>a</b> |\n|-|\n| <svg onload=alert(1)> |",
        '[x](" onmouseover=alert(1) a=")',
    ],
)
def test_markup_and_addresses_of_a_model_are_text(formatted: Callable[..., Any], text: str) -> None:
    shown = formatted(*tokens(text))
    assert shown.locator("img, script, svg, a, b, iframe").count() == 0
    attributes = shown.locator("*").evaluate_all("all => all.flatMap((n) => [...n.attributes].map((a) => a.name))")
    assert not [name for name in attributes if name.startswith("on") or name in ("href", "src")]


@pytest.mark.parametrize(
    "text",
    [
        "*a **b " * 4000,
        "[" * 30_000,
        "`a ``b " * 5000,
        "> " * 10_000,
        "- " * 10_000,
        "|" * 10_000 + "\n|-|\n",
        "_a __b* " * 4000,
    ],
)
def test_hostile_text_is_read_in_linear_time(formatted: Callable[..., Any], text: str) -> None:
    shown = formatted("x")
    code = """(text) => import("/page/markdown.js").then(({ markdown }) => {
      const took = (source) => { const t = performance.now(); markdown(source); return performance.now() - t; };
      took(text);
      return [took(text.slice(0, text.length / 4)), took(text)];
    })"""
    quarter, whole = shown.page.evaluate(code, text)
    assert whole < 16 * max(quarter, 30), "four times the text takes far less than sixteen times as long"


def test_the_files_that_this_needs_are_served() -> None:
    assert {"markdown.js", "text.js", "space.js"} <= {path.name for path in VIEWER.iterdir()}
