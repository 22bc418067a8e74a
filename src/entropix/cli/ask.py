"""`entropix ask`: an answer, how sure it is, and from what."""

from __future__ import annotations

import argparse
from typing import Any

from entropix.cli.endpoints import add_endpoint_options, check_endpoint
from entropix.cli.options import (
    Default,
    add_color_option,
    add_model_options,
    add_profile_option,
    add_prompt_options,
    add_sampling_options,
    add_spans_option,
    named,
    positive,
    read_prompts,
)

DESCRIPTION = """\
Answer a question with as many texts as it needs: several are drawn, until enough of them agree.
Printed are the answer, how sure it is, and what the other texts say.

An open question, which has no short answer to agree on, is answered by one text, and that is said.
The answer goes to standard output, everything about it to standard error. Ctrl-C stops, and what has
been cast decides."""

EXAMPLES = """\
examples:
  entropix ask "A farmer has 17 sheep. All but 9 run away. How many are left?"
  entropix ask --effort high -m qwen.gguf "What is 17 * 23?"
  entropix ask --show "Which is larger? A. 0.9 B. 0.11"
  entropix ask --answer short "Who wrote Hamlet?" "When was it written?"
  entropix ask --endpoint http://localhost:8000/v1 "What is 17 * 23?"
  entropix ask --endpoint http://localhost:8000/v1 --risk 10% "What is 17 * 23?"
  entropix ask --ballots 4 "What is 17 * 23?" "What is 3 * 4?" "How many days has May?"
  cat question.txt | entropix ask --json

effort: none one text; low 2 texts ahead, at most 8; medium 3 ahead, at most 16; high 4 ahead, at most 32
exit codes: 0 done, 2 something given was wrong, 130 stopped by Ctrl-C"""


LIKELY = 0.005
"""Probability of a single text from which on it is said: that of a long one is next to nothing, and says as much."""

WHOLE = ("end", "stop")
"""How a text ends that is not cut off."""


def configure(parser: argparse.ArgumentParser) -> None:
    from entropix.answers import EXTRACTORS
    from entropix.search.effort import LEVELS

    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_prompt_options(parser, "question")
    parser.add_argument(
        "-e", "--effort", choices=list(LEVELS), default="medium", help="how hard to try (default: %(default)s)"
    )
    parser.add_argument(
        "--answer",
        choices=list(EXTRACTORS),
        help="what a text answers, where that should not be recognised from the question and the texts",
    )
    parser.add_argument(
        "--risk",
        metavar="SHARE",
        help="answer only where at most this share of answers is wrong, such as 10%%; needs a calibrated confidence, "
        "over an endpoint that of `entropix serve`",
    )
    parser.add_argument(
        "--ballots",
        type=positive,
        metavar="N",
        help="N texts per question, which move to the questions that are least decided (default: stop at a lead)",
    )
    add_model_options(parser)
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "-p",
        "--policy",
        metavar="NAME[:PARAMETER=VALUE,…]",
        help="how the texts after the first are drawn (default: sample:temperature=0.7); the first is greedy",
    )
    add_sampling_options(group)
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same texts (default: drawn)")
    group.add_argument(
        "-n", "--max-tokens", type=positive, default=512, metavar="N", help="most tokens of one text (default: 512)"
    )
    add_profile_option(group)  # type: ignore[arg-type]  # an argument group takes arguments as a parser does
    add_endpoint_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--show", action="store_true", help="show the text that gives the answer, too")
    add_spans_option(output)
    output.add_argument("--trace", type=named, metavar="FILE", help="write every step to FILE, one JSON line each")
    output.add_argument("--json", action="store_true", help="one JSON object per question, with every text")
    output.add_argument("-q", "--quiet", action="store_true", help="the answer and nothing else")
    add_color_option(output)
    parser.set_defaults(legend=False, raw=False, set=[])


