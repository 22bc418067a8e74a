"""How well the confidence of a field separates right values from wrong ones: short texts made from a seed, five fields,
of which the text leaves some unsaid.

    python -m benchmarks.extraction MODEL.gguf OUT.jsonl                # greedy answers; goes on where it stopped
    python -m benchmarks.extraction MODEL.gguf OUT.jsonl --ballots 8    # and the share of each field's ballots
    python -m benchmarks.extraction --report OUT.jsonl

The schema requires every field, so a model has to make up what the text does not say: that is wrong whatever it says.
The sum of log p is that of the whole answer, the same for its five fields. The report also has what else a field could
be ranked by, of each half of the texts, so that whatever is chosen on one can be read off the other."""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import entropix
from benchmarks.ballots import POLICY, engine_options, options
from entropix.evaluate import statistics as st
from entropix.types import Result

STATUS = ("paid", "open", "cancelled", "disputed")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "minLength": 1, "maxLength": 40},
        "city": {"type": "string", "minLength": 1, "maxLength": 40},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2099},
        "amount": {"type": "number", "minimum": 0, "maximum": 100000},
        "status": {"enum": list(STATUS)},
    },
    "required": ["customer", "city", "year", "amount", "status"],
    "additionalProperties": False,
}
INSTRUCTION = (
    "Read the note and give the invoice as JSON with customer (who owes the money), city (of the customer), year (of "
    "the invoice), amount (that is owed, a number) and status (paid, open, cancelled or disputed)."
)
FIRST = ("Anna", "Bela", "Carlos", "Dina", "Emeka", "Farah", "Goran", "Hana", "Ivo", "Jun")
LAST = ("Weber", "Kovacs", "Ortiz", "Haddad", "Okafor", "Nilsson", "Petrov", "Tanaka", "Moreau", "Silva")
CITIES = ("Leeds", "Turin", "Graz", "Porto", "Gdansk", "Malmo", "Lyon", "Ghent", "Cork", "Basel")
SAID = {
    "paid": "The money has arrived.",
    "open": "Nothing has been transferred so far.",
    "cancelled": "The order was called off, so the invoice is void.",
    "disputed": "The customer says that the goods were damaged and refuses to accept the invoice.",
}


@dataclass(frozen=True)
class Note:
    """A text and the values it says; a field that it leaves unsaid is not among them."""

    id: str
    text: str
    gold: dict[str, Any]


def notes(n: int = 60, seed: int = 16) -> list[Note]:
    """Texts with something beside the point in each, one or two fields of five left unsaid in two of three of them."""
    made = []
    for number in range(n):
        rng = random.Random(f"{seed}\0{number}")
        customer, seller = (f"{rng.choice(FIRST)} {rng.choice(LAST)}" for _ in range(2))
        while seller == customer:
            seller = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        city, elsewhere = rng.sample(CITIES, 2)
        year, amount, status = rng.randint(1998, 2024), round(rng.uniform(20, 4000), 2), rng.choice(STATUS)
        gold = {"customer": customer, "city": city, "year": year, "amount": amount, "status": status}
        for name in rng.sample(sorted(gold), rng.choice((0, 1, 2))):
            del gold[name]
        buyer = customer if "customer" in gold else "a customer"
        offer = f"The first offer of {year - rng.randint(1, 3)}" if "year" in gold else "An earlier offer"
        due = f"After a discount of {rng.randint(2, 9)} percent {amount:.2f} euros are due."
        parts = [
            f"{seller} of {elsewhere} delivered {rng.randint(2, 40)} chairs to {buyer}"
            + (f", who lives in {city}" if "city" in gold else "") + ".",
            f"{offer} was withdrawn.",
            *([f"The invoice was written in {year}."] if "year" in gold else []),
            *([due] if "amount" in gold else []),
            *([SAID[status]] if "status" in gold else []),
        ]  # fmt: skip
        made.append(Note(f"note-{number}", " ".join(parts), gold))
    return made


