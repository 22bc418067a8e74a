"""Options that several commands share, and what is read from them before a model is loaded."""

from __future__ import annotations

import argparse
import codecs
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropix.closest import did_you_mean
from entropix.errors import ParameterError, PromptError

if TYPE_CHECKING:
    from entropix.constraints import Grammar


class Default(str):
    """An option's default, distinguishable from the same text given."""


def positive(text: str) -> int:
    """An integer from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 on")
    return value


def named(text: str) -> str:
    """The name of a file or folder. An empty one comes of a shell variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; give one, or leave the option out")
    return text


def folder(text: str) -> Path:
    return Path(named(text))


def add_prompt_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Where the prompts come from. what: "prompt" or "question", as the command calls one."""
    parser.add_argument("prompts", nargs="*", metavar=what.upper(), help='what to answer; "-" reads standard input')
    parser.add_argument(
        "-f", "--prompt-file", action="append", default=[], metavar="FILE", help=f"a {what} in a file; may be repeated"
    )
    parser.add_argument("--system", metavar="TEXT", help=f"a system message before the {what}")
    parser.set_defaults(prompt_called=what)


def add_model_options(parser: argparse.ArgumentParser, *, model: bool = True, short: bool = True) -> None:
    """model: with --model. short: with -c for --context, which eval has for something else."""
    from entropix.registry import names

    engines = " or ".join(names("entropix.engines"))
    group = parser.add_argument_group("model")
    if model:
        group.add_argument(
            "-m",
            "--model",
            default=Default("smollm2"),
            help="a name from `entropix models`, a .gguf file, a transformers directory, or a hub name such as "
            "organisation/model (default: %(default)s, which is small and downloaded once)",
        )
    group.add_argument("--engine", help=f"{engines} (default: what the model's format asks for)")
    context = ("-c", "--context") if short else ("--context",)
    group.add_argument(*context, type=positive, metavar="N", help="most tokens of prompt and answer together")
    group.add_argument("--threads", type=positive, metavar="N", help="processor threads (llama_cpp)")
    group.add_argument(
        "-ngl", "--gpu-layers", type=int, metavar="N", help="layers on a GPU, -1 for all (llama_cpp; default: all)"
    )
    group.add_argument(
        "--flash-attention", action=argparse.BooleanOptionalAction, help="(llama_cpp; default: on where it can be)"
    )
    group.add_argument("--kv-type", metavar="TYPE", help="of the KV cache: f16, q8_0, q4_0, … (llama_cpp)")
    group.add_argument("--batch", type=positive, metavar="N", help="most tokens of one forward (llama_cpp)")
    group.add_argument(
        "--lora",
        action="append",
        type=named,
        metavar="FILE[:SCALE]",
        help="a LoRA adapter, as a .gguf file; may be repeated (llama_cpp)",
    )
    group.add_argument(
        "--rope-scaling",
        metavar="KIND:FACTOR",
        help="stretch the context beyond what the model was trained for: linear:2, yarn:4 (llama_cpp)",
    )
    group.add_argument(
        "--rope-freq-base", type=float, metavar="X", help="of the rotary frequencies (llama_cpp; default: the model's)"
    )
    group.add_argument("--device", help="where to compute: cpu, cuda, mps, … (transformers)")


def add_profile_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        metavar="FILE|NAME",
        help="thresholds to use, as written by `entropix calibrate` (default: those measured for the model)",
    )


SAMPLING: dict[str, tuple[Any, str]] = {
    "temperature": (float, "the policy's base temperature; 0 takes the likeliest token"),
    "top_p": (float, "the policy's base nucleus: as many of the likeliest tokens as have this probability together"),
    "top_k": (int, "so many of the likeliest tokens, 0 for all"),
    "min_p": (float, "tokens at least so probable relative to the likeliest"),
}
"""What people know from elsewhere; `entropix.cli.sampling` says what it means for a policy."""


def add_sampling_options(group: Any) -> None:
    """group: an argument group, or a parser."""
    for name, (kind, doc) in SAMPLING.items():
        metavar = "N" if kind is int else "X"
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=doc)
    group.add_argument(
        "--filters",
        metavar="NAME=VALUE,…",
        help="filters and penalties under any policy: typical, xtc_probability, adaptive_target, dry_multiplier, …",
    )


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "-p",
        "--policy",
        default=Default("entropix"),
        metavar="NAME[:PARAMETER=VALUE,…]",
        help="how tokens are chosen, for example greedy or sample:temperature=0.7,top_p=0.9; `entropix policies` "
        "lists them (default: %(default)s)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PARAMETER=VALUE",
        help="set one parameter of the policy; may be repeated, and VALUE may be any text",
    )
    add_sampling_options(group)
    group.add_argument("--seed", type=int, metavar="N", help="of the randomness (default: drawn)")
    group.add_argument(
        "--reproducible",
        action="store_true",
        help="share nothing with earlier turns and compute apart from other answers, so that the same seed gives the "
        "same text to the bit; slower (docs/engines.md)",
    )
    group.add_argument(
        "-n", "--max-tokens", type=positive, default=512, metavar="N", help="most tokens of an answer (default: 512)"
    )
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the answer before TEXT; may be repeated"
    )
    group.add_argument(
        "--attention",
        action=argparse.BooleanOptionalAction,
        help="insist on attention signals, or do without (default: use them where policy and engine can)",
    )
    add_profile_option(group)  # type: ignore[arg-type]  # an argument group takes arguments as a parser does


def add_constraint_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("constraint", "what the text must be (docs/constraints.md); one of these")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--json-schema", metavar="FILE|TEXT", help='JSON of this schema; \'{"type": "object"}\' is any JSON object'
    )
    which.add_argument("--regex", metavar="PATTERN", help="a text that this regular expression matches as a whole")
    which.add_argument("--grammar", metavar="FILE|TEXT", help="a text derived from `start` in this Lark grammar")


def read_constraint(args: argparse.Namespace) -> Grammar | None:
    """The constraint of the command line. Raises ParameterError for what is no schema or grammar and no file that
    can be read."""
    from entropix.constraints import json_schema, lark, regex

    if args.json_schema is not None:
        is_text = args.json_schema.lstrip().startswith(("{", "[", "true", "false"))
        return json_schema(args.json_schema if is_text else _file(args.json_schema, "a schema's text begins with {"))
    if args.grammar is not None:
        is_text = re.search(r"\bstart\s*:", args.grammar)
        return lark(args.grammar if is_text else _file(args.grammar, "a grammar's text has a rule start:"))
    return None if args.regex is None else regex(args.regex)


def _file(name: str, otherwise: str) -> str:
    try:
        return read_text(name)
    except PromptError as error:
        hint = "" if os.path.exists(name) else f"; {otherwise}"
        raise ParameterError(f"{error}{hint}") from None


def add_output_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("output")
    group.add_argument("--trace", type=named, metavar="FILE", help="write every step to FILE, one JSON line each")
    add_color_options(group)
    add_spans_option(group)
    group.add_argument("-q", "--quiet", action="store_true", help="only the answer: no legend, notes or summary")
    return group


def add_spans_option(parser: Any) -> None:
    parser.add_argument(
        "--spans",
        action="store_true",
        help="underline the numbers, dates, names, quotes, identifiers and JSON values to distrust, and say how likely "
        "they were; the text is printed when it is whole",
    )


def add_color_option(parser: Any) -> None:
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="use colours (default: auto, on a terminal unless NO_COLOR is set)",
    )


def add_color_options(parser: Any) -> None:
    """Whether a text is coloured, by what, and whether that is explained."""
    add_color_option(parser)
    parser.add_argument(
        "--tint",
        choices=("entropy", "regime"),
        default="entropy",
        help="colour tokens by how unsure the model was, or by what the policy took that for (default: %(default)s)",
    )
    parser.add_argument(
        "--legend",
        action=argparse.BooleanOptionalAction,
        help="say what the colours mean, or do not (default: when there are colours)",
    )


def policy_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters that --set gives. Raises ParameterError for what is not PARAMETER=VALUE."""
    from entropix.parameters import parse_value

    values = {}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"--set {pair!r} is not of the form PARAMETER=VALUE")
        values[name.strip()] = parse_value(value)
    return values


