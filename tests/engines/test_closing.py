"""A model that is closed while other threads read its vocabulary."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from entropix.errors import ModelError

TRY = """
import sys, threading, time
import entropix
from entropix.errors import EntropixError

model = entropix.load(sys.argv[1], threads=1)
text = "The quick brown fox, 42 times. \\U0001f98a " * 20000
began, ended = threading.Barrier(5), []

def read(work):
    began.wait()
    try:
        while True:
            work()
    except EntropixError as error:
        ended.append(str(error))

tokenizer = model.tokenizer
works = [
    lambda: model.encode(text),
    lambda: tokenizer.encode(text, special=True),
    lambda: [tokenizer.raw(token) for token in range(2000)],
    lambda: tokenizer._read_piece(7, special=True),
]
threads = [threading.Thread(target=read, args=(work,), daemon=True) for work in works]
for thread in threads:
    thread.start()
began.wait()
time.sleep(float(sys.argv[2]))
model.close()
for thread in threads:
    thread.join(30)
print(sorted(set(ended)), len(ended))
"""


@pytest.mark.parametrize("after", [0.0, 0.15])
def test_closing_waits_for_threads_that_tokenise(after: float, smollm2: Path) -> None:
    pytest.importorskip("llama_cpp")
    ran = subprocess.run(
        [sys.executable, "-c", TRY, str(smollm2), str(after)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "['this model was closed; load it again'] 4"), ran.stderr[-800:]


def test_the_end_of_uses_waits_for_those_under_way() -> None:
    pytest.importorskip("llama_cpp")
    from entropix.engines.llama_cpp.tokenizer import Uses

    uses, order = Uses(), []

    def end() -> None:
        uses.end()
        order.append("freed")

    with uses, uses:
        thread = threading.Thread(target=end)
        thread.start()
        time.sleep(0.1)
        order.append("read")
        with pytest.raises(ModelError, match="load it again"), uses:
            raise AssertionError("a call began after the end")
    thread.join(10)
    assert order == ["read", "freed"]
    uses.end()
