"""`--endpoint` of `entropix generate` and `entropix ask`: the same answers, searches and traces over another server."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from entropix.cli.options import Default, check_policy, exposed, read_text
from entropix.cli.output import JsonOutput, Screen, TextOutput
from entropix.cli.running import close_trace, interruptible
from entropix.cli.tree import show_tree
from entropix.cli.votes import standing, vote_line
from entropix.errors import EndpointError, EntropixError, ParameterError
from entropix.remote import Endpoint, connect
from entropix.trace import TraceWriter, make_header
from entropix.types import Result


def answer(
    args: argparse.Namespace,
    screen: Screen,
    asked: list[Any],
    values: dict[str, Any],
    show: Callable[[list[Result]], None],
    **options: Any,
) -> int:
    """Answer the prompts one after the other; the exit code. What has been answered is shown whatever comes after.
    options: of `Endpoint.generate`."""
    from entropix.cli import INTERRUPTED

    parameters = values if isinstance(args.policy, Default) else check_policy(args.policy, values)
    if args.api_key_file is not None and (warning := exposed(args.api_key_file)):
        screen.tell(warning)
    endpoint = connect(
        args.endpoint,
        None if isinstance(args.model, Default) else args.model,
        None if args.api_key_file is None else read_key(args.api_key_file),
        limit=args.time_limit,
        profile=args.profile,
    )
    results: list[Result] = []
    writer: TraceWriter | None = None
    failed = 0
    with interruptible() as interrupt:
        try:
            for n, prompt in enumerate(asked):
                try:
                    with vote_line(screen) as line:
                        result = endpoint.generate(
                            prompt,
                            seed=args.seed,
                            max_tokens=args.max_tokens,
                            watch=lambda: not interrupt.requested,
                            progress=lambda texts, line=line: line(lambda: standing(texts)),
                            **options,
                            **sampling(args.policy, parameters),
                        )
                except EndpointError:
                    if interrupt.requested:  # before the endpoint had decided
                        break
                    raise
                results.append(result)
                if args.trace and writer is None:
                    writer = TraceWriter(args.trace, header_of(endpoint, args, parameters, asked))
                if writer:
                    writer.result(n, result)
                if interrupt.requested:
                    break
        finally:
            show(results)
            failed = close_trace(writer)
    return INTERRUPTED if interrupt.requested else failed


def show_results(args: argparse.Namespace, screen: Screen, prompts: list[str], results: list[Result]) -> None:
    if not results:
        return
    output = JsonOutput(screen, prompts[: len(results)]) if args.json else TextOutput(screen, prompts, spans=args.spans)
    output.begin()
    output.end(results)
    if args.show_tree:
        for result in results:
            show_tree(screen.err, result.search)
    for note in dict.fromkeys(note for result in results for note in result.notes):
        screen.tell(note)


def sampling(policy: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The request's fields that a policy stands for; without one, those that were given. OpenAI's API has no top_k and
    min_p, so they are sent only where they do something."""
    if isinstance(policy, Default):
        further = {name: parameters[name] for name in ("top_k", "min_p") if name in parameters}
        return {name: parameters[name] for name in ("temperature", "top_p") if name in parameters} | {"fields": further}
    if "control" in parameters:
        raise ParameterError("control does not go with --endpoint: it changes decisions token by token")
    if "temperature" not in parameters:
        return {"temperature": 0.0}
    further = {name: parameters[name] for name in ("top_k", "min_p") if parameters[name]}
    top_p = parameters["top_p"]
    return {
        "temperature": parameters["temperature"],
        "top_p": None if top_p == 1 else top_p,
        "fields": further,
    }


def read_key(file: str) -> str:
    """The API key in a file. Raises ParameterError without one."""
    try:
        key = read_text(file).strip()
    except EntropixError as error:
        raise ParameterError(f"--api-key-file: {error}") from None
    if not key or not key.isascii() or len(key.split()) > 1:
        raise ParameterError(f"--api-key-file: {file!r} holds no key; it is one word, on a line of its own")
    return key


def header_of(
    endpoint: Endpoint, args: argparse.Namespace, parameters: dict[str, Any], asked: list[Any]
) -> dict[str, Any]:
    """The header of a trace of this run."""
    return make_header(
        model=endpoint.model or "",
        fingerprint="",
        engine="endpoint",
        policy="" if isinstance(args.policy, Default) else args.policy.partition(":")[0],
        parameters=parameters,
        seed=args.seed,
        profile=endpoint.profile.name,
        thresholds=endpoint.profile.thresholds,
        prompts=asked,
        notes=(),
    )
