"""What uncertainty-guided decoding costs: tokens/s of a bare greedy loop on each engine, of each policy, the ratio.

    python -m benchmarks.overhead [--engine llama_cpp|transformers|mlx|rows|all] [--repeats 5] [--tokens 96]

Everything is measured in one run, in interleaved repeats: in each repeat every configuration decodes once, in a
rotating order. Printed are the median tokens/s and the median of the ratios to the baseline of the same repeat.
Machines are noisy; the ratio is the figure to look at. Only decoding is timed, not the prompt.

llama_cpp     baseline: `llama_decode` and an argmax in the smallest loop, flash attention on
transformers  baseline: the library's own `generate(do_sample=True)`, bfloat16
mlx           baseline: the transformers engine on the same weights, greedy; not part of `all`
rows          signals + policy + sampling of one row, no model at all
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entropix.decoding import Decoder, Request
from entropix.engines import Engine
from entropix.machine import available_cpus
from entropix.models import resolve
from entropix.policies import POLICIES, Policy, make_policy
from entropix.profiles import find
from entropix.sampling import choose, noise_key, top_window
from entropix.signals import measure
from entropix.types import AttentionSignals, State, Thresholds

PROMPT = "Write a long and detailed story about a lighthouse keeper who finds a message in a bottle."
Timed = Callable[[], float]
"""Decodes once and returns tokens per second."""


def through_the_loop(engine: Engine, spec: str, sequences: int, tokens: int, attention: bool) -> Timed:
    """Our decoding loop with everything on: trace, text, ledger."""
    thresholds = find(engine.info).thresholds
    policy = make_policy(spec, thresholds, engine.info.vocabulary)
    prompt = engine.tokenizer.chat([{"role": "user", "content": PROMPT}])

    def timed() -> float:
        decoder = Decoder(engine)
        for n in range(sequences):
            request = Request(
                tokens=prompt, policy=policy, seed=n, max_tokens=tokens + 1, attention=attention, ignore_end=True
            )
            decoder.submit(request, n)
        decoder.step()  # the prompt
        start = time.perf_counter()
        made = 0
        while decoder.busy:
            decoder.step()
            made += sequences
        return made / (time.perf_counter() - start)

    return timed


def llama_baseline(path: str, sequences: int, tokens: int, threads: int | None) -> Timed:
    """The smallest greedy loop on llama.cpp's C API; its own context, of ours only the declarations."""
    from entropix.engines.llama_cpp.context import FLASH_ON
    from entropix.engines.llama_cpp.library import load
    from entropix.models import load_engine

    ll, _ = load()

    helper = load_engine(path, "llama_cpp", sequences=1)
    prompt = helper.tokenizer.chat([{"role": "user", "content": PROMPT}])
    helper.shutdown()
    model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
    params = ll.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = 8192, sequences, True
    params.n_batch = params.n_ubatch = 512
    params.flash_attn_type = FLASH_ON
    params.n_threads = params.n_threads_batch = threads or available_cpus()
    context = ll.llama_init_from_model(model, params)
    vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
    memory = ll.llama_get_memory(context)
    batch = ll.llama_batch_init(512, 0, sequences)
    whole = ctypes.POINTER(ctypes.c_int32)
    ids, positions, counts = (ctypes.cast(p, whole) for p in (batch.token, batch.pos, batch.n_seq_id))
    owners = ctypes.cast(batch.seq_id, ctypes.POINTER(whole))
    wanted = ctypes.cast(batch.logits, ctypes.POINTER(ctypes.c_int8))

    def decode(work: Sequence[tuple[int, int, int]], last: int) -> Any:
        """(sequence, position, token) triples; logits of the `last` ones."""
        batch.n_tokens = len(work)
        for i, (sequence, position, token) in enumerate(work):
            ids[i], positions[i] = token, position
            counts[i], owners[i][0] = 1, sequence
            wanted[i] = i >= len(work) - last
        if ll.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        pointer = ll.llama_get_logits(context)
        return np.ctypeslib.as_array((ctypes.c_float * (last * vocabulary)).from_address(pointer)).reshape(last, -1)

    def timed() -> float:
        ll.llama_memory_clear(memory, True)
        heads = []
        for s in range(sequences):
            logits = decode([(s, p, t) for p, t in enumerate(prompt)], 1)
            heads.append(int(logits[0].argmax()))
        start = time.perf_counter()
        for n in range(tokens):
            work = [(s, len(prompt) + n, t) for s, t in enumerate(heads)]
            heads = [int(row.argmax()) for row in decode(work, sequences)]
        return sequences * tokens / (time.perf_counter() - start)

    return timed


