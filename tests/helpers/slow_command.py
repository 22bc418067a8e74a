"""The command line over a scripted model that speaks slowly, for tests that need a process.

SAYS: what it says; PAUSE: seconds a token."""

import os
import sys
import time

import entropix
from entropix.cli import main
from entropix.engines.scripted import ScriptedEngine, saying
from entropix.model import Model

SCRIPT = saying(os.environ.get("SAYS", "word " * 40), certainty=20)


def slow(tokens):
    time.sleep(float(os.environ.get("PAUSE", "0.02")))
    return SCRIPT(tokens)


entropix.load = lambda *_, **__: Model(ScriptedEngine(slow))

if __name__ == "__main__":
    sys.exit(main())
