"""`entropix serve`: an OpenAI-compatible HTTP server."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from entropix.cli.options import add_model_options, add_profile_option, check_policy, exposed, positive

if TYPE_CHECKING:
    from entropix.cli.output import Screen
    from entropix.serve.settings import Settings
    from entropix.serve.supervised.child import Lifeline

DESCRIPTION = """\
Answer HTTP requests as OpenAI's API does: /v1/chat/completions, /v1/completions, /v1/models, whole or streaming,
with a page at / that shows the uncertainty of every token. Requests share one batch.

Only this machine can reach the server unless --host says otherwise, which needs an API key. The first SIGTERM or
Ctrl-C ends it in order: no new requests, and those that run get --grace seconds; the second ends it at once."""

EXAMPLES = """\
examples:
  entropix serve
  entropix serve -m model.gguf --port 8080 --parallel 32 --cells 32768
  entropix serve --policy sample:temperature=0.7 --allow-origin https://chat.example.org
  entropix serve --supervised
  openssl rand -hex 24 > keys && chmod 600 keys && entropix serve --host 0.0.0.0 --api-key-file keys

  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"model": "smollm2", "messages": [{"role": "user", "content": "Name a river."}]}'

exit codes: 0 after SIGTERM, 2 something given was wrong, 130 after Ctrl-C"""


def configure(parser: argparse.ArgumentParser) -> None:
    from entropix.search.effort import LEVELS
    from entropix.serve.settings import Settings

    default = Settings()
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_model_options(parser)
    parser.add_argument("--alias", action="append", default=[], metavar="NAME", help="a further name of the model")
    decoding = parser.add_argument_group("what requests get that do not say")
    decoding.add_argument(
        "-p", "--policy", default=default.policy, metavar="NAME[:PARAMETER=VALUE,…]", help="(default: %(default)s)"
    )
    decoding.add_argument("--search", metavar="SEARCH", help="as in `entropix generate` (default: none)")
    decoding.add_argument(
        "--reproducible",
        action="store_true",
        help="a seed's text depends on nothing that is kept or decoded beside it; slower (docs/serving.md)",
    )
    decoding.add_argument(
        "-e", "--effort", choices=list(LEVELS), help="as in `entropix ask`; reasoning_effort of a request goes before"
    )
    decoding.add_argument(
        "--no-parse-special",
        action="store_true",
        help="markup such as <|im_end|> in the prompts of completions is text",
    )
    decoding.add_argument("--strict", action="store_true", help="refuse what would be answered with a note")
    add_profile_option(decoding)  # type: ignore[arg-type]  # an argument group takes arguments as a parser does
    network = parser.add_argument_group("network")
    network.add_argument("--host", default=default.host, help="address to listen on (default: %(default)s)")
    network.add_argument("--port", type=int, default=default.port, help="0 takes a free one (default: %(default)s)")
    network.add_argument("--api-key-file", metavar="FILE", help="API keys that may ask, one per line")
    network.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="let pages of this origin ask (CORS)"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--parallel", type=positive, default=default.places, metavar="N", help="answers at a time")
    limits.add_argument("--queue", type=int, default=default.queue, metavar="N", help="requests that may wait")
    limits.add_argument("--cells", type=positive, metavar="N", help="KV-cache tokens over all answers")
    limits.add_argument(
        "--keep", type=int, default=default.kept, metavar="N", help="ended answers kept for a next turn"
    )
    limits.add_argument(
        "--keep-cells", type=int, metavar="N", help="most tokens in the older ones (default: cells / 16)"
    )
    limits.add_argument("--max-body", type=positive, default=default.max_body, metavar="BYTES", help="of a request")
    limits.add_argument("--max-prompt", type=positive, metavar="N", help="tokens of a prompt")
    limits.add_argument("--max-choices", type=positive, default=default.max_choices, metavar="N", help="a request")
    limits.add_argument("--max-tokens", type=positive, default=default.max_tokens, metavar="N", help="of an answer")
    limits.add_argument("--time-limit", type=float, default=default.time_limit, metavar="S", help="of a request")
    limits.add_argument("--grace", type=float, default=default.grace, metavar="S", help="to end when asked to stop")
    operation = parser.add_argument_group("operation")
    operation.add_argument(
        "--supervised",
        action="store_true",
        help="the engine in a process of its own that is started again when it crashes or hangs; requests that have "
        "got nothing yet are sent again (docs/serving.md)",
    )
    operation.add_argument(
        "--hang-limit",
        type=float,
        default=default.hang_limit,
        metavar="S",
        help="with --supervised: seconds without a step or processor time, though there is work, after which it hangs; "
        "0: never (default: %(default)g)",
    )
    operation.add_argument("--engine-process", help=argparse.SUPPRESS)  # added by the process in front
    operation.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="how much is logged (default: %(default)s)",
    )
    operation.add_argument("-q", "--quiet", action="store_true", help="do not say where the server listens")


def run(args: argparse.Namespace) -> int:
    from entropix.cli.output import Screen
    from entropix.errors import ModelError
    from entropix.search import make_search

    try:
        from entropix.serve.listening import listen
        from entropix.serve.logs import set_up

        if args.engine_process:
            from entropix.serve.supervised.child import Lifeline
        elif args.supervised:
            from entropix.serve.supervised.running import supervise
        else:
            import_module("entropix.serve.process")
    except ImportError as missing:
        raise ModelError(f"serve needs {missing.name}; install it with: pip install 'entropix-llm[serve]'") from None
    check_policy(args.policy, {})
    make_search(args.search)
    settings = _settings(args)
    screen = Screen("never", quiet=args.quiet)
    if args.engine_process:
        lifeline = Lifeline(args.engine_process)
        set_up(args.log_level)
        return _answer(args, settings, screen, lifeline.listening, lifeline)
    if args.api_key_file and (warning := exposed(args.api_key_file)):
        screen.tell(warning)
    with listen(settings) as sock:  # before the model is loaded, which takes longer
        set_up(args.log_level)
        if args.supervised:
            return supervise(settings, sock, [sys.executable, *sys.orig_argv[1:]], screen.tell)
        return _answer(args, settings, screen, sock)


def _answer(
    args: argparse.Namespace, settings: Settings, screen: Screen, sock: socket.socket, lifeline: Lifeline | None = None
) -> int:
    """Load the model, and answer on `sock`."""
    from entropix.cli import INTERRUPTED
    from entropix.cli.running import loaded
    from entropix.serve.app import Server
    from entropix.serve.listening import url_of
    from entropix.serve.process import serve

    # one to spare: on it the model is asked about answers that have ended
    sequences = args.parallel + args.keep + 1
    with sock, loaded(args, screen, args.model, sequences=sequences, cells=args.cells) as model:
        if "/" not in args.model and not args.model.endswith(".gguf"):
            settings = replace(settings, aliases=(args.model, *settings.aliases))
        for note in model.notes:
            screen.tell(note)
        server = Server(model, settings)
        if lifeline is None:
            screen.tell(f"{model.info.name} at {url_of(sock)}")
        sys.stderr.flush()
        stopped = serve(server, sock, lifeline.serving(server, model.info.name) if lifeline else None)
    return INTERRUPTED if stopped == signal.SIGINT else 0


def _settings(args: argparse.Namespace) -> Settings:
    """Raises ParameterError."""
    from entropix.serve.settings import Settings, read_keys

    return Settings(
        host=args.host,
        port=args.port,
        keys=read_keys(args.api_key_file) if args.api_key_file else (),
        origins=tuple(args.allow_origin),
        aliases=tuple(args.alias),
        policy=args.policy,
        search=args.search,
        reproducible=args.reproducible,
        parse_special=not args.no_parse_special,
        strict=args.strict,
        effort=args.effort,
        places=args.parallel,
        queue=args.queue,
        kept=args.keep,
        kept_cells=args.keep_cells,
        max_body=args.max_body,
        max_prompt=args.max_prompt,
        max_choices=args.max_choices,
        max_tokens=args.max_tokens,
        time_limit=args.time_limit,
        grace=args.grace,
        hang_limit=args.hang_limit,
    )