def transformers_baselines(engine: Any, sequences: int, tokens: int) -> dict[str, Timed]:
    """The library's own `generate`, sampling and greedy, on the model that our engine holds."""
    import torch

    prompt = torch.tensor([engine.tokenizer.chat([{"role": "user", "content": PROMPT}])] * sequences)
    mask = torch.ones_like(prompt)

    def generate(n: int, sample: bool) -> float:
        start = time.perf_counter()
        settings: dict[str, Any] = {"temperature": 0.7, "top_k": 50} if sample else {"temperature": None, "top_p": None}
        with torch.inference_mode():
            engine.model.generate(
                input_ids=prompt.to(engine.model.device),
                attention_mask=mask.to(engine.model.device),
                do_sample=sample,
                max_new_tokens=n,
                min_new_tokens=n,
                pad_token_id=0,
                **settings,
            )
        return time.perf_counter() - start

    def timed(sample: bool) -> Timed:
        # the prompt's share is taken out by a run that makes one token
        return lambda: sequences * tokens / (generate(tokens + 1, sample) - generate(1, sample))

    return {"generate(do_sample=True)": timed(True), "generate(do_sample=False)": timed(False)}


def report(title: str, configurations: dict[str, Timed], repeats: int) -> None:
    """Interleaved repeats; the first configuration is the baseline."""
    names = list(configurations)
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        configurations[name]()  # warm-up
    for repeat in range(repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            speeds[name].append(configurations[name]())
    print(f"\n{title}\n\n| decoding | tokens/s | ratio | smallest … largest |\n|---|---|---|---|")
    for name in names:
        ratios = [mine / base for mine, base in zip(speeds[name], speeds[names[0]], strict=True)]
        print(
            f"| {name} | {statistics.median(speeds[name]):.1f} | {statistics.median(ratios):.3f} "
            f"| {min(ratios):.3f} … {max(ratios):.3f} |",
            flush=True,
        )


def policies(engine: Engine, sequences: int, tokens: int, short: bool) -> dict[str, Timed]:
    """Every policy without attention, and those that use attention with it."""
    found: dict[str, Timed] = {}
    for name, kind in POLICIES.usable()[0].items():
        if short and name not in ("entropix", "greedy", "sample"):
            continue
        found[name] = through_the_loop(engine, name, sequences, tokens, attention=False)
        if "attention" in kind.wants and engine.capabilities.attention:
            found[f"{name} with attention"] = through_the_loop(engine, name, sequences, tokens, attention=True)
    return found


def llama(model: str, repeats: int, tokens: int, threads: int | None, short: bool) -> None:
    from entropix.models import load_engine

    _, path = resolve(model)
    engine = load_engine(path, "llama_cpp", sequences=16, threads=threads)
    for sequences in (1, 16):
        base = {"bare greedy loop": llama_baseline(path, sequences, tokens, threads)}
        title = f"llama_cpp, {engine.info.name}, {sequences} sequence{'s' * (sequences > 1)}"
        report(title, base | policies(engine, sequences, tokens, short), repeats)


def transformers(model: str, repeats: int, tokens: int, short: bool) -> None:
    from entropix.models import load_engine

    engine = load_engine(model, "transformers", sequences=16, dtype="bfloat16")
    for sequences in (1, 16):
        title = f"transformers bfloat16, {engine.info.name}, {sequences} sequence{'s' * (sequences > 1)}"
        base = transformers_baselines(engine, sequences, tokens)
        report(title, base | policies(engine, sequences, tokens, short), repeats)


def mlx(repeats: int, tokens: int) -> None:
    """SmolLM2 as a model directory on both engines that read one."""
    from benchmarks.smollm2 import directory
    from entropix.models import load_engine

    for dtype in ("float32", "bfloat16"):
        engines = {name: load_engine(directory(), name, dtype=dtype, sequences=8) for name in ("transformers", "mlx")}
        for sequences in (1, 8):
            title = f"transformers and mlx, {dtype}, {sequences} sequence{'s' * (sequences > 1)}"
            timed = {
                name: through_the_loop(engine, "greedy", sequences, tokens, attention=False)
                for name, engine in engines.items()
            }
            report(title, timed, repeats)
        for engine in engines.values():
            engine.shutdown()


def rows(repeats: int) -> None:
    """Milliseconds of signals + policy + window + draw for one row, in the regime that costs most (adapt)."""
    print("\nOne row, no model, NumPy, milliseconds\n")
    print("| vocabulary | signals | window | policy | draw | together |\n|---|---|---|---|---|---|")
    g = np.random.default_rng(0)
    thresholds = Thresholds(1e-6, 100.0, 1e-6, 100.0, {"entropy": (0.5, 0.1)})  # everything is adapt
    for vocabulary in (49_152, 262_144):
        logits = (g.normal(size=(1, vocabulary)) * 2.5).astype(np.float32)
        logits[0, :3] += 16
        attention = AttentionSignals(*(np.array([x]) for x in (0.5, 0.01, 0.6, 2.5)))
        policy = make_policy("entropix", thresholds, vocabulary)
        one = np.array([7])

        signals = measure(logits, attention)
        state = policy.initial(1, signals.entropy)
        decided, _ = policy(signals, state)
        window = top_window(logits)
        assert decided.regime[0] == 4

        draw = functools.partial(choose, window, decided, one)
        parts: list[Callable[[], Any]] = [
            functools.partial(measure, logits, attention),
            functools.partial(top_window, logits),
            functools.partial(policy, signals, state),
            draw,
            functools.partial(_one_row, logits, attention, policy, state),
        ]
        cells = " | ".join(f"{_milliseconds(part, repeats):.3f}" for part in parts)
        print(f"| {vocabulary:,} | {cells} |", flush=True)


def _one_row(logits: Any, attention: AttentionSignals, policy: Policy, state: State) -> None:
    decided, _ = policy(measure(logits, attention), state)
    choose(top_window(logits), decided, np.array([noise_key(7, 7)], np.int64))


def _milliseconds(function: Callable[[], Any], repeats: int) -> float:
    """Median over repeats of the mean of 200 calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(200):
            function()
        times.append((time.perf_counter() - start) / 200 * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["llama_cpp", "transformers", "mlx", "rows", "all"], default="all")
    parser.add_argument("--model", default="smollm2", help="a model name or path (default: smollm2)")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats (default: 5)")
    parser.add_argument("--tokens", type=int, default=96, help="tokens per sequence (default: 96)")
    parser.add_argument("--threads", type=int, help="llama.cpp's threads (default: one a core)")
    parser.add_argument("--short", action="store_true", help="only entropix, greedy and sample")
    args = parser.parse_args()
    if args.engine in ("rows", "all"):
        rows(args.repeats)
    if args.engine in ("llama_cpp", "all"):
        llama(args.model, args.repeats, args.tokens, args.threads, args.short)
    if args.engine in ("transformers", "all"):
        transformers(args.model, args.repeats, args.tokens, args.short)
    if args.engine == "mlx":
        mlx(args.repeats, args.tokens)


if __name__ == "__main__":
    main()
