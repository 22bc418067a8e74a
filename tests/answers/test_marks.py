"""What a text says to its reader: not its thinking, and not the next question that it asks itself."""

from __future__ import annotations

import pytest

from entropix.answers.extractors import EXTRACTORS

SAID: list[tuple[str, str, str | None]] = [
    ("number", "<think>Maybe 5? or 6.</think>\n\nThe answer is 7.", "7"),
    ("number", "<think>\nThe answer is 7.\n</think>\n\n8 apples", "8"),
    ("number", "so 5 it is</think>It is 8.", "8"),
    ("number", "<think>It is 5, hmm, maybe 6", None),
    ("number", "<reasoning>3*4 = 12</reasoning><answer>13</answer>", "13"),
    ("number", "<|channel|>analysis<|message|>3 or 4<|end|><|channel|>final<|message|>12 apples", "12"),
    ("choice", "<think>The answer is A.</think>\n\nB", "B"),
    ("choice", "<think>The answer is A", None),
    ("boxed", r"<think>\boxed{3}</think>\boxed{4}", "4"),
    ("boxed", r"<think>\boxed{3}", None),
    ("short", "<think>Paris or Lyon?</think>Paris", "paris"),
    ("code", "<think>```python\ndef f(): return 1\n```</think>```python\ndef f(): return 2\n```", "def f(): return 2"),
    ("number", "The answer is 8.\n\nQuestion: How many legs do 3 dogs have?\nAnswer: 12", "8"),
    ("number", "He has 8 left.\n#### 8\n\nQ: Tom has 3 cats.\nA: 3\n#### 3", "8"),
    ("number", "Question: How many are 3 and 5?\nAnswer: 8", "8"),
    ("choice", "The answer is B\n\nQuestion: What is 2+2?\nA) 3 B) 4\nAnswer: A", "B"),
    ("number", "The answer is 5. Wait, that's wrong. It should be 6.", "6"),
    ("number", "The answer is 5. Actually, it's 6.", "6"),
    ("number", "The answer is 42. Check: it should be less than 50.", "42"),
    ("number", "The answer is 42. Wait, let me check: 6*7 = 42. Yes.", "42"),
    ("choice", "The answer is A. Wait, no, it should be B.", "B"),
    ("choice", "I first thought A, but it's B.", "B"),
]


@pytest.mark.parametrize(("kind", "text", "wanted"), SAID)
def test_an_answer_is_read_from_what_a_text_says_in_the_end(kind: str, text: str, wanted: str | None) -> None:
    assert EXTRACTORS[kind](text) == wanted
