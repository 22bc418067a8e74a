"""One way of writing what LaTeX writes in several, so that equal answers are equal texts.

Source: what is taken for the same answer in MATH (Hendrycks et al. 2021, arXiv:2103.03874, its grader) and by Lewkowycz
et al. 2022, arXiv:2206.14858, appendix D.1. Decimals are fractions in lowest terms; fractions are not reduced, since a
question may ask for that: 2/4 is not 1/2.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

LONGEST = 2000
"""A longer box only loses its spaces: nothing of that length is compared as mathematics."""

FULL_WIDTH = {sign + 0xFEE0: chr(sign) for sign in range(0x21, 0x7F)}
"""Letters, digits and signs of East Asian width, by their numbers → those of ASCII."""

_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge "}
    | FULL_WIDTH
    | {"½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}"}
)


def _sorted_set(match: re.Match[str]) -> str:
    return "\\{" + ",".join(sorted(match[1].split(","))) + "\\}"


def _mixed(match: re.Match[str]) -> str:
    sign, whole, above, below = match.groups()
    return f"{sign}\\frac{{{int(whole) * int(below) + int(above)}}}{{{below}}}"


def _rational(match: re.Match[str]) -> str:
    value = Fraction(match[0])
    sign = "-" if value < 0 else ""
    above, below = abs(value.numerator), value.denominator
    return f"{sign}{above}" if below == 1 else f"{sign}\\frac{{{above}}}{{{below}}}"


_CHANGES: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"√(\w)", r"\\sqrt{\1}"),
        (r"\{([,.])\}", r"\1"),
        (r"\n|\\[!,;: ]|~", " "),
        (r"\\\\", r"\\"),
        (r"\\[dt]frac", r"\\frac"),
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])", ""),
        (r"\\(le|ge|ne)q(?![A-Za-z])", r"\\\1"),
        (r"\^\{\\circ\}|\^\\circ(?![A-Za-z])|\\?[$%]", ""),
        (r"(?<=\S)(?:\s+\\(?:text|mbox|mathrm)\{|\\(?:text|mbox|mathrm)\{\s)[^{}]*\}(?:\^\{?\d\}?)?\s*$", ""),  # a unit
        (r"(?<=\d)\\(?:text|mbox|mathrm)\{[A-Za-z/]{1,12}\}(?:\^\{?\d\}?)?\s*$", ""),
        (r"\\(?:text|mbox|textbf|textrm|mathrm|mathbf)\{([^{}]*)\}", r"\1"),
        (r"(?<![\d.])\.(?=\d)", "0."),
        (r"^\s*\w{1,2}\s*(?:=(?=[^=]+$)|\\in(?![A-Za-z]))", ""),  # x = …, x \in …
        (r"\s+", ""),
        (r"\\sqrt(\w)", r"\\sqrt{\1}"),
        (r"([_^])\{(\w)\}", r"\1\2"),
        (r"^(-?\d{1,40}(?:\.\d{1,40})?)\\(?:times|cdot)10\^\{?(-?\d{1,2})\}?$", r"\1e\2"),
        (r"^\+(?=[\d\\.])", ""),
        (r"^(-?)0+(?=\d)", r"\1"),
        (r"\\frac(?:\{([^{}]*)\}|([^\W_]))(?:\{([^{}]*)\}|([^\W_]))", r"\\frac{\1\2}{\3\4}"),
        (r"\\frac\{-([^{}+-]+)\}\{([^{}+-]+)\}|\\frac\{([^{}+-]+)\}\{-([^{}+-]+)\}", r"-\\frac{\1\3}{\2\4}"),
        (r"^(-?)(\d{1,40})\\frac\{(\d{1,40})\}\{(\d{1,40})\}$", _mixed),
        (r"^(-?)(\d+)/(\d+)$", r"\1\\frac{\2}{\3}"),
        (r"^-?\d{1,3}(?:,\d{3})+(?:\.\d+)?$", lambda number: number[0].replace(",", "")),
        (r"\.$", ""),
        (r"^-?\d{1,300}(?:\.\d{1,300}(?:e-?\d{1,2})?|e-?\d{1,2})$", _rational),
        (r"^\(([A-Za-z])\)$", r"\1"),
        (r"^\\\{([^{}()\[\]]*)\\\}$", _sorted_set),
    )
]


def plain(text: str) -> str:
    """`text` without spaces, units, signs of money and layout, with fractions and roots written in full."""
    if len(text) > LONGEST:
        return "".join(text.split())
    text = text.translate(_SIGNS)
    before = ""
    while text != before and len(text) <= LONGEST:  # a change may uncover what an earlier one changes
        before = text
        for pattern, by in _CHANGES:
            text = pattern.sub(by, text)
    return text