def run(args: argparse.Namespace) -> int:
    from entropix.cli import INTERRUPTED
    from entropix.cli.generate import with_system
    from entropix.cli.output import Screen
    from entropix.cli.running import close_trace, follow, header_of, interruptible, loaded
    from entropix.cli.sampling import read_sampling
    from entropix.cli.votes import showing_votes
    from entropix.profiles.confidence import parse_risk
    from entropix.search.effort import POLICY, make_pool
    from entropix.trace import TraceWriter, check_writable

    questions = read_prompts(args)
    args.policy = args.policy or Default(POLICY)
    sampling = read_sampling(args)
    check_endpoint(args)
    risk = None if args.risk is None else parse_risk(args.risk)
    if args.ballots is not None:
        make_pool(args.effort, args.ballots)
    if args.trace:
        check_writable(args.trace)
    screen = Screen.of(args)
    asked: list[Any] = [with_system(question, args.system) for question in questions]
    if args.endpoint is not None:
        from entropix.cli.remote import answer as answer_remotely

        return answer_remotely(
            args, screen, asked, sampling.parameters, lambda results: print_all(args, screen, questions, results, risk),
            effort=args.effort, answer=args.answer, risk=args.risk,
        )  # fmt: skip
    with loaded(args, screen, args.model) as model, interruptible() as interrupt:
        stream = model.stream(
            asked if len(asked) > 1 else asked[0],
            effort=args.effort,
            ballots=args.ballots,
            answer=args.answer,
            risk=risk,
            policy=None if isinstance(args.policy, Default) and not sampling.parameters else args.policy,
            seed=args.seed,
            max_tokens=args.max_tokens,
            leading=8 if args.trace or args.spans or args.json else 0,
            filters=sampling.filters,
            repetition=sampling.repetition,
            **sampling.parameters,
        )
        writer = None
        if args.trace:
            writer = TraceWriter(args.trace, header_of(model, args, sampling, asked))
        try:
            with showing_votes(screen, stream):
                results = follow(stream, interrupt, lambda index, step: None, writer)
            print_all(args, screen, questions, results, risk)
        finally:
            failed = close_trace(writer)
    for error in stream.failures.values():
        raise error
    return INTERRUPTED if interrupt.requested else failed


def print_all(
    args: argparse.Namespace, screen: Any, questions: list[str], results: list[Any], risk: float | None
) -> None:
    """The answers to the first of the questions, or all."""
    from entropix.cli.output import JsonOutput, write_heading

    if args.json:
        JsonOutput(screen, questions[: len(results)]).end(results)
        return
    for n, (question, result) in enumerate(zip(questions, results, strict=False)):
        if len(questions) > 1:
            write_heading(screen, n, len(questions), question)
        print_answer(screen, result, show=args.show, risk=risk, spans=args.spans)


def print_answer(screen: Any, result: Any, *, show: bool, risk: float | None = None, spans: bool = False) -> None:
    """The answer on standard output; how sure it is, from what, and the other answers on standard error. Where it
    abstains, that it does so stands in the answer's place. spans: the text that gives it, doubtful spans underlined."""
    from entropix.cli.output import show_spans
    from entropix.cli.votes import tell_others
    from entropix.trace.terminal import ENDINGS, write_text

    answer = result.text.strip() if result.answer is None else result.answer
    if spans and not result.abstained:
        show_spans(screen, result)
        show = False
    if show and result.answer is not None and not result.abstained:
        write_text(screen.out, result.text.strip() + "\n\n")
    if result.abstained:
        write_text(screen.out, f"not sure enough to answer at a risk of {100 * (risk or 0):.3g} %\n")
        screen.tell(f"leading: {answer or '(no answer)'}")
    else:
        if not (spans and result.answer is None):  # an open question's answer is the text, which stands there
            write_text(screen.out, (answer or "(no answer)") + "\n")
    if result.answer is not None:
        screen.tell(f"{result.confidence:.0%} sure: {result.confidence_source}")
        if result.risk_bound is not None:
            screen.tell(
                f"at most {100 * result.risk_bound:.3g} % of the answers that are given are wrong, at confidence 95 %"
            )
        tell_others(screen, result.search)
    for note in dict.fromkeys(result.notes):
        screen.tell(note)
    if result.finish_reason not in WHOLE:
        screen.tell(f"the text is not whole: {ENDINGS[result.finish_reason]}")
    texts = len(result.search.branches) if result.search is not None else 1
    written = f"{texts} text{'s' if texts > 1 else ''}"
    if result.search is None and result.share >= LIKELY:
        written += f", of probability {result.share:.0%}"
    screen.tell(f"{written} · {result.ledger.forwarded} tokens · {result.seconds:.1f} s · seed {result.seed}")
