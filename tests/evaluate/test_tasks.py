"""Tasks and specs: what is asked, how it is graded, what is refused."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
from entropix.errors import ParameterError, TaskError
from entropix.evaluate import Spec, hub, load_task, read_specs
from entropix.sampling import Filters, Repetition


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
    return str(path)


def replay(question: str) -> int:
    """The arithmetic of a generated story, done again from its words."""
    amount = 0
    for sentence in question.split(". "):
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        if " has " in sentence and numbers:
            amount = numbers[0]
        elif "gives" in sentence:
            amount -= numbers[0]
        elif "times as many" in sentence:
            amount *= numbers[0]
        elif "buys" in sentence:
            amount += numbers[0]
    return amount


def test_generated_arithmetic_has_the_right_answers() -> None:
    task = load_task("arithmetic", limit=100, seed=3)
    assert [int(item.answer) for item in task.items] == [replay(item.prompt.split("\n")[0]) for item in task.items]
    assert len({item.prompt for item in task.items}) > 90


def test_generated_logic_has_one_right_answer() -> None:
    for item in load_task("logic", limit=100).items:
        taller = [
            pair if "taller" in clue else pair[::-1]
            for clue in re.findall(r"\w+ is (?:taller|shorter) than \w+", item.prompt)
            if (pair := (clue.split()[0], clue.split()[-1]))
        ]
        below = dict(taller)
        (top,) = set(below) - set(below.values())
        order = [top]
        while order[-1] in below:
            order.append(below[order[-1]])
        place = 0 if "the tallest" in item.prompt else -1 if "the shortest" in item.prompt else len(order) // 2
        options = dict(re.findall(r"^([A-J])\) (\w+)$", item.prompt, re.MULTILINE))
        assert options[item.answer] == order[place]


def test_a_longer_generated_task_begins_with_the_shorter() -> None:
    assert load_task("logic", limit=20).items[:5] == load_task("logic", limit=5).items
    assert load_task("logic", limit=5, seed=1).items != load_task("logic", limit=5).items


def test_grading_equals_the_hand() -> None:
    task = load_task("arithmetic", limit=1)
    item = task.items[0]
    for text, right in (
        (f"So 3 + 4 … The answer is {item.answer}.", True),
        (f"\\boxed{{{item.answer}.0}}", True),
        (f"{item.answer} is wrong. The answer is {int(item.answer) + 1}.", False),
        ("I do not know.", False),
        ("", False),
    ):
        assert task.right(item, task.extract(text)) is right


def test_a_file_is_a_task(tmp_path: Path) -> None:
    name = write(
        tmp_path / "mine.jsonl",
        {"id": 7, "question": "What is 1000 + 1? 😀", "answer": "1,001"},
        "",
        {"question": "And 2?", "answer": 2},
    )
    task = load_task(name)
    assert [(i.id, i.answer) for i in task.items] == [("7", "1001"), ("mine-3", "2")]
    assert task.items[0].prompt.startswith("What is 1000 + 1? 😀\n")
    assert len(load_task(name, limit=1).items) == 1


def test_a_short_answer_is_right_when_it_is_any_of_the_accepted_ones(tmp_path: Path) -> None:
    name = write(tmp_path / "nq.jsonl", {"question": "who wrote hamlet", "answers": ["W. Shakespeare", "Shakespeare"]})
    task = load_task(name)
    item = task.items[0]
    assert (task.extractor, item.answers) == ("short", ("W. Shakespeare", "Shakespeare"))
    assert item.prompt.startswith("who wrote hamlet\n\nAnswer with")
    for text, graded in (
        ("Hamlet was written by Shakespeare.", "right"),
        ("the w shakespeare", "right"),
        ("Marlowe", "wrong"),
        ("I do not know.", "none"),
    ):
        assert task.grade(item, task.extract(text, item.question))[0] == graded


def test_one_short_answer_needs_no_list_and_a_prompt_of_ones_own_is_asked_as_it_is(tmp_path: Path) -> None:
    name = write(tmp_path / "nq.jsonl", {"prompt": "Author of Hamlet?", "answer": "Shakespeare"})
    task = load_task(f"{name}:short")
    assert (task.items[0].prompt, task.items[0].answers) == ("Author of Hamlet?", ("Shakespeare",))
    assert task.right(task.items[0], "the shakespeare")


@pytest.mark.parametrize("answer", [1, "B", "blue"])
def test_choices_may_be_answered_by_letter_place_or_text(tmp_path: Path, answer: Any) -> None:
    name = write(tmp_path / "c.jsonl", {"question": "Sky?", "choices": ["red", "blue"], "answer": answer})
    task = load_task(name)
    assert task.items[0].answer == "B"
    assert "A) red\nB) blue" in task.items[0].prompt
    assert task.extractor == "choice"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no items"),
        (["{"], "line 1: it is not JSON"),
        (["[1]"], "line 1: it is not an object"),
        ([{"question": "a"}], "line 1: 'answer' is missing"),
        ([{"question": "a", "answer": "none"}], "line 1: the answer 'none' is not a number"),
        ([{"question": "a", "answer": "C", "choices": ["x", "y"]}], "'C' is not one of the choices"),
        ([{"question": "a", "answer": "B", "choices": "ABC"}], "line 1: 'choices' must be a list"),
        ([{"question": "a", "answer": "B", "choices": list("abcdefghijk")}], "a list of at most 10 options"),
        ([{"question": " ", "answer": 1}], "line 1: 'question' must be a string that is not empty"),
        ([{"prompt": 5, "answer": 1}], "line 1: 'prompt' must be a string"),
        ([{"question": "a", "answer": None}], "line 1: 'answer' must be a string or a number"),
        ([{"question": "a", "answer": ["b"]}], "several accepted ones stand in 'answers'"),
        ([{"question": "a", "answers": "b"}], "line 1: 'answers' must be a list"),
        ([{"question": "a", "answers": []}], "line 1: 'answers' must be a list of at least one"),
        ([{"question": "a", "answers": [None]}], "line 1: 'answers' must be a list of at least one"),
        ([{"question": "a", "answers": ["b", " "]}], "one of 'answers' is empty"),
        ([{"question": "a", "answers": ["b"], "answer": "b"}], "leave out 'answer'"),
        ([{"question": "a", "answers": ["b"], "choices": ["b"]}], "leave out 'answer', choices"),
        ([{"question": "a", "answers": ["b"]}, {"question": "a", "answer": 1}], "mixes items"),
        ([{"id": "a", "question": "a", "answer": 1}] * 2, "line 2: the id 'a' is that of line 1"),
        ([{"question": "a", "answer": 1}, {"question": "a", "answer": 0, "choices": ["x"]}], "mixes items"),
    ],
)
def test_mistakes_in_a_file_name_the_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message)):
        load_task(write(tmp_path / "bad.jsonl", *rows))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sudoku", "known are arithmetic, logic, code"),
        ("no.jsonl", "cannot be read"),
        ("no.jsonl:magic", "no extractor 'magic'"),
    ],
)
def test_unknown_tasks_say_what_is_known(name: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load_task(name)


def test_specs_inline_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[tree]\npolicy = "greedy"\nsearch = "tree:max_sequences=3"\n'
        '["short one"]\npolicy = "greedy"\nmax_tokens = 9\nfamily = "f"\n'
    )
    found = read_specs(["greedy", "sample:temperature=0.7 | vote:n=2,answer=number", "v = greedy | branch", str(file)])
    assert found == [
        Spec("greedy", "greedy"),
        Spec("sample:temperature=0.7 | vote:n=2,answer=number", "sample:temperature=0.7", "vote:n=2,answer=number"),
        Spec("v", "greedy", "branch"),
        Spec("tree", "greedy", "tree:max_sequences=3"),
        Spec("short one", "greedy", max_tokens=9, family="f"),
    ]
    assert found[3].plan(500).max_tokens == 500  # type: ignore[union-attr]


def test_filters_and_penalties_are_part_of_a_spec(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[dry]\npolicy = "greedy"\nfilters = "dry_multiplier=0.8"\n')
    found = read_specs(
        ["sample + typical=0.9", "x = sample:temperature=1 + top_h=0.6,presence=1 | vote:n=2", str(file)]
    )
    assert found == [
        Spec("sample + typical=0.9", "sample", filters="typical=0.9"),
        Spec("x", "sample:temperature=1", "vote:n=2", filters="top_h=0.6,presence=1"),
        Spec("dry", "greedy", filters="dry_multiplier=0.8"),
    ]
    assert found[1].settings == (Filters(top_h=0.6), Repetition(presence=1))
    assert Spec("g", "greedy").settings == (Filters(), Repetition())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["sample + "], r"is not a spec; write POLICY, POLICY \+ FILTERS"),
        (
            ["sample + tipical=0.9"],
            "spec 'sample . tipical=0.9': there is no filter or penalty 'tipical'; known are top_k",
        ),
        (["sample + typical=2"], "typical=2"),
        (["sample + typical"], "not of the form parameter=value"),
        ([], "nothing to compare"),
        (["greedy", "greedy"], "given twice"),
        (["| vote"], "is not a spec"),
        (["greedy | wander"], "no search 'wander'"),
        (["nowhere.toml"], "cannot be read"),
    ],
)
def test_mistakes_in_specs_are_named(given: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        read_specs(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "is not TOML"),
        ("[a]\nx = 1", "needs policy"),
        ('[a]\npolicy = "greedy"\nserch = "x"', "unknown 'serch'"),
        ('[a]\npolicy = "greedy"\nfamily = 3', "family = 3 is not a string"),
        ('[a]\npolicy = "greedy"\nmax_tokens = "9"', "max_tokens = '9' is not an integer"),
    ],
)
def test_mistakes_in_a_file_of_specs_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        read_specs([str(tmp_path / "s.toml")])


def test_an_instruction_replaces_ours_and_leaves_a_rows_own_prompt_alone(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": "2"}\n{"prompt": "Say 3.", "answer": "3"}\n')
    usual, other, none = (load_task(str(file), instruction=i) for i in (None, "Be brief.", ""))
    assert usual.items[0].prompt.startswith("1 + 1?\n\n")
    assert "step by step" in usual.items[0].prompt
    assert other.items[0].prompt == "1 + 1?\n\nBe brief."
    assert none.items[0].prompt == "1 + 1?"
    assert {t.items[1].prompt for t in (usual, other, none)} == {"Say 3."}


def test_a_task_of_code_takes_no_other_instruction() -> None:
    with pytest.raises(TaskError, match="no other instruction"):
        load_task("code", limit=1, instruction="Be brief.")


ROWS: dict[str, tuple[dict[str, Any], str, str]] = {  # a row as the hub has them, its question and its answer
    "gsm8k": ({"question": "Q1", "answer": "3 + 1,000 = <<3+1000=1003>>1003\n#### 1,003"}, "Q1", "1003"),
    "svamp": ({"Body": "There are 3. ", "Question": "How many?", "Answer": "3.0"}, "There are 3. How many?", "3"),
    "multiarith": ({"question": " Q ", "final_ans": "28"}, "Q", "28"),
    "math-500": ({"problem": "P", "answer": "\\frac{1}{2}"}, "P", "\\frac{1}{2}"),
    "mmlu": ({"question": "Q", "choices": ["w", "x", "y", "z"], "answer": 2}, "Q\nA) w\nB) x\nC) y\nD) z", "C"),
    "arc": (
        {"question": "Q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        "Q\nA) x\nB) y",
        "B",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_the_hub_become_items(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    row, question, answer = ROWS[name]
    monkeypatch.setattr(hub, "_reached", lambda _: True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list([row, row]))
    task = load_task(name, limit=1)
    assert [(item.id, item.answer) for item in task.items] == [(f"{name}-0", answer)]
    assert task.items[0].prompt.strip().startswith(question)
    assert task.right(task.items[0], task.extract(f"So the answer is {answer}. \\boxed{{{answer}}}"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list([{"x": 1}]))
    with pytest.raises(TaskError, match=f"task '{name}': the rows of .* are not as they were: KeyError"):
        load_task(name)


def test_without_a_network_a_hub_task_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    begun, offline = time.monotonic(), constants.HF_HUB_OFFLINE
    with pytest.raises(TaskError, match=r"127\.0\.0\.1:9 cannot be reached, and openai/gsm8k was not"):
        load_task("gsm8k")
    assert time.monotonic() - begun < 10
    assert offline == constants.HF_HUB_OFFLINE
