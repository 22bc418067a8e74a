"""Questions that are answered with code, and graded by running it.

Sources of the formats: HumanEval, Chen et al. 2021, arXiv:2107.03374; MBPP, Austin et al. 2021, arXiv:2108.07732.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from entropix.errors import TaskError
from entropix.evaluate import sandbox
from entropix.evaluate.items import Item

INSTRUCTION = "Write the whole function, with its imports, in one ```python block."
RIGHT, NONE, UNGRADED = "right", "none", "ungraded"


def is_code(row: Mapping[str, Any]) -> bool:
    """Whether a row is of a question that is graded by running tests."""
    return any(name in row for name in ("tests", "test_list")) or {"entry_point", "test"} <= set(row)


def code_item(row: Mapping[str, Any], id: str) -> Item:
    """An item of a row in the format of HumanEval, of MBPP, or {"question", "tests"}; where wanted with "setup", which
    is run ahead of the answer, "solution", and "prompt" instead of the question and our instruction. `id` is for a row
    without one. Raises KeyError for what is missing, and ValueError for tests that are empty or not Python."""
    id = str(row.get("task_id", row.get("id", id)))
    if "test_list" in row:
        setup = "\n".join([*row.get("test_imports", ()), row.get("test_setup_code") or ""]).strip()
        shown = _joined(row["test_list"])
        question = f"{row['text'] if 'text' in row else row['prompt']}\n\nIt must pass these tests:\n\n{fenced(shown)}"
        item = Item(id, asked(question), f"{setup}\n{shown}".strip(), setup, "", row.get("code", ""))
    elif "entry_point" in row and "test" in row:
        question = f"Complete this function:\n\n{fenced(row['prompt'].strip())}"
        tests = f"{row['test'].strip()}\n\ncheck({row['entry_point']})"
        solution = row.get("canonical_solution", "")
        item = Item(id, asked(question), tests, row["prompt"], row["entry_point"], solution)
    else:
        prompt = row["prompt"] if "prompt" in row else asked(row["question"])
        setup = row.get("setup", "")
        item = Item(id, prompt, _joined(row["tests"]), setup, "", row.get("solution", ""))
    if not all(isinstance(part, str) for part in (item.prompt, item.before, item.entry, item.solution)):
        raise ValueError("the question, its setup and its solution must be texts")
    if not item.answer.strip():
        raise ValueError("it has no tests; without them every answer would be right")
    try:
        compile(item.answer, "<tests>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ValueError(f"its tests are not Python: {error.msg}, in their line {error.lineno}") from None
    return item


def asked(question: str) -> str:
    return f"{question}\n\n{INSTRUCTION}"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def program(item: Item, answer: str) -> str:
    """What is run ahead of the tests: the answer, with what must stand before it.

    An answer to a begun function that does not define it continues it: it is its body."""
    defined = re.compile(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(item.entry)}\b|^{re.escape(item.entry)}[ \t]*=", re.M)
    if not item.entry:
        return f"{item.before}\n{answer}"
    if not defined.search(answer) and not re.search(r"^(?:async |def |class )", answer.lstrip("\n"), re.M):
        return f"{item.before.rstrip()}\n{_body(answer)}\n"
    if not defined.search(answer) and answer.lstrip("\n")[:1] in " \t":
        return f"{item.before.rstrip()}\n{answer}\n"  # the body, and helpers after it
    begun = defined.search(item.before)
    return f"{item.before[: begun.start()] if begun else item.before}\n{answer}"


def grade(item: Item, answer: str | None) -> tuple[str, str]:
    """ "right", or what went wrong: "none" for no answer, a reason of `sandbox.Ran`, or "ungraded" when the sandbox
    failed; and in one line why. Raises TaskError where code cannot be isolated."""
    if answer is None:
        return NONE, ""
    try:
        ran = sandbox.run(program(item, answer), item.answer)
    except sandbox.SandboxError as error:
        return UNGRADED, str(error)
    return (RIGHT if ran.ok else ran.reason), ran.detail


def check_isolation(name: str) -> None:
    """Raise TaskError where the code of task `name` must not be run."""
    try:
        sandbox.require()
    except TaskError as error:
        raise TaskError(f"task {name!r}: {error}") from None


def _joined(tests: Any) -> str:
    if isinstance(tests, str):
        return tests.strip()
    if not isinstance(tests, list) or not all(isinstance(test, str) for test in tests):
        raise ValueError("its tests must be a string or a list of strings")
    return "\n".join(tests)


def _body(answer: str) -> str:
    """The body of a function, indented. The first line may have lost its indentation, as where the model's text is
    stripped."""
    first, _, rest = answer.strip("\n").partition("\n")
    if first[:1] in (" ", "\t"):
        return answer
    indents = [len(line) - len(line.lstrip()) for line in rest.split("\n") if line.strip()]
    lost = indents and min(indents) >= 4 and (not first.rstrip().endswith(":") or indents[0] >= 8)
    return f"    {first}\n{rest}" if lost else textwrap.indent(answer, "    ")
