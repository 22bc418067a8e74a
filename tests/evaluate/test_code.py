"""Questions for code: how answers are read, put together and graded, from their row to the outcome."""

from __future__ import annotations

import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy")
from entropix import Model
from entropix.answers.extractors import code
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.errors import TaskError
from entropix.evaluate import Spec, Store, Task, evaluate, load_task, sandbox, units
from entropix.evaluate.code import code_item, program
from entropix.evaluate.run import is_done
from entropix.evaluate.store import read_outcomes

isolated = pytest.mark.skipif(bool(sandbox.isolation()), reason=f"no isolation from {sandbox.isolation()} here")

BEGUN = {  # in the format of HumanEval
    "task_id": "Mine/0",
    "prompt": "from typing import List\n\n\ndef half(x: int) -> int:\n    return x // 2\n\n\n"
    "def halves(xs: List[int]) -> List[int]:\n"
    '    """ Half of each number, rounded down.\n    >>> halves([4, 5])\n    [2, 2]\n    """\n',
    "entry_point": "halves",
    "canonical_solution": "    return [half(x) for x in xs]\n",
    "test": "\n\nMETADATA = {'author': 'us'}\n\n\ndef check(candidate):\n    assert candidate([4, 5]) == [2, 2]\n"
    "    assert candidate([]) == []\n    assert candidate([-3]) == [half(-3)]\n",
}
BASIC = {  # in the format of MBPP
    "task_id": 7,
    "text": "Write a function to find the hypotenuse of a right triangle.",
    "code": "import math\ndef hypotenuse(a, b):\n    return math.sqrt(a * a + b * b)",
    "test_list": ["assert math.isclose(hypotenuse(3, 4), 5)", "assert math.isclose(hypotenuse(8, 15), 17)"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
SANITIZED = {  # in that of its second version
    "source_file": "mine",
    "task_id": 8,
    "prompt": "Write a function to reverse a text.",
    "code": "def turned(s):\n    return s[::-1]",
    "test_imports": ["import string"],
    "test_list": ["assert turned('abc') == 'cba'", "assert turned(string.digits)[0] == '9'"],
}
PLAIN = {
    "question": "Write a function f that adds one.",
    "tests": ["assert f(1) == 2"],
    "solution": "f = lambda x: x + 1",
}


def task_of(tmp_path: Path, *rows: dict[str, Any], extractor: str = "") -> Task:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return load_task(f"{file}:{extractor}" if extractor else str(file))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Sure!\n```python\ndef f():\n    return 1\n```\nThis works.", "def f():\n    return 1"),
        ("```py\ndef f(): return 1\n```\nand so:\n```python\nprint(f())\n```", "def f(): return 1"),
        ("```\ndef f(): return 1\n```\nbetter:\n```\ndef f(): return 2\n```", "def f(): return 2"),
        ("```python\ndef f(): return 1\n```\n```python\ndef test_f():\n    assert f()\n```", "def f(): return 1"),
        ("```python\nf = lambda: 1\n```", "f = lambda: 1"),
        ("```python\nimport math\ndef f():\n    return mat", "import math\ndef f():\n    return mat"),
        ("~~~ Python\ndef f(): return 1\n~~~", "def f(): return 1"),
        ("1. First:\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1"),
        ("```python\ndef f(): return '''\n    ```x```'''\n```", "def f(): return '''\n    ```x```'''"),
        ("```bash\npip install x\n```\n```python\ndef f(): return 1\n```", "def f(): return 1"),
        ("def f():\n    return 1\n```\nThat is it.", "def f():\n    return 1"),
        ("def f():\n    return 1\n\nThis function returns one.", "def f():\n    return 1"),
        ("So:\nfrom math import pi\n\ndef f():\n    return pi\n", "from math import pi\n\ndef f():\n    return pi"),
        ("def f(x):\n    return x\n\nx: int = 1\ng[1], y = f(2)\nif x:\n    pass\nprint(f(1))\nfrom the start.",
         "def f(x):\n    return x\n\nx: int = 1\ng[1], y = f(2)\nif x:\n    pass\nprint(f(1))"),
        ("    return list(xs)\n\ndef other():\n    pass", "    return list(xs)\n\ndef other():\n    pass"),
        ("class A:\n    def f(self): ...", "class A:\n    def f(self): ..."),
        ("from what I know, there is no answer", None),
        ("```python\n\n```", None),
        ("I do not know.", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_code_of_an_answer(text: str, found: str | None) -> None:
    assert code(text) == found


@given(st.text(alphabet="`~ \n\tpythondef f():x#", max_size=80))
def test_any_text_is_read_without_error(text: str) -> None:
    found = code(text)
    assert found is None or found.strip()


def test_rows_of_all_formats_become_items(tmp_path: Path) -> None:
    task = task_of(tmp_path, BEGUN, BASIC, SANITIZED, PLAIN)
    assert task.extractor == "code"
    assert [item.id for item in task.items] == ["Mine/0", "7", "8", "mine-4"]
    assert all(item.prompt.endswith("in one ```python block.") for item in task.items)
    assert "def halves" in task.items[0].prompt
    assert "assert turned('abc') == 'cba'" in task.items[2].prompt
    assert "f(1)" not in task.items[3].prompt
    assert task.items[1].answer.startswith("import math\nassert")


@isolated
@pytest.mark.parametrize("row", [BEGUN, BASIC, SANITIZED, PLAIN], ids=["HumanEval", "MBPP", "sanitized", "plain"])
def test_the_known_solution_is_right_and_none_is_not(tmp_path: Path, row: dict[str, Any]) -> None:
    task = task_of(tmp_path, row)
    (item,) = task.items
    assert task.grade(item, item.solution) == ("right", "")
    assert task.grade(item, None) == ("none", "")
    assert task.grade(item, "def unrelated(): pass")[0] in ("error", "assertion")
    assert not task.right(item, item.solution.replace("x", "0").replace("a * a", "a").replace("[::-1]", ""))


@isolated
@pytest.mark.parametrize(
    ("answer", "graded"),
    [
        ("def halves(xs):\n    return [x // 2 for x in xs]", "right"),
        ("def halves(xs: List[int]) -> List[int]:\n    return [half(x) for x in xs]", "right"),
        ("    return [half(x) for x in xs]\n\ndef other():\n    pass", "right"),
        ("return [half(x) for x in xs]", "right"),
        ("out = []\n    for x in xs:\n        out.append(half(x))\n    return out", "right"),
        ("out = []\nfor x in xs:\n    out.append(half(x))\nreturn out", "right"),
        ("for x in xs:\n        pass\n    return [half(x) for x in xs]", "right"),
        ("halves = lambda xs: [x // 2 for x in xs]", "right"),
        ("def helper(x):\n    return x // 2\n\ndef halves(xs):\n    return list(map(helper, xs))", "right"),
        ("def halves(xs):\n    return xs", "assertion"),
        ("def halves(xs):\n    return ys", "error"),
        ("def quarters(xs):\n    return [x // 2 for x in xs]", "error"),
        ("def halves(xs):\n    return [x // 2 for", "syntax"),
        ("def check(candidate):\n    pass\ndef halves(xs):\n    return 1", "assertion"),
        ("def halves(xs):\n    raise SystemExit", "exit"),
    ],
)
def test_a_begun_function_is_defined_anew_or_gone_on_with(tmp_path: Path, answer: str, graded: str) -> None:
    task = task_of(tmp_path, BEGUN)
    assert task.grade(task.items[0], answer)[0] == graded


def test_a_begun_function_without_a_docstring_can_be_defined_anew() -> None:
    item = code_item({**BEGUN, "prompt": "import math\ndef halves(xs):\n    # half of each\n"}, "x")
    compile(program(item, "def halves(xs):\n    return xs"), "x", "exec")
    compile(program(item, "    return xs"), "x", "exec")


@isolated
def test_setup_is_run_ahead_and_a_prompt_is_taken_as_it_is(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "prompt": "g(x) twice as f, please",
        "setup": "def g(x): return x + 1",
        "tests": "assert f(1) == 3",
    }
    task = task_of(tmp_path, row)
    assert task.items[0].prompt == row["prompt"]
    assert task.right(task.items[0], "def f(x): return g(g(x))")


@pytest.mark.parametrize(
    ("rows", "extractor", "message"),
    [
        ([{"question": "a", "tests": ""}], "", "line 1: it has no tests"),
        ([{"question": "a", "tests": 1}], "", "line 1: its tests must be a string or a list of strings"),
        ([{"question": "a", "tests": "assert f("}], "", "line 1: its tests are not Python"),
        ([{"question": 1, "tests": "f()", "prompt": 2}], "", "must be texts"),
        ([{"tests": "f()"}], "", "line 1: 'question' is missing"),
        ([{"question": "a", "answer": 1}], "code", "line 1: 'tests' is missing"),
        ([PLAIN, {"question": "a", "answer": 1}], "", "mixes items with and without choices, answers or tests"),
        ([BASIC, BASIC], "", "line 2: the id '7' is that of line 1"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, rows: list[dict[str, Any]], extractor: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task_of(tmp_path, *rows, extractor=extractor)


@isolated
def test_the_rows_that_the_documentation_shows_are_tasks(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in page.splitlines() if line.startswith("{")]
    tasks = [task_of(tmp_path, row, extractor="boxed" if "frac" in str(row) else "") for row in rows]
    assert [task.extractor for task in tasks] == ["number", "choice", "boxed", "short", "code"]
    assert [task.items[0].answer for task in tasks[:3]] == ["9", "B", "\\frac{1}{2}"]


@isolated
def test_generated_code_is_right_by_its_solution_only() -> None:
    task = load_task("code", limit=12, seed=5)
    assert all(task.right(item, item.solution) for item in task.items)
    for item in task.items:
        assert not task.right(item, "def f(x): return 0")
        assert item.solution not in item.prompt
    assert len({item.prompt for item in load_task("code").items}) > 190


@isolated
def test_a_longer_generated_code_task_begins_with_the_shorter() -> None:
    assert load_task("code", limit=20).items[:5] == load_task("code", limit=5).items
    assert load_task("code", limit=5, seed=1).items != load_task("code", limit=5).items


def test_code_is_refused_where_it_cannot_be_isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "isolation", lambda: ("network", "files"))
    monkeypatch.delenv("ENTROPIX_UNSAFE_CODE", raising=False)
    for name in ("code", "humaneval", "mbpp"):
        with pytest.raises(TaskError, match=f"'{name}': .* cannot keep it from the network, the files"):
            load_task(name)
    with pytest.raises(TaskError, match="ENTROPIX_UNSAFE_CODE=1"):
        task_of(tmp_path, PLAIN)
    monkeypatch.setenv("ENTROPIX_UNSAFE_CODE", "1")
    assert task_of(tmp_path, PLAIN).items


SPECS = [Spec("greedy", "greedy"), Spec("vote", "sample:temperature=0.1", "vote:n=2,answer=code")]


def answered(directory: Path, task: Task, text: str) -> list[dict[str, Any]]:
    model = Model(ScriptedEngine(saying(text, certainty=60.0), context=2048, sequences=8))
    with Store(directory, {"model": "scripted", "tasks": {}, "specs": {}}) as store:
        work = units([task], SPECS, [1])
        evaluate(model, work, store, max_tokens=200, together=4)
        assert all(is_done(unit, store) == (store.outcomes[unit.key]["graded"] != "ungraded") for unit in work)
    return read_outcomes(directory)


@isolated
@pytest.mark.parametrize(
    ("text", "graded", "why"),
    [
        ("Here:\n```python\ndef f(x):\n    return x + 1\n```", "right", ""),
        ("```python\ndef f(x):\n    return x\n```", "assertion", "assert f(1) == 2"),
        ("```python\ndef f(x):\n    return y\n```", "error", "NameError"),
        ("I cannot.", "none", ""),
    ],
)
def test_a_run_grades_code_and_says_why(tmp_path: Path, text: str, graded: str, why: str) -> None:
    outcomes = answered(tmp_path / "run", task_of(tmp_path, PLAIN), text)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert outcome["graded"] == graded
        assert outcome["right"] == outcome["any_right"] == (graded == "right")
        assert why in outcome["failure"]
        assert outcome["gold"] == "assert f(1) == 2"


@isolated
def test_a_sandbox_that_fails_loses_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tmp_path, PLAIN)
    text = "```python\ndef f(x):\n    return x + 1\n```"
    with monkeypatch.context() as patch:
        patch.setattr(sandbox.sys, "executable", str(tmp_path / "none"))
        outcomes = answered(tmp_path / "run", task, text)
    assert [(o["graded"], o["right"], o["text"]) for o in outcomes] == [("ungraded", False, text)] * 2
    assert [o["graded"] for o in answered(tmp_path / "run", task, text)] == ["right"] * 2


HOSTILE = {  # how an answer attacks, and as what it is graded
    "loop": ("while True: pass", "timeout"),
    "allocate": ("x = []\nwhile True: x.append(bytearray(1 << 25))", "memory"),
    "fork": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "timeout"),
    "flood": ("while True: print('x' * 10**6)", "output"),
    "write": ("open({path!r}, 'w').write('x')", "error"),
    "secret": ("import os\nraise ValueError(sorted(os.environ.items()))", "error"),
    "network": ("import socket\nsocket.create_connection({address!r}, timeout=1)", "error"),
    "kill": ("import os\nos.kill(os.getppid(), 9)\nos.kill(os.getpid(), 9)", "error crash"),
    "leave": ("import os\nos._exit(0)", "exit"),
    "none": ("", "right"),
}


@isolated
def test_hostile_answers_are_graded_and_neither_stop_the_run_nor_reach_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2")
    monkeypatch.setattr(sandbox, "run", partial(sandbox.run, seconds=1.5, memory=256 << 20))
    path = tmp_path / "written"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acts = {n: act.format(path=str(path), address=listener.getsockname()) for n, (act, _) in HOSTILE.items()}
        texts = {name: f"```python\ndef f(x):\n    return x + 1\n{act}\n```" for name, act in acts.items()}
        task = task_of(tmp_path, *({"id": name, "prompt": f"[{name}]", "tests": "assert f(1) == 2"} for name in texts))

        def script(tokens: tuple[int, ...]) -> Any:
            asked = bytes(t for t in tokens if t < 256).partition(b"]")[0].decode()[1:]
            return saying(texts[asked], certainty=60.0)(tokens)

        model = Model(ScriptedEngine(script, context=2048, sequences=4))
        with Store(tmp_path / "run", {"model": "scripted", "tasks": {}, "specs": {}}) as store:
            evaluate(model, units([task], SPECS[:1], [1]), store, max_tokens=400)
        listener.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listener.accept()
    outcomes = {o["item"]: o for o in read_outcomes(tmp_path / "run")}
    assert {name: o["text"] for name, o in outcomes.items()} == texts
    for name, (_, graded) in HOSTILE.items():
        assert outcomes[name]["graded"] in graded.split(), outcomes[name]
    assert not path.exists()
    assert "PATH" in outcomes["secret"]["failure"]
    assert "hunter2" not in (tmp_path / "run" / "outcomes.jsonl").read_text()
