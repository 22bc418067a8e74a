"""Questions with known answers: from JSON lines, from a hub, or made from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entropix.answers import EXTRACTORS, extractor
from entropix.answers.short import matches
from entropix.errors import TaskError
from entropix.evaluate.code import NONE, RIGHT, check_isolation, code_item, grade, is_code
from entropix.evaluate.generated import arithmetic, code, logic
from entropix.evaluate.hub import rows as hub_rows
from entropix.evaluate.items import Item

__all__ = ["Hub", "Item", "Task", "load_task"]

LETTERS = "ABCDEFGHIJ"
CODE, SHORT = "code", "short"

INSTRUCTIONS = {
    # "End with …" alone makes small models answer at once, without working it out: docs/evidence.md
    "number": 'Solve the problem step by step, then give the result as "The answer is" and the number.',
    "choice": 'Choose one option. End with "The answer is" and its letter.',
    "boxed": "Solve the problem. Put the final answer in \\boxed{}.",
    "short": "Answer with as few words as possible: a name, a date or a place.",
}


@dataclass(frozen=True)
class Task:
    """Items and how their answers are read off a text. extractor: a name of `EXTRACTORS`. split says which part of
    the data this is, so that nothing is reported on what was tuned on; source where it comes from."""

    name: str
    items: tuple[Item, ...]
    extractor: str
    split: str = "test"
    source: str = ""

    def extract(self, text: str, question: str = "") -> str | None:
        """The answer a text gives, None for none. question: the item's, which a short answer is read by."""
        function = extractor(self.extractor, question)
        assert function is not None
        return function(text)

    def grade(self, item: Item, answer: str | None) -> tuple[str, str]:
        """ "right", or what is wrong with an extracted answer: "none" there is, it is "wrong", or how its code failed;
        and in one line why, if there is more to say. Code is run here. Raises TaskError where it cannot be isolated."""
        if self.extractor == CODE:
            return grade(item, answer)
        right = matches(answer, item.answers) if self.extractor == SHORT else answer == item.answer
        return (NONE if answer is None else RIGHT if right else "wrong"), ""

    def right(self, item: Item, answer: str | None) -> bool:
        """Whether an extracted answer is the item's."""
        return self.grade(item, answer)[0] == RIGHT

    def first(self, limit: int | None) -> Task:
        """The first `limit` items; all for None."""
        return self if limit is None else replace(self, items=self.items[:limit])


@dataclass(frozen=True)
class Hub:
    """A task on the Hugging Face hub. `read` makes (question, choices, answer) of a row; code needs none."""

    path: str
    config: str | None
    split: str
    extractor: str
    read: Callable[[Mapping[str, Any]], tuple[str, list[str], str]] | None = field(default=None, compare=False)


HUB: dict[str, Hub] = {
    "gsm8k": Hub(
        "openai/gsm8k", "main", "test", "number", lambda r: (r["question"], [], r["answer"].rpartition("####")[2])
    ),
    "svamp": Hub(
        "ChilleD/SVAMP",
        None,
        "test",
        "number",
        lambda r: (f"{r['Body'].rstrip()} {r['Question']}", [], str(r["Answer"])),
    ),
    "multiarith": Hub("ChilleD/MultiArith", None, "test", "number", lambda r: (r["question"], [], str(r["final_ans"]))),
    "math-500": Hub("HuggingFaceH4/MATH-500", None, "test", "boxed", lambda r: (r["problem"], [], r["answer"])),
    "mmlu": Hub(
        "cais/mmlu", "all", "test", "choice", lambda r: (r["question"], list(r["choices"]), LETTERS[r["answer"]])
    ),
    "arc": Hub(
        "allenai/ai2_arc",
        "ARC-Challenge",
        "test",
        "choice",
        lambda r: (
            r["question"],
            list(r["choices"]["text"]),
            LETTERS[list(r["choices"]["label"]).index(r["answerKey"])],
        ),
    ),
    "humaneval": Hub("openai/openai_humaneval", None, "test", CODE),
    "mbpp": Hub("google-research-datasets/mbpp", "sanitized", "test", CODE),
}

