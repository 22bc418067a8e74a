"""Options of commands that can ask an endpoint instead of a model here."""

from __future__ import annotations

import argparse

from entropix.cli.options import Default, named


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    endpoint = parser.add_argument_group("endpoint", "another server instead of a model here (docs/remote.md)")
    endpoint.add_argument(
        "--endpoint",
        metavar="URL",
        help="an OpenAI-compatible one, such as http://localhost:8000/v1; --model is then a name that it knows, and "
        "the policy is greedy or sample (default: the endpoint's own sampling)",
    )
    endpoint.add_argument("--api-key-file", type=named, metavar="FILE", help="the file that holds the key")
    endpoint.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="for a whole answer; what was said until then is kept"
    )


HERE = {
    "engine": "the endpoint has its own",
    "context": "the endpoint has its own",
    "threads": "the endpoint has its own",
    "device": "the endpoint has its own",
    **dict.fromkeys(("gpu_layers", "flash_attention", "kv_type", "batch"), "the endpoint has its own"),
    **dict.fromkeys(("lora", "rope_scaling", "rope_freq_base"), "the endpoint has its own"),
    "attention": "no endpoint shows attention",
    "ballots": "questions are answered there one by one",
    "filters": "only what the endpoint's API has can be asked of it",
    "json_schema": "a constraint needs the logits",
    "regex": "a constraint needs the logits",
    "grammar": "a constraint needs the logits",
}
"""Options that need a model here, and why."""


def check_endpoint(args: argparse.Namespace) -> None:
    """End with a message where options contradict each other about where the model is."""
    if args.endpoint is None:
        for option in ("api_key_file", "time_limit"):
            if getattr(args, option) is not None:
                args.parser.error(f"--{option.replace('_', '-')} is of an endpoint; give one with --endpoint")
        return
    for option, why in HERE.items():
        if getattr(args, option, None) is not None:
            args.parser.error(f"--{option.replace('_', '-')} does not go with --endpoint: {why}")
    name = args.policy.partition(":")[0]
    if not isinstance(args.policy, Default) and name not in ("greedy", "sample"):
        args.parser.error(
            f"policy {name!r} does not go with --endpoint: it decides token by token on logits, which no endpoint "
            "shows; use greedy or sample, or a model here"
        )
    if isinstance(args.policy, Default) and args.set:
        args.parser.error("--set with --endpoint needs --policy sample: without a policy the endpoint decides itself")