def check_policy(spec: str, values: dict[str, Any]) -> dict[str, Any]:
    """Every parameter that the policy would run with. Raises ParameterError, before a model is loaded."""
    from entropix.policies import POLICIES, Control, make_policy, parameters, parse_spec
    from entropix.types import Thresholds

    name, _ = parse_spec(spec)
    known = parameters(POLICIES.find(name))
    for value in values:
        if value not in known and value != "control":
            raise ParameterError(
                f"{name}: there is no parameter {value!r}; it has {', '.join(known) or 'none'}"
                f"{did_you_mean(value, known)}"
            )
    anything = Thresholds(entropy_low=1, entropy_high=2, varentropy_low=1, varentropy_high=2)
    policy = make_policy(spec, anything, 50_000, **values)
    if isinstance(policy, Control):
        return {**{name: getattr(policy.of, name) for name in known}, "control": policy.kind}
    return {name: getattr(policy, name) for name in known}


def read_prompts(args: argparse.Namespace) -> list[str]:
    """The prompts of the command line, of --prompt-file and of standard input. Raises PromptError."""
    what, several = args.prompt_called, len(args.prompts) + len(args.prompt_file) > 1
    names = [f"{what} {n}" if several else f"the {what}" for n, _ in enumerate(args.prompts, 1)]
    names += [f"the {what} in {file!r}" for file in args.prompt_file]
    given = [_argument(prompt, n) for n, prompt in enumerate(args.prompts, 1)]
    given += [read_text(file) for file in args.prompt_file]
    if not given:
        if sys.stdin is None or sys.stdin.isatty():
            raise PromptError(f'there is no prompt; give one, as in: {args.parser.prog} "Why is the sky blue?"')
        names, given = [f"the {what}"], [read_stdin()]
    for name, prompt in zip(names, given, strict=True):
        if not (prompt if args.raw else prompt.strip()):
            raise PromptError(f"{name} is empty; give at least one character")
    return given


