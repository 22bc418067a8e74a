"""More than one continuation: lookahead, branch, backtrack, tree, vote, best. docs/search.md."""

from entropix.search.backtrack import Backtrack
from entropix.search.best import Best
from entropix.search.branch import Branching
from entropix.search.lookahead import Lookahead
from entropix.search.spec import SearchPlan, make_search
from entropix.search.strategies import STRATEGIES
from entropix.search.strategy import Strategy, Tactic
from entropix.search.tree import Tree
from entropix.search.vote import Vote

__all__ = [
    "STRATEGIES",
    "Backtrack",
    "Best",
    "Branching",
    "Lookahead",
    "SearchPlan",
    "Strategy",
    "Tactic",
    "Tree",
    "Vote",
    "make_search",
]
