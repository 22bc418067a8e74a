"""The strategies by name."""

from __future__ import annotations

from entropix.search.backtrack import Backtrack
from entropix.search.best import Best
from entropix.search.branch import Branching
from entropix.search.lookahead import Lookahead
from entropix.search.strategy import Strategy
from entropix.search.tree import Tree
from entropix.search.vote import Vote

STRATEGIES: dict[str, type[Strategy]] = {s.name: s for s in (Lookahead, Branching, Backtrack, Tree, Vote, Best)}
