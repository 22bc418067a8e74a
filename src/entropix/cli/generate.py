"""`entropix generate`: answer one or several prompts."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from entropix.cli.endpoints import add_endpoint_options, check_endpoint
from entropix.cli.options import (
    add_constraint_options,
    add_decoding_options,
    add_model_options,
    add_output_options,
    add_prompt_options,
    read_constraint,
    read_prompts,
)

DESCRIPTION = """\
Answer a prompt. The text goes to standard output as it comes, coloured on a terminal by how unsure
the model was; legend, notes and a summary go to standard error, so a pipe gets only the text.

Several prompts are decoded as one batch and printed one after the other. Without a prompt, or for
the prompt "-", it is read from standard input. Ctrl-C stops and keeps what has been said."""

EXAMPLES = """\
examples:
  entropix generate "Why is the sky blue?"
  entropix generate --seed 7 --max-tokens 100 "Write a haiku about rain."
  entropix generate --policy sample:temperature=0.7,top_p=0.9 "Name three rivers."
  entropix generate -c 2048 --temperature 0.7 --top-p 0.9 "Name three rivers."
  entropix generate --policy entropix --set candidates=5 --set inject=" Wait, " "What is 17 * 23?"
  entropix generate "Name a river." "Name a mountain."
  cat letter.txt | entropix generate --system "Summarise the user's text in one sentence."
  entropix generate --search vote:n=8,answer=number -p sample:temperature=0.7 "What is 17 * 23?"
  entropix generate --search tree:max_sequences=8+vote:answer=number --show-tree "What is 17 * 23?"
  entropix generate --json-schema person.schema.json "Invent a person, as JSON."
  entropix generate --regex "yes|no" "Is water wet? Answer yes or no."
  entropix generate --endpoint http://localhost:8000/v1 --search vote:n=8,answer=number "What is 17 * 23?"
  entropix generate --raw "Once upon a time"
  entropix generate --trace sky.jsonl "Why is the sky blue?" && entropix trace sky.jsonl --table
  entropix generate --json "Name a river." | python -m json.tool

exit codes: 0 done, 2 something given was wrong, 130 stopped by Ctrl-C"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_options(parser)


def add_options(parser: argparse.ArgumentParser, *, model: bool = True) -> None:
    """model: with --model."""
    from entropix.registry import names

    add_prompt_options(parser, "prompt")
    parser.add_argument(
        "--raw", action="store_true", help="continue the prompt as plain text instead of answering it as a chat message"
    )
    add_model_options(parser, model=model)
    add_decoding_options(parser)
    add_constraint_options(parser)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--search",
        metavar="NAME[:PARAMETER=VALUE,…][+NAME…]",
        help=f"explore several continuations: {', '.join(names('entropix.strategies'))}, or several joined by +; "
        "`entropix searches` lists their parameters",
    )
    search.add_argument(
        "--show-tree", action="store_true", help="show the branches while they grow (on a terminal) and at the end"
    )
    add_endpoint_options(parser)
    output = add_output_options(parser)
    output.add_argument(
        "--json", action="store_true", help="one JSON object an answer, with every token and its signals"
    )


def run(args: argparse.Namespace) -> int:
    from entropix.cli import INTERRUPTED, fail
    from entropix.cli.output import JsonOutput, Screen, TextOutput
    from entropix.cli.running import close_trace, follow, header_of, interruptible, loaded
    from entropix.cli.sampling import read_sampling
    from entropix.cli.tree import show_tree, showing_tree
    from entropix.errors import EntropixError
    from entropix.search import make_search
    from entropix.trace import TraceWriter, check_writable

    if args.raw and args.system:
        args.parser.error("--system needs a chat message, and --raw sends plain text; leave one of them out")
    prompts = read_prompts(args)
    sampling = read_sampling(args)
    make_search(args.search)
    constraint = read_constraint(args)
    check_endpoint(args)
    if args.show_tree and not args.search:
        args.parser.error("--show-tree shows a search; give one with --search")
    if args.trace:
        check_writable(args.trace)
    screen = Screen.of(args)
    if args.endpoint is not None:
        from entropix.cli.remote import answer, show_results

        return answer(
            args,
            screen,
            [with_system(prompt, args.system) for prompt in prompts],
            sampling.parameters,
            lambda results: show_results(args, screen, prompts, results),
            search=args.search,
            stop=tuple(args.stop),
            raw=args.raw,
        )
    with loaded(args, screen, args.model) as model, interruptible() as interrupt:
        asked = [with_system(prompt, args.system) for prompt in prompts]
        stream = model.stream(
            asked if len(asked) > 1 else asked[0],
            policy=args.policy,
            seed=args.seed,
            reproducible=args.reproducible,
            max_tokens=args.max_tokens,
            stop=tuple(args.stop),
            raw=args.raw,
            attention=args.attention,
            search=args.search,
            constraint=constraint,
            filters=sampling.filters,
            repetition=sampling.repetition,
            **sampling.parameters,
        )
        header = header_of(model, args, sampling, asked)
        if constraint:
            header["constraint"] = asdict(constraint)
        writer = TraceWriter(args.trace, header) if args.trace else None
        for note in model.notes:
            screen.tell(note)
        show = JsonOutput(screen, prompts) if args.json else TextOutput(screen, prompts, spans=args.spans)
        show.begin()
        try:
            with showing_tree(screen, stream, args.show_tree):
                results = follow(stream, interrupt, show.step, writer, screen=None if args.show_tree else screen)
            show.end(results)
            if args.show_tree:
                for result in results:
                    show_tree(screen.err, result.search)
            said = {*model.notes, *map(str, stream.failures.values())}
            for note in dict.fromkeys(note for result in results for note in result.notes if note not in said):
                screen.tell(note)
        except EntropixError:
            show.abort()
            raise
        finally:
            failed = close_trace(writer)
    for error in dict.fromkeys(map(str, stream.failures.values())):
        failed = fail(error)
    return INTERRUPTED if interrupt.requested else failed


def with_system(prompt: str, system: str | None) -> Any:
    """The prompt as a conversation if there is a system message."""
    if not system:
        return prompt
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
