"""`entropix models`: the models that can be loaded by name, and who has measured them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from entropix.cli.options import add_color_option

DESCRIPTION = """\
List the models that can be loaded by name, whether a profile of theirs is known, the profiles
themselves, yours first, then those that ship, and which llama.cpp loads .gguf files. Besides these,
--model takes a path to any .gguf file or transformers directory, and a hub name such as
organisation/model."""

EXAMPLES = """\
examples:
  entropix models
  entropix models --json
  entropix generate --model smollm2 "Name a river."
  entropix calibrate ./my-model.gguf          measure a profile for a model that has none"""

WIDE_ENOUGH = 110
"""Cells of a terminal on which paths are worth showing; --json always has them."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--json", action="store_true", help="one JSON object with the models and the profiles")
    add_color_option(parser)


def run(args: argparse.Namespace) -> int:
    from entropix import models, profiles

    known = [*profiles.own(), *profiles.shipped()]
    entries = [
        {
            "name": entry.name,
            "engine": entry.engine,
            "state": entry.state,
            "profile": profile_of(entry, known),
            "size": entry.size,
            "path": entry.path,
        }
        for entry in models.available()
    ]
    measured = [{"name": p.name, "source": p.source, "tokens": p.tokens, "fingerprint": p.fingerprint} for p in known]
    library = llama_cpp()
    if args.json:
        from entropix.trace import to_json

        print(to_json({"models": entries, "profiles": measured, "llama_cpp": library}))
    else:
        show(args, entries, measured, library)
    return 0


def llama_cpp() -> dict[str, Any]:
    """The llama.cpp in use, and why it is that one; "used" is None where there is none."""
    from entropix.engines.llama_cpp import library
    from entropix.errors import ModelError

    try:
        choice = library.chosen()
    except ModelError as error:
        return {"used": None, "why": str(error)}
    build = choice.llama.build
    return {"used": build.name, "version": build.version, "why": choice.why, "file": str(build.files[0])}


def profile_of(entry: Any, known: Sequence[Any]) -> str | None:
    """The profile whose name the model's name or file name holds. Only loading a model finds it for certain."""
    places = [plain(entry.name), plain(entry.path)]
    return next((p.name for p in known if plain(p.name) and any(plain(p.name) in place for place in places)), None)


def plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def show(
    args: argparse.Namespace, entries: list[dict[str, Any]], measured: list[dict[str, Any]], library: dict[str, Any]
) -> None:
    from entropix.cli.output import Screen, write_table

    screen = Screen(args.color)
    titles = ["model", "engine", "state", "profile", "size", "path"]
    rows = [
        [e["name"], e["engine"], e["state"], e["profile"] or "–", f"{e['size'] / 1e6:,.0f} MB", e["path"]]
        for e in entries
    ]
    if screen.out.file.isatty() and screen.out.width < WIDE_ENOUGH:
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    write_table(screen, titles, rows)
    if measured:
        screen.out.print()
        profiles = [(p["name"], f"{p['tokens']:,}", p["source"]) for p in measured]
        write_table(screen, ("profile", "tokens measured", "where"), profiles)
    screen.out.print()
    used = f"{library['used']} {library['version']}: {library['why']}" if library["used"] else library["why"]
    screen.out.print(f"llama.cpp: {used}", soft_wrap=True, markup=False, highlight=False)
