"""Tasks, comparisons by item, and what may be concluded from them. Needs the extra `eval`."""

from entropix.evaluate.report import markdown
from entropix.evaluate.run import Unit, evaluate, units
from entropix.evaluate.specs import Spec, read_specs
from entropix.evaluate.store import Store
from entropix.evaluate.summary import summarise
from entropix.evaluate.tasks import Item, Task, load_task

__all__ = [
    "Item",
    "Spec",
    "Store",
    "Task",
    "Unit",
    "evaluate",
    "load_task",
    "markdown",
    "read_specs",
    "summarise",
    "units",
]