def is_right(value: Any, gold: Any) -> bool:
    """Whether a value is what the text says; what it does not say is never right."""
    if isinstance(gold, str):
        return isinstance(value, str) and value.strip().casefold() == gold.casefold()
    return gold is not None and isinstance(value, (int, float)) and math.isclose(value, gold, abs_tol=0.005)


def outcome(note: Note, greedy: Result, voted: Result | None) -> dict[str, Any]:
    """What is kept of an answer: each field's value, whether it is right, and its scores; higher is surer."""
    shares = {}
    if voted is not None and voted.search is not None:
        texts = [json.loads(b.text) for b in voted.search.branches if b.weight is not None and b.ended == "end"]
        values = {f.path[0]: f.value for f in greedy.fields.leaves()} if greedy.fields is not None else {}
        shares = {k: sum(t.get(k) == v for t in texts) / max(len(texts), 1) for k, v in values.items()}
    fields = {}
    for field in greedy.fields.leaves() if greedy.fields is not None else ():
        name = field.path[0]
        scores = {"probability": field.probability, "unconstrained": field.unconstrained, "mass": field.mass}
        scores |= {"least": field.least_probability, "share": shares.get(name)}
        fields[name] = {"value": field.value, "right": is_right(field.value, note.gold.get(name)), **scores}
    known = sorted(note.gold)
    return {"id": note.id, "text": greedy.text, "known": known, "fields": fields, "sum of log p": -greedy.surprisal}


def run(args: argparse.Namespace) -> None:
    """Answer what the file does not hold yet, each kept as soon as it is there."""
    out = Path(args.out)
    done = {json.loads(line)["id"] for line in out.read_text().splitlines()} if out.exists() else set()
    waiting = [note for note in notes(args.items) if note.id not in done]
    sequences = args.together * max(args.ballots, 1) + args.together
    with entropix.load(args.model, **options(args), sequences=sequences, context=1024) as model:
        for some in (waiting[n : n + args.together] for n in range(0, len(waiting), args.together)):
            asked = [f"{INSTRUCTION}\n\nNote: {note.text}" for note in some]
            limits: dict[str, Any] = {"constraint": SCHEMA, "max_tokens": 160}
            greedy = model.generate(asked, policy="greedy", **limits)
            voted: list[Result | None] = [None] * len(some)
            if args.ballots:
                search = f"vote:n={args.ballots},stop=none,answer=text"
                voted = [*model.generate(asked, policy=POLICY, search=search, seed=1, **limits)]
            with out.open("a", encoding="utf-8") as sink:
                for each in zip(some, greedy, voted, strict=True):
                    sink.write(json.dumps(outcome(*each)) + "\n")


Row = tuple[dict[str, Any], str, dict[str, Any]]
"""An answer of `outcome`, the name of one of its fields, and what is known of that field."""

SCORES: dict[str, Callable[[Row], float]] = {
    "probability": lambda row: row[2]["probability"],
    "least": lambda row: row[2]["least"],
    "unconstrained": lambda row: row[2]["unconstrained"],
    "mass": lambda row: row[2]["mass"],
    "share": lambda row: row[2]["share"],
    "probability × share": lambda row: row[2]["probability"] * row[2]["share"],
    "least of probability and share": lambda row: min(row[2]["probability"], row[2]["share"]),
    "probability × mass": lambda row: row[2]["probability"] * row[2]["mass"],
    "ln probability a character": lambda row: math.log(row[2]["probability"] or 1e-300) / len(f"{row[2]['value']}."),
    "probability × the least sure field's": lambda row: (
        row[2]["probability"] * min(field["probability"] for field in row[0]["fields"].values())
    ),
    "product of the fields so far": lambda row: math.prod(_until(row)),
    "probability × √p of the answer": lambda row: row[2]["probability"] * math.exp(row[0]["sum of log p"] / 2),
    "sum of log p": lambda row: row[0]["sum of log p"],
}
"""What a field could be ranked by; higher is surer. The first five and the last are kept, the others combine them."""


def _until(row: Row) -> list[float]:
    """The probabilities of an answer's fields up to this one."""
    names = list(row[0]["fields"])
    return [row[0]["fields"][name]["probability"] for name in names[: names.index(row[1]) + 1]]


