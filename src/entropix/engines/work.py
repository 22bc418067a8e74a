"""What every engine asks of a forward's work, whatever it runs on."""

from __future__ import annotations

from collections.abc import Sequence

from entropix.engines.base import Work
from entropix.errors import CapacityError, ParameterError


def check_work(work: Sequence[Work], vocabulary: int, context: int) -> int:
    """How many tokens the work appends, all of it checked before anything changes. vocabulary: token ids are below it;
    context: most tokens of a sequence.

    Raises ParameterError for work that no engine could do, CapacityError for a sequence that would grow too long."""
    if not work:
        raise ParameterError("a forward takes at least one sequence with tokens")
    if len({id(sequence) for sequence, _ in work}) < len(work):
        raise ParameterError("a sequence appears twice in one forward; join its tokens into one item")
    for sequence, tokens in work:
        if not len(tokens):
            raise ParameterError("a forward takes at least one token of each sequence")
        if min(tokens) < 0 or max(tokens) >= vocabulary:
            raise ParameterError(f"a token is out of range; allowed is 0 … {vocabulary - 1}")
        if len(sequence.tokens) + len(tokens) > context:
            raise CapacityError(
                f"{len(sequence.tokens)} tokens and {len(tokens)} more exceed the context of {context}; "
                "shorten the text, or load the model with a larger context if it allows one"
            )
    return sum(len(tokens) for _, tokens in work)