GENERATED = {"arithmetic": (arithmetic, "number"), "logic": (logic, "choice")}
MADE = (*GENERATED, CODE)


def load_task(name: str, *, limit: int | None = None, seed: int = 0, instruction: str | None = None) -> Task:
    """A task by name, or "FILE.jsonl" or "FILE.jsonl:EXTRACTOR" with one {"question", "answer"} per line, and where
    wanted "id", "choices" (a list of options) and "prompt" (instead of our instruction and the question); "answers", a
    list, instead of "answer" for short answers, any of which is right. Rows with tests, such as those of HumanEval and
    MBPP, are answered with code: see `code_item`.

    "arithmetic", "logic" and "code" are made from `seed`, `limit` items or 200. instruction: what is said after each
    question, "" for nothing, None for `INSTRUCTIONS`; a row's own prompt stays as it is. Raises TaskError that names
    the file and the line, for an instruction to a task of code, and for code where it cannot be isolated."""
    if name == CODE or (name in HUB and HUB[name].extractor == CODE):
        check_isolation(name)  # before anything is downloaded
    task = _load(name, limit, seed, instruction)
    if task.extractor == CODE:
        if instruction is not None:
            raise TaskError(f"task {name!r} asks for code, and its questions take no other instruction; leave it out")
        check_isolation(name)
    return task


def _load(name: str, limit: int | None, seed: int, instruction: str | None) -> Task:
    if name == CODE:
        rows = [code_item(row, f"{name}-{seed}-{n}") for n, row in enumerate(code(limit or 200, seed))]
        return Task(name, tuple(rows), CODE, split=f"seed {seed}", source="generated")
    if name in GENERATED:
        make, extractor_name = GENERATED[name]
        made = [
            _item(f"{name}-{seed}-{n}", *row, extractor_name, instruction)
            for n, row in enumerate(make(limit or 200, seed))
        ]
        return Task(name, tuple(made), extractor_name, split=f"seed {seed}", source="generated")
    if name in HUB:
        return _from_hub(name, HUB[name], limit, instruction)
    path, colon, wanted = name.rpartition(":")
    if not colon or not path.endswith(".jsonl"):
        path, wanted = name, ""
    if not path.endswith(".jsonl"):
        known = ", ".join([*MADE, *HUB])
        raise TaskError(f"there is no task {name!r}; known are {known}, or give a file ending in .jsonl")
    if wanted and wanted not in EXTRACTORS:
        raise TaskError(f"task {name!r}: there is no extractor {wanted!r}; known are {', '.join(EXTRACTORS)}")
    return _from_file(Path(path), wanted, instruction).first(limit)


def _from_file(path: Path, wanted: str, instruction: str | None) -> Task:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"task {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    items: list[Item] = []
    kinds = set()
    ids: dict[str, int] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("it is not an object")
            kind, item = _of_row(row, f"{path.stem}-{n}", wanted, instruction)
        except json.JSONDecodeError as error:
            raise TaskError(f"task {path}, line {n}: it is not JSON: {error.msg}") from None
        except KeyError as error:
            raise TaskError(f"task {path}, line {n}: {error.args[0]!r} is missing") from None
        except (TypeError, ValueError) as error:
            raise TaskError(f"task {path}, line {n}: {error}") from None
        if item.id in ids:
            raise TaskError(f"task {path}, line {n}: the id {item.id!r} is that of line {ids[item.id]}; make it unique")
        ids[item.id] = n
        kinds.add(kind)
        items.append(item)
    if not items:
        raise TaskError(f"task {path} has no items; write one JSON object a line")
    if len(kinds) > 1:
        raise TaskError(
            f"task {path} mixes items with and without choices, answers or tests; split it, or name an extractor"
        )
    return Task(path.stem, tuple(items), kinds.pop(), split=path.name, source=str(path))


