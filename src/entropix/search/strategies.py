"""The strategies by name."""

from entropix.registry import Registry
from entropix.search.strategy import Strategy

STRATEGIES: Registry[type[Strategy]] = Registry("entropix.strategies", "search", Strategy)