def read_text(file: str) -> str:
    """The text of a file, or of standard input for "-", without its last line break."""
    if file == "-":
        return read_stdin()
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise PromptError(f"cannot read {file!r}: {(error.strerror or str(error)).lower()}") from None
    return _without_break(decode_utf8(data, repr(file)))


def read_stdin() -> str:
    return _without_break(decode_utf8(sys.stdin.buffer.read(), "standard input"))


def decode_utf8(data: bytes, what: str) -> str:
    """`data` as text. Raises PromptError that names its encoding, or the first byte that is not UTF-8."""
    if other := _other_encoding(data):
        raise PromptError(f"{what} is {other.upper()}, not UTF-8; convert it with iconv -f {other} -t utf-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        if b"\0" in data:
            todo = "it holds NUL bytes, so it is no text; give its text"
        else:
            todo = "convert it from its encoding, for example (Western European) with iconv -f latin1 -t utf-8"
        raise PromptError(f"{what} is not UTF-8: byte {data[at]:#04x} at offset {at}; {todo}") from None


MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; UTF-32's begins like UTF-16's, so it is looked for first."""


def _other_encoding(data: bytes) -> str:
    """UTF-16 or UTF-32 where the data begins with its mark, or where every other byte of most is zero."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return encoding
    half = len(data) // 2
    for start, encoding in ((1, "utf-16le"), (0, "utf-16be")):
        if half >= 2 and data[start::2].count(0) * 2 > half > 4 * data[1 - start :: 2].count(0):
            return encoding
    return ""


def _argument(prompt: str, n: int) -> str:
    if prompt == "-":
        return read_stdin()
    return decode_utf8(os.fsencode(prompt), f"prompt {n} on the command line")


def _without_break(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def exposed(path: str | Path) -> str:
    """A warning when others on this machine can read an API key file, else ""."""
    try:
        mode = Path(path).stat().st_mode & 0o777
    except OSError:
        return ""
    if os.name == "nt" or not mode & 0o077:
        return ""
    return f"API key file {path} can be read by others (mode {mode:03o}); use: chmod 600 {path}"
