"""One question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One question. prompt: what the model is asked; answer: the right one, as the extractor writes it.

    Of a question for code, answer is the program that tests it, before the code that stands ahead of the model's
    (imports, or the beginning of the function that it continues), entry the function that is asked for, and
    solution a right answer where one is known.

    question: the prompt without the instruction, by which the item is known again; "" where it is the prompt.
    answers: of a short answer, those that are accepted, and `answer` is all of them in one string."""

    id: str
    prompt: str
    answer: str
    before: str = ""
    entry: str = ""
    solution: str = ""
    question: str = ""
    answers: tuple[str, ...] = ()
