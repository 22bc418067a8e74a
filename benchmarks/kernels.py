"""What a wheel's C kernels cost beside those compiled for this processor: µs per call, the least of many, warm.

python -m benchmarks.kernels [--repeats 300]
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from entropix import native, toolchain
from entropix.native import address
from entropix.sampling import WINDOW

VOCABULARIES = (49_152, 151_936)


def libraries(folder: Path) -> dict[str, ctypes.CDLL]:
    """kernel.c as it is compiled here and for wheels, as far as this processor runs it."""
    compiler = toolchain.compiler()
    if compiler is None:
        raise SystemExit("there is no C compiler; install one, such as gcc")
    flags: dict[str, tuple[str, ...]] = {"compiled here": toolchain.NATIVE}
    flags |= {f"wheel, {name}": tuning for name, tuning in toolchain.variants().items() if toolchain.runs(name)}
    found = {}
    for number, (name, tuning) in enumerate(flags.items()):
        target = folder / f"{number}{toolchain.SUFFIX}"
        toolchain.build(compiler, native.HERE / "kernel.c", target, [native.HERE], tuning)
        found[name] = ctypes.CDLL(str(target))
    return found


def calls(library: ctypes.CDLL, vocabulary: int) -> dict[str, Callable[[], object]]:
    """The two passes over a vocabulary."""
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    logits = np.random.default_rng(0).normal(0, 3, vocabulary).astype(np.float32)
    out, ids, values = np.zeros(3), np.zeros(WINDOW, np.int64), np.zeros(WINDOW, np.float32)
    row, size = pointer(address(logits)), whole(vocabulary)
    to_out, to_ids, to_values = (pointer(address(array)) for array in (out, ids, values))
    kept = (logits, out, ids, values)  # held by the functions
    return {
        "entropies": lambda: (library.entropix_entropies(row, size, to_out), kept),
        "window": lambda: (library.entropix_window(row, size, whole(WINDOW), to_ids, to_values), kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=300, help="of each call (default: %(default)s)")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        found = libraries(Path(folder))
        print(f"| vocabulary | call | {' | '.join(found)} |\n|---|---{'|---' * len(found)}|")
        for vocabulary in VOCABULARIES:
            timed = {name: calls(library, vocabulary) for name, library in found.items()}
            for call in ("entropies", "window"):
                least = dict.fromkeys(found, float("inf"))
                for _ in range(repeats):  # in turns, so that all meet the same machine
                    for name in found:
                        begun = time.perf_counter()
                        timed[name][call]()
                        least[name] = min(least[name], time.perf_counter() - begun)
                print(f"| {vocabulary} | {call} | {' | '.join(f'{s * 1e6:.0f}' for s in least.values())} |")


if __name__ == "__main__":
    main()