def halves(rows: Sequence[Row]) -> list[bool]:
    """Of each whether its text is in the second half: every other text, whatever was found in it."""
    place = {id: n for n, id in enumerate(dict.fromkeys(row[0]["id"] for row in rows))}
    return [place[row[0]["id"]] % 2 == 1 for row in rows]


def by_rates(rows: Sequence[Row]) -> list[float]:
    """The probability times how often this field was right in the half of the texts that the value is not in, one right
    and one wrong added: what labelled texts are worth."""
    second = halves(rows)
    seen: dict[tuple[str, bool], list[int]] = {}
    for (_, name, field), half in zip(rows, second, strict=True):
        seen.setdefault((name, half), [1, 0]).append(int(field["right"]))
    known = {key: sum(rights) / len(rights) for key, rights in seen.items()}
    return [
        field["probability"] * known.get((name, not half), 0.5)
        for (_, name, field), half in zip(rows, second, strict=True)
    ]


def ranked(rows: Sequence[Row], values: Sequence[float]) -> list[str]:
    """AUROC with its interval over all values and over those that the text says, and of each half of the texts."""
    right, ids = [row[2]["right"] for row in rows], [row[0]["id"] for row in rows]
    second, said = halves(rows), [row[1] in row[0]["known"] for row in rows]
    cells = []
    for some in ([True] * len(rows), said):
        picked = [n for n, taken in enumerate(some) if taken]
        one = st.auroc_interval([values[n] for n in picked], [right[n] for n in picked], [ids[n] for n in picked])
        cells.append(f"{one.value:.2f} ({one.low:.2f} … {one.high:.2f})" if one.value == one.value else "–")
    for half in (False, True):
        picked = [n for n, each in enumerate(second) if each is half]
        value = st.auroc([values[n] for n in picked], [right[n] for n in picked])
        cells.append(f"{value:.2f}" if value == value else "–")
    return cells


def report(file: Path) -> list[str]:
    """AUROC of every score over all fields, clustered by text, of those that the text says and of each half of the
    texts; then field by field."""
    read = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows: list[Row] = [(row, name, field) for row in read for name, field in row["fields"].items()]
    right = [field["right"] for _, _, field in rows]
    lines = [f"{len(read)} texts, {sum(right)} of {len(right)} values right, "
             f"{sum(name in row['known'] for row, name, _ in rows)} said by their text", ""]  # fmt: skip
    lines += [
        "| score | AUROC | of the values that the text says | first half | second half |",
        "|---|---|---|---|---|",
    ]
    voted = all(field["share"] is not None for _, _, field in rows)
    for score, of in SCORES.items():
        cells = ["–"] * 4 if "share" in score and not voted else ranked(rows, [of(row) for row in rows])
        lines.append(f"| {score} | {' | '.join(cells)} |")
    lines.append(f"| probability × the field's rate in the other half | {' | '.join(ranked(rows, by_rates(rows)))} |")
    lines += ["", "| field | right | said | AUROC of the probability |", "|---|---|---|---|"]
    for name in SCHEMA["properties"]:
        mine = [(row, field) for row, each, field in rows if each == name]
        right = [field["right"] for _, field in mine]
        value = st.auroc([field["probability"] for _, field in mine], right)
        said = sum(name in row["known"] for row, _ in mine)
        lines.append(
            f"| {name} | {sum(right)} of {len(right)} | {said} | {'–' if value != value else f'{value:.2f}'} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--ballots", type=int, default=0)
    parser.add_argument("--together", type=int, default=4, help="notes at a time")
    engine_options(parser)
    parser.add_argument("--report", type=Path, metavar="OUT.jsonl")
    args = parser.parse_args()
    if args.report is not None:
        print("\n".join(report(args.report)))
    elif args.out is None:
        parser.error("give a model and a file to keep its answers in, or --report")
    else:
        run(args)
        print("\n".join(report(Path(args.out))))


if __name__ == "__main__":
    main()
