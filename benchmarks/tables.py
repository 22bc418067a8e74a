"""The tables of docs/evidence.md, from stored outcomes and without a model.

    python -m benchmarks.tables                           # all of them
    python -m benchmarks.tables votes tokens              # these
    python -m benchmarks.tables --write docs/evidence.md  # every table between its marks in the page

Accuracies and differences are in points with 95 % intervals; p is McNemar's exact test for one answer an item, else the
permutation of signs of item means, and Holm's over the comparisons of its table. Tokens are all an answer computes."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from benchmarks import sizes as by_cost
from benchmarks.diversity import MEASURES, mean_of, rows_of
from benchmarks.points import (
    BASELINE,
    LEADS,
    Against,
    Outcomes,
    accuracy,
    against,
    by_spec,
    certainty,
    counted,
    interval,
    singles,
    tokens,
)
from entropix.errors import EntropixError
from entropix.evaluate import statistics as st
from entropix.evaluate.alternatives import replay
from entropix.evaluate.replay import Rule
from entropix.evaluate.store import read_manifest, read_outcomes

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence"
PROBLEMS = {
    "svamp-small": "SVAMP, 0.5B",
    "gsm8k-small": "GSM8K, 0.5B",
    "svamp-large": "SVAMP, 1.5B",
    "gsm8k-large": "GSM8K, 1.5B",
}
SIZES = {"svamp-small": 0.49, "svamp-large": 1.54}
FACTS = {"places-large": "Qwen2.5-Coder-1.5B-Instruct", "gemma-places": "Gemma-3-270M (base)"}
MARK = "<!-- {name}: python -m benchmarks.tables -->", "<!-- end of {name} -->"
Table = list[list[str]]


@cache
def by_rule(folder: Path, run: str) -> dict[str, Outcomes]:
    """Of a run with votes: its greedy texts, the vote, and what rules make of it."""
    return by_spec(counted(read_outcomes(folder / run), LEADS, (2, 4)))


def votes(folder: Path) -> Table:
    """Votes, stop rules and moved ballots on both tasks with both models."""
    head, rows = [""], {name: [name] for name in (BASELINE, "moved 2", "moved 4", *LEADS, "vote")}
    best = ["right in any text"]
    for run, label in PROBLEMS.items():
        found = by_rule(folder, run)
        vote = found["vote"]
        items = len({o["item"] for o in vote})
        head += [f"{label}, {items} items, {len(vote[0]['ballots'])} ballots", "tokens"]
        for name, row in rows.items():
            row += [interval(accuracy(found[name])), f"{tokens(found[name]):.0f}"]
        best += [f"{100 * sum(bool(o['any_right']) for o in vote) / len(vote):.1f}", ""]
    return [head, *rows.values(), best]


def gain(folder: Path) -> Table:
    """The vote, the rule of effort medium and moved ballots against greedy decoding."""
    named: list[tuple[str, Against]] = []
    for run, label in PROBLEMS.items():
        found = by_rule(folder, run)
        named += [(f"{label}: {name}", against(found[name], found[BASELINE])) for name in ("vote", "lead:3", "moved 4")]
    return [["against greedy", "times its tokens", "difference", "p", "p (Holm)"], *compared(named)]


def rules(folder: Path) -> Table:
    """Every stop rule against the whole vote, and moved ballots against a vote of eight."""
    named: list[tuple[str, Against]] = []
    for run, label in PROBLEMS.items():
        found = by_rule(folder, run)
        named += [(f"{label}: {lead} against the vote", against(found[lead], found["vote"])) for lead in LEADS]
        eight = by_spec(counted(read_outcomes(folder / run), (), (4,), most=8))
        named += [(f"{label}: moved 4 against a vote of 8", against(eight["moved 4"], eight["first 8"]))]
    return [["", "share of its tokens", "difference", "p", "p (Holm)"], *compared(named)]


def compared(named: Sequence[tuple[str, Against]]) -> Table:
    adjusted = st.holm([found.p for _, found in named])
    return [
        [name, f"{found.ratio:.2f}", interval(found.difference, "+.1f"), f"{found.p:.2g}", f"{holm:.2g}"]
        for (name, found), holm in zip(named, adjusted, strict=True)
    ]


def sizes(folder: Path) -> Table:
    """A small model that thinks longer against a larger one on the items of both, by tokens times parameters."""
    runs = {size: by_rule(folder, run) for run, size in SIZES.items()}
    return by_cost.compared(runs, (BASELINE, "moved 4", "lead:2", "lead:3", "vote"))


def ways(folder: Path, run: str) -> Table:
    """Every spec of a run against greedy decoding of the same items."""
    outcomes = by_spec(read_outcomes(folder / run))
    found = {name: outcomes[name] for name in read_manifest(folder / run)["specs"] if name in outcomes}
    others = {name: against(mine, found[BASELINE]) for name, mine in found.items() if name != BASELINE}
    adjusted = dict(zip(others, st.holm([other.p for other in others.values()]), strict=True))
    head = [
        "",
        "items × seeds",
        "right, %",
        "any branch",
        "tokens",
        "against greedy",
        "better : worse",
        "p",
        "p (Holm)",
    ]
    rows = []
    for name, mine in found.items():
        any_right = 100 * sum(bool(o["any_right"]) for o in mine) / len(mine)
        row = [name, extent(mine), interval(accuracy(mine)), f"{any_right:.1f}"]
        row.append(f"{tokens(mine):.0f}")
        if (other := others.get(name)) is not None:
            row += [interval(other.difference, "+.1f"), f"{other.better} : {other.worse}"]
            row += [f"{other.p:.2g}", f"{adjusted[name]:.2g}"]
        rows.append(row + [""] * (len(head) - len(row)))
    return [head, *rows]


def extent(outcomes: Outcomes) -> str:
    items, seeds = (len({o[key] for o in outcomes}) for key in ("item", "seed"))
    return f"{items} × {seeds}"


def diversity(folder: Path) -> Table:
    """How different the texts of an open prompt are, beside how often such a text is right."""
    rows = rows_of(folder / "diversity" / "outcomes.jsonl")
    right = by_spec(read_outcomes(folder / "tokens-small"))
    items = {o["item"] for found in right.values() for o in found}
    drawn = by_spec([o for o in read_outcomes(folder / "svamp-small") if o["item"] in items])
    right |= {BASELINE: drawn[BASELINE], "sample 0.7": singles(drawn["vote 16"], "sample 0.7")}
    shown = ("distinct-2", "repeated", "surprisal")
    assert set(shown) <= set(MEASURES)
    made = []
    for name in dict.fromkeys(row["spec"] for row in rows):
        mine = [row for row in rows if row["spec"] == name]
        means = [mean_of([row[measure] for row in mine]) for measure in shown]
        row = [name, str(len(mine)), *(interval(mean, ".3f") for mean in means)]
        if name in right:
            answered = right[name]
            row += [interval(accuracy(answered)), extent(answered)]
            other = against(answered, right[BASELINE]) if name != BASELINE else None
            row.append(interval(other.difference, "+.1f") if other else "")
        made.append((means[0].value, row + [""] * (8 - len(row))))
    head = [
        "",
        "prompts",
        "distinct-2",
        "4-grams repeated",
        "surprisal, nats",
        "right, %",
        "items × seeds",
        "against greedy",
    ]
    return [head, *(row for _, row in sorted(made, key=lambda one: one[0]))]


def facts(folder: Path) -> Table:
    """Short facts: one text by the probability of its answer, and a vote by its share."""
    head = ["", "right, %", "tokens", "AUROC of", "", "against greedy"]
    rows: Table = []
    for run, label in FACTS.items():
        outcomes = by_spec(read_outcomes(folder / run))
        vote = max(outcomes, key=lambda name: len(outcomes[name][0]["ballots"]))
        for name, estimator in ((BASELINE, "answer-span"), (vote, "label-share")):
            mine = outcomes[name]
            difference = against(mine, outcomes[BASELINE]).difference
            row = [f"{label}, {name}", interval(accuracy(mine)), f"{tokens(mine):.0f}"]
            row += [f"`{estimator}`", interval(ranked(mine, estimator), ".2f")]
            rows.append([*row, "" if name == BASELINE else interval(difference, "+.1f")])
    return [head, *rows]


def ranked(outcomes: Outcomes, estimator: str) -> st.Interval:
    """AUROC of an estimator."""
    sure = certainty(outcomes, estimator)
    return st.auroc_interval(sure, [bool(o["right"]) for o in outcomes], [o["item"] for o in outcomes])


def code(folder: Path) -> Table:
    """Programs: one text, a vote, and the likeliest of nine."""
    outcomes = read_outcomes(folder / "code")
    made = replay(outcomes, [Rule(first=BASELINE), Rule(first=BASELINE, select="likeliest")])
    found = by_spec(made.outcomes)
    named = {BASELINE: BASELINE, made.base: made.base}
    named |= {name: "the likeliest of nine" for name, rule in made.rules.items() if rule.select == "likeliest"}
    head = ["", "right, %", "in any text", "against greedy", "p"]
    rows = []
    for spec, label in named.items():
        mine = found[spec]
        any_right = 100 * sum(bool(o["any_right"]) for o in mine) / len(mine)
        other = against(mine, found[BASELINE])
        row = [label, interval(accuracy(mine)), f"{any_right:.1f}"]
        rows.append([*row, *(("", "") if spec == BASELINE else (interval(other.difference, "+.1f"), f"{other.p:.2g}"))])
    return [head, *rows]


TABLES: dict[str, Callable[[Path], Table]] = {
    "votes": votes,
    "gain": gain,
    "rules": rules,
    "sizes": sizes,
    "ways": partial(ways, run="svamp"),
    "tokens": partial(ways, run="tokens-large"),
    "forks": partial(ways, run="pooled"),
    "diversity": diversity,
    "facts": facts,
    "code": code,
}


def markdown(table: Table) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    return [lines[0], "|---" * len(table[0]) + "|", *lines[1:]]


def written(page: str, tables: dict[str, list[str]]) -> str:
    """The page with every table between its marks. Raises ValueError for a table that the page has no marks for."""
    for name, lines in tables.items():
        begin, end = (mark.format(name=name) for mark in MARK)
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no marks {begin!r} and {end!r}")
        text = "\n".join([begin, "", *lines, "", end])
        page = pattern.sub(text.replace("\\", r"\\"), page)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; all without it")
    parser.add_argument("--evidence", type=Path, default=EVIDENCE, metavar="DIR", help="where the outcomes are")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put them between their marks in this page")
    args = parser.parse_args()
    if unknown := [name for name in args.tables if name not in TABLES]:
        parser.error(f"there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    try:
        made = {name: markdown(TABLES[name](args.evidence)) for name in args.tables or TABLES}
        if args.write is None:
            print("\n\n".join("\n".join([name, "", *lines]) for name, lines in made.items()))
        else:
            args.write.write_text(written(args.write.read_text(encoding="utf-8"), made), encoding="utf-8")
    except (EntropixError, OSError, ValueError) as error:
        sys.exit(f"benchmarks.tables: {error}")


if __name__ == "__main__":
    main()
