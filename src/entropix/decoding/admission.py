"""Whether a request can be decoded, said before it is queued rather than in the middle of a text."""

from __future__ import annotations

from entropix.decoding.request import Request
from entropix.engines import Engine
from entropix.errors import CapabilityError, ParameterError, PromptError
from entropix.policies import check_needs
from entropix.types import SIGNALS


def check_request(engine: Engine, request: Request) -> tuple[bool, list[str]]:
    """Whether attention is going to be measured for a request, and notes for its reader; any thread may ask.

    Raises PromptError, ParameterError or CapabilityError for a request that could not be decoded."""
    capabilities = engine.capabilities
    limit = min(capabilities.context, capabilities.cells)
    if not len(request.tokens):
        raise PromptError("the prompt is empty; give at least one character")
    if len(request.tokens) >= limit:
        raise PromptError(
            f"the prompt has {len(request.tokens)} tokens, and the context holds {limit} including the answer; "
            "shorten the prompt, or load the model with a larger context if it allows one"
        )
    if any(token >= engine.info.vocabulary for token in request.logit_bias):
        raise ParameterError(f"logit_bias: this model's tokens are 0 … {engine.info.vocabulary - 1}")
    constraint = request.constraint
    if constraint is not None and constraint.vocabulary != engine.info.vocabulary:
        raise ParameterError("constraint: it was made for another model; make it with this one's `constraint`")
    if request.reproducible:
        _check_reproducible(engine, request)
    wants, notes = _attention(engine, request)
    if request.forced and (request.search is not None or request.constraint is not None):
        raise ParameterError("forced: given tokens are scored without a search and without a constraint; leave one out")
    if request.search is not None:
        notes += request.search.check(capabilities, request.policy)
    notes += constraint.notes if constraint is not None else ()
    return wants, notes


def _check_reproducible(engine: Engine, request: Request) -> None:
    """Raises CapabilityError where what is shown depends on what is computed beside it."""
    most = engine.capabilities.reproducible
    if not most:
        raise CapabilityError(
            f"reproducible: the engine of {engine.info.name!r} rounds by how many rows it computes at a time, so a "
            "text can depend on others; leave it out, or use a GGUF file on the CPU (llama_cpp)"
        )
    if request.search is not None and request.search.max_sequences > most:
        raise CapabilityError(
            f"reproducible: the search wants {request.search.max_sequences} sequences at a time, and {most} of them "
            "can be reproducible here; give a smaller max_sequences, or load the model with more cells"
        )


def _attention(engine: Engine, request: Request) -> tuple[bool, list[str]]:
    """Whether to measure attention for a request, and what its reader must know. Raises CapabilityError."""
    policy, shows = request.policy, engine.capabilities.attention
    wants = "attention" in policy.asked if request.attention is None else request.attention
    shown = SIGNALS if shows and wants else SIGNALS - {"attention"}
    check_needs(policy, shown, f"the engine of {engine.info.name!r}" if not shows else "this request")
    if wants and not shows:
        if request.attention:
            raise CapabilityError(
                f"policy {request.policy.name!r} was asked to use attention signals, and the engine of "
                f"{engine.info.name!r} shows none; leave attention out or use an engine that shows it"
            )
        return False, ["attention: the engine shows none; attention terms are neutral"]
    return wants, []
