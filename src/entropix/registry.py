"""Policies, strategies, engines and estimators by name: those that are built in, and those that installed packages add.

All come through one door, entry points of the groups below. Those of the built-ins stand here, as a checkout has no
metadata and an editable installation may have old ones; pyproject.toml says the same, and a test compares the two.
Nothing is imported before its name is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from entropix.closest import did_you_mean
from entropix.errors import ParameterError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

DISTRIBUTION = "entropix-llm"

BUILT_IN = {
    "entropix.policies": {
        "entropix": "entropix.policies.entropix:Entropix",
        "greedy": "entropix.policies.baselines:Greedy",
        "sample": "entropix.policies.baselines:Sample",
        "dynatemp": "entropix.policies.baselines:DynaTemp",
        "edt": "entropix.policies.baselines:Edt",
        "top-n-sigma": "entropix.policies.baselines:TopNSigma",
        "mirostat": "entropix.policies.mirostat:Mirostat",
        "entropix-2024": "entropix.policies.entropix_2024:Entropix2024",
    },
    "entropix.strategies": {
        "lookahead": "entropix.search.lookahead:Lookahead",
        "branch": "entropix.search.branch:Branching",
        "backtrack": "entropix.search.backtrack:Backtrack",
        "tree": "entropix.search.tree:Tree",
        "vote": "entropix.search.vote:Vote",
        "best": "entropix.search.best:Best",
    },
    "entropix.engines": {
        "llama_cpp": "entropix.engines.kinds:LLAMA_CPP",
        "transformers": "entropix.engines.kinds:TRANSFORMERS",
        "mlx": "entropix.engines.kinds:MLX",
    },
    "entropix.estimators": {
        "length": "entropix.uncertainty.one_text:TextLength",
        "msp": "entropix.uncertainty.one_text:SequenceProbability",
        "perplexity": "entropix.uncertainty.one_text:Perplexity",
        "mean-token-entropy": "entropix.uncertainty.one_text:MeanTokenEntropy",
        "answer-span": "entropix.uncertainty.one_text:AnswerSpan",
        "answer-span-mean": "entropix.uncertainty.one_text:AnswerSpanMean",
        "answer-span-least": "entropix.uncertainty.one_text:AnswerSpanLeast",
        "bottom-window": "entropix.uncertainty.one_text:BottomWindow",
        "ccp": "entropix.uncertainty.one_text:ClaimConditioned",
        "label-share": "entropix.uncertainty.several:LabelShare",
        "cocoa-msp": "entropix.uncertainty.several:CocoaMsp",
        "cocoa-ppl": "entropix.uncertainty.several:CocoaPpl",
        "cocoa-mte": "entropix.uncertainty.several:CocoaMte",
        "semantic-entropy": "entropix.uncertainty.several:SemanticEntropy",
        "semantic-entropy-p": "entropix.uncertainty.several:SemanticEntropySummed",
        "self-assessment": "entropix.uncertainty.several:SelfAssessment",
    },
}


class Registry(MutableMapping[str, T], Generic[T]):
    """What one group of entry points names, and what this process adds (`POLICIES["mine"] = Mine`, as in a notebook).
    Iterating gives the names and loads nothing.

    noun: what a message calls one of them. base: the class that an entry point's object is a subclass or instance of;
    its `name` is the entry point's."""

    def __init__(self, group: str, noun: str, base: type[Any]) -> None:
        self.group, self.noun, self.base = group, noun, base
        self._loaded: dict[str, T] = {}
        self._added: dict[str, T] = {}

    @property
    def _points(self) -> Mapping[str, Sequence[EntryPoint]]:
        return entry_points_of(self.group)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._points, *self._added]))

    def __len__(self) -> int:
        return len({*self._points, *self._added})

    def __contains__(self, name: object) -> bool:
        return name in self._points or name in self._added

    def __setitem__(self, name: str, kind: T) -> None:
        self._added[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __getitem__(self, name: str) -> T:
        """Raises KeyError for a name that there is not, PluginError for one that two packages define or whose package
        is broken."""
        if name in self._added:
            return self._added[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name, self._points[name])
        return self._loaded[name]

    def find(self, name: str) -> T:
        """The one of this name. Raises ParameterError that says which there are, or PluginError."""
        if name not in self:
            raise ParameterError(
                f"there is no {self.noun} {name!r}; known are {', '.join(self)}{did_you_mean(name, self)}"
            )
        return self[name]

    def usable(self) -> tuple[dict[str, T], list[str]]:
        """All that can be loaded, and what is wrong with the others."""
        kinds: dict[str, T] = {}
        problems = []
        for name in self:
            try:
                kinds[name] = self[name]
            except PluginError as error:
                problems.append(str(error))
        return kinds, problems

    def _load(self, name: str, points: Sequence[EntryPoint]) -> T:
        if len(points) > 1:
            packages = " and by ".join(_package(point) for point in points)
            raise PluginError(f"{self.noun} {name!r} is defined by {packages}; uninstall one of them")
        where = f"{self.noun} {name!r} of the package {_package(points[0])}"
        try:
            kind: Any = points[0].load()
        except Exception as error:  # whatever goes wrong in another package's code, the rest works
            raise PluginError(
                f"{where} cannot be loaded ({type(error).__name__}: {error}); mend or uninstall the package"
            ) from error
        of_base = issubclass(kind, self.base) if isinstance(kind, type) else isinstance(kind, self.base)
        if not of_base:
            raise PluginError(f"{where}: {points[0].value} is no {self.base.__name__}; see docs/extending.md")
        if kind.name != name:
            raise PluginError(f"{where}: {points[0].value} calls itself {kind.name!r}; the two names must agree")
        return cast("T", kind)


@cache
def entry_points_of(group: str) -> Mapping[str, Sequence[EntryPoint]]:
    """Entry points by name: the built-in ones first, then those of installed packages by name."""
    from importlib.metadata import EntryPoint, entry_points

    found = {name: [EntryPoint(name, value, group)] for name, value in BUILT_IN[group].items()}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, _package(p))):
        if _package(point).partition(" ")[0] != DISTRIBUTION:
            found.setdefault(point.name, []).append(point)
    return found


def names(group: str) -> list[str]:
    """The names of a group, without loading anything."""
    return list(entry_points_of(group))


def _package(point: EntryPoint) -> str:
    """Name and version of the package that an entry point is of."""
    dist = point.dist
    if dist is None:
        return DISTRIBUTION
    return f"{dist.name.lower().replace('_', '-').replace('.', '-')} {dist.version}"
