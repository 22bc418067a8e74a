"""More than one continuation: lookahead, branch, backtrack, tree, vote. docs/search.md."""

from entropix.search.answers import EXTRACTORS
from entropix.search.config import (
    STRATEGIES,
    Backtrack,
    Branch,
    Lookahead,
    SearchPlan,
    Strategy,
    Tree,
    Vote,
    make_search,
)

__all__ = [
    "EXTRACTORS",
    "STRATEGIES",
    "Backtrack",
    "Branch",
    "Lookahead",
    "SearchPlan",
    "Strategy",
    "Tree",
    "Vote",
    "make_search",
]
