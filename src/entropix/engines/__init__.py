"""forward, fork, rewind on real runtimes. Importing this imports none of them."""

from entropix.engines.base import Engine, Message, SequenceHandle, Tokenizer, Work
from entropix.engines.guard import Guard, guard_of
from entropix.engines.kinds import EngineKind

__all__ = ["Engine", "EngineKind", "Guard", "Message", "SequenceHandle", "Tokenizer", "Work", "guard_of"]