def _of_row(row: dict[str, Any], id: str, wanted: str, instruction: str | None) -> tuple[str, Item]:
    """How a row's answers are read, and its item. `id` is for a row without one. Raises KeyError, ValueError."""
    if wanted == CODE or (is_code(row) and not wanted):
        return CODE, code_item(row, id)
    given = row.get("choices", [])
    if not isinstance(given, list) or len(given) > len(LETTERS):
        raise ValueError(f"'choices' must be a list of at most {len(LETTERS)} options")
    choices = [str(c) for c in given]
    several = "answers" in row
    kind = wanted or ("choice" if choices else SHORT if several else "number")
    asked = "prompt" if "prompt" in row else "question"
    if not isinstance(row[asked], str) or not row[asked].strip():
        raise ValueError(f"{asked!r} must be a string that is not empty")
    if several and (kind != SHORT or "answer" in row):
        raise ValueError("'answers' are the accepted short answers; leave out 'answer', choices and another extractor")
    if not several and not isinstance(row["answer"], str | int | float):
        raise ValueError("'answer' must be a string or a number; several accepted ones stand in 'answers'")
    answers = _accepted(row["answers"] if several else [row["answer"]]) if kind == SHORT else ()
    gold = " / ".join(answers) or _gold(row["answer"], choices)
    item = replace(_item(str(row.get("id", id)), row[asked], choices, gold, kind, instruction), answers=answers)
    return kind, replace(item, prompt=row[asked], question="") if asked == "prompt" else item


def _from_hub(name: str, hub: Hub, limit: int | None, instruction: str | None) -> Task:
    rows = hub_rows(name, hub.path, hub.config, hub.split)
    rows = rows if limit is None else rows.select(range(min(limit, len(rows))))
    try:
        if hub.read is None:
            items = [code_item(row, f"{name}-{n}") for n, row in enumerate(rows)]
        else:
            items = [_item(f"{name}-{n}", *hub.read(row), hub.extractor, instruction) for n, row in enumerate(rows)]
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"task {name!r}: the rows of {hub.path} are not as they were: {error!r}") from error
    return Task(name, tuple(items), hub.extractor, split=hub.split, source=hub.path)


def _item(id: str, question: str, choices: list[str], answer: str, kind: str, instruction: str | None) -> Item:
    """An item in our words. Raises ValueError when the extractor cannot read the right answer."""
    if kind == "choice" and answer not in LETTERS[: len(choices) or len(LETTERS)]:
        raise ValueError(f"the answer {answer!r} is not one of the choices")
    if kind == "number":
        read = EXTRACTORS["number"](answer)
        if read is None:
            raise ValueError(
                f"the answer {answer!r} is not a number; FILE.jsonl:text or another extractor reads others"
            )
        answer = read
    if kind == "boxed":
        answer = EXTRACTORS["boxed"](f"\\boxed{{{answer}}}") or answer
    options = "".join(f"\n{letter}) {text}" for letter, text in zip(LETTERS, choices, strict=False))
    instruction = INSTRUCTIONS.get(kind) if instruction is None else instruction
    question = f"{question}{options}"
    prompt = f"{question}\n\n{instruction}" if instruction else question
    return Item(id, prompt, answer.strip(), question=question)


def _accepted(answers: Any) -> tuple[str, ...]:
    """The accepted short answers of a row. Raises ValueError."""
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str | int | float) for a in answers):
        raise ValueError("'answers' must be a list of at least one string or number")
    if not all(str(answer).strip() for answer in answers):
        raise ValueError("one of 'answers' is empty; leave it out")
    return tuple(str(answer).strip() for answer in answers)  # NQ-open accepts "---" alone once: it is never right


def _gold(answer: Any, choices: list[str]) -> str:
    """The right answer as text: a letter where there are choices, also if it is given as its index or its text."""
    if choices:
        if isinstance(answer, int) and 0 <= answer < len(choices):
            return LETTERS[answer]
        if str(answer) in choices:
            return LETTERS[choices.index(str(answer))]
    return str(answer)
