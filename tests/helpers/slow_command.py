"""The command line over a scripted model that speaks slowly, for tests that need a process.

SAYS: what it says, by default any bytes if DRAWS is set; PAUSE: seconds a token; KEEP_ALIVE: seconds of silence after
which a stream says that it lives. A prompt with POISON crashes the process, one with STUCK waits for ever in its first
forward if there is no file HUNG yet, and one with LONG takes LONG seconds of a processor for each of its tokens.
LOADS: seconds until the model is loaded, by default none."""

import os
import signal
import sys
import time

import entropix
from entropix.cli import main
from entropix.engines.scripted import ScriptedEngine, hashed, saying
from entropix.model import Model

SCRIPT = hashed(3.0) if "DRAWS" in os.environ else saying(os.environ.get("SAYS", "word " * 40), certainty=20)


def slow(tokens):
    if b"POISON" in bytes(t % 256 for t in tokens):
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"STUCK" in bytes(t % 256 for t in tokens) and not os.path.exists(os.environ["HUNG"]):
        with open(os.environ["HUNG"], "w"):
            time.sleep(3600)
    if b"LONG" in bytes(t % 256 for t in tokens):
        until = time.thread_time() + float(os.environ["LONG"])
        while time.thread_time() < until:
            pass
    time.sleep(float(os.environ.get("PAUSE", "0.02")))
    return SCRIPT(tokens)


if "KEEP_ALIVE" in os.environ:
    from entropix.serve import streaming

    streaming.KEEP_ALIVE_EVERY = float(os.environ["KEEP_ALIVE"])


def load(*_, **__):
    time.sleep(float(os.environ.get("LOADS", "0")))
    return Model(ScriptedEngine(slow))


entropix.load = load

if __name__ == "__main__":
    sys.exit(main())
