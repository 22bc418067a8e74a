"""One way of writing what LaTeX writes in several, so that equal answers are equal texts.

Source: what is taken for the same answer in MATH (Hendrycks et al. 2021, arXiv:2103.03874, its grader) and by Lewkowycz
et al. 2022, arXiv:2206.14858, appendix D.1. Nothing is calculated: 2/4 is not 1/2.
"""

from __future__ import annotations

import re
from typing import Any

_CHANGES: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\n|\\[!,;: ]|~", " "),
        (r"\\\\", r"\\"),
        (r"\\[dt]frac", r"\\frac"),
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])", ""),
        (r"\^\{\\circ\}|\^\\circ(?![A-Za-z])|\\?[$%]", ""),
        (r"(?<=\S)(?:\s+\\(?:text|mbox|mathrm)\{|\\(?:text|mbox|mathrm)\{\s)[^{}]*\}(?:\^\{?\d\}?)?\s*$", ""),  # a unit
        (r"\\(?:text|mbox|textbf|mathrm|mathbf)\{([^{}]*)\}", r"\1"),
        (r"(?<![\d.])\.(?=\d)", "0."),
        (r"^\s*\w{1,2}\s*=(?=[^=]+$)", ""),  # x = …
        (r"\s+", ""),
        (r"\\sqrt(\w)", r"\\sqrt{\1}"),
        (r"\\frac(?:\{([^{}]*)\}|([^\W_]))(?:\{([^{}]*)\}|([^\W_]))", r"\\frac{\1\2}{\3\4}"),
        (r"^(-?)(\d+)/(\d+)$", r"\1\\frac{\2}{\3}"),
        (r"^(-?)0\.50*$", r"\1\\frac{1}{2}"),
        (r"^-?\d{1,3}(?:,\d{3})+(?:\.\d+)?$", lambda number: number[0].replace(",", "")),
        (r"\.$", ""),
    )
]


def plain(text: str) -> str:
    """`text` without spaces, units, signs of money and layout, with fractions and roots written in full."""
    for pattern, by in _CHANGES:
        text = pattern.sub(by, text)
    return text
