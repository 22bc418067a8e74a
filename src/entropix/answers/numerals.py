"""Numbers as texts write them, and the one form in which two of them are compared.

One form: a decimal without separators, trailing zeros and exponent where it is exact (3/4, ½, .750 and 7.5e-1 are
"0.75"), else a fraction in lowest terms ("1/3"), beyond 60 digits "1.5e100". A ratio is "3:2", in lowest terms. Every
pattern is bounded, so that reading takes time in proportion to the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import pairwise
from math import gcd

MOST_DIGITS = 400
"""A longer run of digits is no number that anyone answers."""

_EXACT = Context(prec=4 * MOST_DIGITS)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SCALE = {"hundred": 2, "thousand": 3, "lakh": 5, "crore": 7, "million": 6, "billion": 9, "trillion": 12}
_MYRIADS = {"万": 4, "萬": 4, "만": 4, "億": 8, "亿": 8, "억": 8}
_LETTERS = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9}
_POWERS = _LETTERS | _MYRIADS
_SPACE = "[ \u00a0\u2009\u202f\u2007]"
MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
"""A pattern of the months' names in full and cut."""
_LATEX = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"(?<=\d)(?:\{,\}|\\!,|,\\!)(?=\d)", ","),
        (r"(?<=\d)(?:\\[,:;! ]|~|\{\\,\})(?=\d)", "\u2009"),
        (r"\\([$%#])", r"\1"),
        (r"\\[dt]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:times|cdot)(?![A-Za-z])", "×"),
        (r"\\approx(?![A-Za-z])", "≈"),
        (r"\\frac(\d)(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (
            r"(\b(?:probability|chances?|likelihood|odds)\b[^.\d\n]{0,60})(\d{1,6}) (?:out of|in) (?:every )?(\d{1,6})",
            r"\1\2/\3",
        ),
        (r"(\d{1,6}) (?:out of|in) (?:every )?(\d{1,6})(?=(?: or \S{1,8})? (?:chance|probability))", r"\1/\2"),
        (r"\A\s*(\d{1,6}) (?:out of|in) (\d{1,6})[.\s]*\Z", r"\1/\2"),
        (r"(\bratio\b[^.\d\n]{0,60}\d{1,9}) to (?=\d)", r"\1:"),
        (r"\\pm(?![A-Za-z])", "±"),
        (r"(?<![\d.)}\]])(\s?)±\s?(\d{1,9}(?:\.\d{1,9})?)", r"\1\2 or -\2"),
        (r"[\u066b](?=\d)", "."),
        (r"(?<=\d)[\u066c，](?=\d)", ","),
        (r"(?<=\d)．(?=\d)", "."),
        (r"(?<=\d)\*\*(?=-?\d)", "^"),
        (r"(?<![\d.,/])(\d{1,9}) and (?:a|one)[ -]half\b", r"\1.5"),
        (r"[﹣－](?=[\d$€£¥.])", "-"),
        (r"(?<!\w)__(?=\S)([^_\n]{1,200})(?<=\S)__(?!\w)", r"**\1**"),  # bold
    )
]
_COMMA_LANGUAGE = re.compile(
    r"\b(?:antwort|ergebnis|lösung|beträgt|betragen|lautet|insgesamt|kostet|kosten|sind|macht|resposta|custa|custam|são"
    r"|risposta|risultato|sono|costa|costano|antwoord|kost|jawaban|adalah|cevap|toplam|svaret|är)\b",
    re.IGNORECASE,
)
_POINT_OF_THOUSANDS = re.compile(r"(?<![\d.,])([1-9]\d{0,2})\.(\d\d0)(?![\d.,]\d|\d)")
"""With a last 0, which a decimal seldom has: 3.142 stays as it is."""
_EUROS = re.compile(_POINT_OF_THOUSANDS.pattern + r"(?=\s?(?:€|euros?\b))", re.IGNORECASE)
_WHOLE = (
    rf"\d{{1,3}}(?:,\d{{3}}){{1,160}}(?![\d])(?:\.\d{{1,{MOST_DIGITS}}})?"  # 1,234,567.5
    rf"|\d{{1,2}}(?:,\d\d){{1,40}},\d{{3}}(?!\d|,\d)(?:\.\d{{1,{MOST_DIGITS}}})?"  # 1,00,000
    rf"|\d{{1,3}}(?:['’]\d{{3}}){{1,160}}(?!\d)(?:[.,]\d{{1,{MOST_DIGITS}}})?"  # 1'234
    rf"|\d{{1,3}}(?:_\d{{3}}){{1,160}}(?![\d_])"  # 1_234
    rf"|\d{{1,3}}(?:\.\d{{3}}){{2,160}}(?![\d.]*\d)(?:,\d{{1,{MOST_DIGITS}}})?"  # 1.234.567
    rf"|\d{{1,3}}(?:\.\d{{3}}){{1,160}},\d{{1,{MOST_DIGITS}}}(?![\d,])"  # 1.234,5
    rf"|(?<!\d{_SPACE})[1-9]\d{{0,2}}(?:{_SPACE}\d{{3}}){{1,160}}(?!\d|{_SPACE}?\d|[/:]\d)(?:[.,]\d{{1,{MOST_DIGITS}}})?"
    rf"|(?<!\d,)\d{{1,{MOST_DIGITS}}},(?:\d{{1,2}}|\d{{4,{MOST_DIGITS}}}|(?<=\b0,)\d{{3}})(?![\d,])(?!\.\d)"  # 12,5
    rf"|\d+(?:\.\d+)?|(?<![\d.…])\.\d+"
)
_TOKEN = re.compile(
    rf"""
    (?P<other>                                                                # digits that are no number
        \b0x[\da-f]{{1,16}}\b | \bhttps?://[!-~]{{1,400}}
      | \b(?:v|(?:version|release|section|chapter)\ )\d{{1,4}}(?:\.\d{{1,4}}){{1,4}}\b
      | (?<![\d.,])(?!\d{{1,3}}(?:\.\d{{3}}){{1,9}}(?![\d.]))(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?!\.?\d)     # an address
      | (?<!\d)\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?!\d)
      | (?<!\d)\d{{1,2}}([-/.])\d{{1,2}}\2(?:\d{{4}}|\d\d)(?!\d|[.]\d)
      | \b{MONTH}\.?,?\ (?:19|20)\d\d\b(?![.,]\d)
      | \b{MONTH}\.?\ \d{{1,2}}(?:st|nd|rd|th)?(?:,?\ \d{{4}})?(?![\d,]) | \b\d{{1,2}}\ {MONTH}\b(?:,?\ \d{{4}})?
      | (?<![\d:])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?![\d:]) | (?<![\d.,])\d{{1,9}}(?:st|nd|rd|th)\b
      | \b(?:step|question|problem|equation|eq\.|example|exercise|method|attempt|part|case|note|footnote)s?
        \ {{0,2}}[#(]?\d{{1,9}}(?![\d]|[.,]\d)
    )
    | (?P<sign>(?<![A-Za-z0-9_À-ɏͰ-ԯ)\]}}.])[-−–+]|(?<![A-Za-z])negative\ )?(?P<money>\ ?[$€£¥₹₩₽]\ ?(?P<inner>[-−–])?)?
    (?<![A-Za-z_À-ɏͰ-ԯ^])(?<![\^_]\{{)(?<![\^_]\{{-)(?<!\^-)(?<!\^\()(?<!\^\(-)(?<!sqrt\{{)(?<!√)
    (?:
        (?P<latex>(?P<units>\d{{1,{MOST_DIGITS}}})?\ ?
          \\frac\{{\ ?(?P<above>[-−]?\d{{1,40}})\ ?\}}\{{\ ?(?P<below>-?\d{{1,40}})\ ?\}})
      | (?P<vulgar>(?P<whole>\d{{1,{MOST_DIGITS}}})?{_SPACE}?(?P<part>[{_VULGAR}]))
      | (?:(?P<entire>\d{{1,40}})\ (?:and\ )?)?(?<![/\d])
        (?P<over>\d{{1,40}})\ ?[/⁄]\ ?(?P<under>\d{{1,40}})(?![/\d]|[.,]\d)
      | (?<![\d:])(?P<left>\d{{1,9}})(?::|\ :\ )(?P<right>\d{{1,9}})(?![\d:]|[.,]\d)
      | (?P<base>\d{{1,4}})
        (?:\^(?:[{{(](?P<braced>[-−]?\d{{1,3}})[)}}]|(?P<exponent>[-−]?\d{{1,3}})(?!\d))
          |(?P<high>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))
      | (?P<plain>{_WHOLE})
        (?P<power>[eE][-+−]?\d{{1,4}}(?!\w|\.\d)
          | \ ?[×x*]\ ?10(?:\^\{{?\ ?(?P<raised>[-+−]?\d{{1,4}})\ ?\}}?|(?P<small>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,4}})))?
    )
    (?P<scale>(?:\ (?:{"|".join(_SCALE)})s?\b){{1,2}}|\ ?[{"".join(_MYRIADS)}]|(?-i:k)\b
      |(?(money)(?:[KMB]|bn|mn)\b|(?!)))?
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_ITEM = re.compile(r"[ \t]{0,8}\d{1,3}[.)][ \t]+(?=\S)")
_RANGE = ("-", "–", "—", "−")
IRRATIONAL = re.compile(r"\s?(?:\\sqrt|\\pi|√|\.?π)|\\overline")
"""Also a decimal that repeats: what stands before it is no number by itself."""
_ROOT = re.compile(r"\\sqrt ?(?:\[\d{1,2}\])?(?:\{[^{}]{0,80}\}|\d)|\\pi(?![A-Za-z])|\\overline\{\d{1,20}\}")
_OF_ROOTS = re.compile(r"\\frac\{(?=[^}]{0,80}π|[^}]{0,80}\}\{[^}]{0,80}π)[^{}]{0,80}\}\{[^{}]{0,80}\}")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number in a text: value in its one form, and where it stands."""

    value: str
    start: int
    end: int


def readable(text: str) -> str:
    """`text` with the LaTeX that stands inside numbers written as plain text writes it, and 1.250 as 1250 in languages
    that write a decimal comma, and of euros."""
    parted = _POINT_OF_THOUSANDS if _COMMA_LANGUAGE.search(text) else _EUROS
    text = parted.sub(r"\1\2", text)
    for pattern, by in _LATEX:
        text = pattern.sub(by, text)
    return text


def numerals(text: str, *, items: bool = True) -> list[Numeral]:
    """The numbers of a `readable` text in order. Dates, times, ordinals, ranges, the numbers of steps, exponents and
    indices are none. items: a line may be an item of a list, and the number it begins with is none."""
    for pattern in (_ROOT, _OF_ROOTS):  # what stands in them is no number
        text = pattern.sub(lambda match: "π" * len(match[0]), text)
    found: list[Numeral] = []
    touching = False  # the one before is the left side of a range
    for match in _TOKEN.finditer(text):
        if match["other"] is not None or IRRATIONAL.match(text, match.end()):
            continue
        line = text.rfind("\n", max(match.start() - 9, 0), match.start()) + 1 if items else 0
        if items and (line or match.start() < 9) and not text[line : match.start()].strip() and _ITEM.match(text, line):
            continue
        value = _value(match)
        if value is None:
            continue
        start = match.start()
        if found and start - found[-1].end == 1 and text[found[-1].end] in _RANGE and "=" not in text[start:][:24]:
            touching = True
            found[-1] = Numeral("", found[-1].start, match.end())
            continue
        if touching:
            found.pop()
        touching = False
        found.append(Numeral(value, start, match.end()))
    found = [one for one in found if one.value]
    between = [
        n
        for n, (one, other) in enumerate(pairwise(found))
        if text[: one.start].endswith("between ") and text[one.end : other.start] == " and "
    ]
    return [one for n, one in enumerate(found) if n not in between and n - 1 not in between]


def fraction(above: int, below: int) -> str | None:
    """The one form of above/below; None for below = 0."""
    if not below:
        return None
    divisor = gcd(above, below) * (-1 if below < 0 else 1)
    above, below = above // divisor, below // divisor
    rest = below
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return decimal(_EXACT.divide(Decimal(above), Decimal(below))) if rest == 1 else f"{above}/{below}"


def decimal(value: Decimal) -> str:
    """The one form of a decimal."""
    value = value.normalize(_EXACT)
    if not value:
        return "0"
    if abs(value.adjusted()) > 60:
        digits = "".join(map(str, value.as_tuple().digits))
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{'-' if value < 0 else ''}{mantissa}e{value.adjusted()}"
    return format(value, "f")


def _value(match: re.Match[str]) -> str | None:
    negative = any(
        sign and sign.strip().lower() in ("-", "−", "–", "negative") for sign in match.group("sign", "inner")
    )
    sign = -1 if negative else 1
    raised = _raised(match)
    if match["latex"] is not None:
        above, below = int(match["above"].replace("−", "-")), int(match["below"])
        return fraction(sign * (int(match["units"] or 0) * below + above) * 10**raised, below)
    if match["vulgar"] is not None:
        below = 2520 * 2
        above = round(unicodedata.numeric(match["part"]) * below)
        return fraction(sign * (int(match["whole"] or 0) * below + above) * 10**raised, below)
    if match["over"] is not None:
        below = int(match["under"])
        return fraction(sign * (int(match["entire"] or 0) * below + int(match["over"])) * 10**raised, below)
    if match["left"] is not None:
        return _ratio(int(match["left"]), int(match["right"]))
    if match["base"] is not None:
        return _powered(sign, match)
    digits = _plain_digits(match["plain"])
    if len(digits) > MOST_DIGITS:
        return None
    if power := match["power"]:
        written = match["raised"] or (match["small"] or "").translate(_SUPERSCRIPT) or power[1:]
        raised += int(written.replace("−", "-"))
    value = Decimal(digits)
    return decimal(_EXACT.scaleb(value.copy_negate() if negative else value, raised))


def _raised(match: re.Match[str]) -> int:
    """The power of ten that the words behind a number stand for: 5 of "3 hundred thousand"."""
    scales = (match["scale"] or "").lower().split()
    return sum(_POWERS.get(scale, _SCALE.get(scale.removesuffix("s"), 0)) for scale in scales)


def _ratio(left: int, right: int) -> str | None:
    """None for a time of day."""
    divisor = gcd(left, right)
    if not left or not right:
        return None
    left, right = left // divisor, right // divisor
    return None if left < 24 and 10 <= right < 60 else f"{left}:{right}"


def _powered(sign: int, match: re.Match[str]) -> str | None:
    """None for more digits than anyone answers."""
    written = match["braced"] or match["exponent"] or match["high"].translate(_SUPERSCRIPT)
    base, exponent = int(match["base"]), int(written.replace("−", "-"))
    if len(match["base"]) * abs(exponent) > MOST_DIGITS:
        return None
    power: int = base ** abs(exponent)
    return fraction(sign, power) if exponent < 0 else decimal(Decimal(sign * power))


def _plain_digits(written: str) -> str:
    """Digits with at most one point. A comma is decimal unless it parts thousands; so is the last of mixed signs."""
    for sign in " \u00a0\u2009\u202f\u2007'’_":
        written = written.replace(sign, "")
    comma, point = written.rfind(","), written.rfind(".")
    if comma >= 0 and point >= 0:
        thousands, mark = (",", ".") if point > comma else (".", ",")
        return written.replace(thousands, "").replace(mark, ".")
    if comma >= 0:
        decimal_comma = written.count(",") == 1 and (len(written) - comma != 4 or written[:comma] == "0")
        return written.replace(",", "." if decimal_comma else "")
    return written.replace(".", "") if written.count(".") > 1 else written
