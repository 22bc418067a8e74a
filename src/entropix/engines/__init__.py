"""forward, fork, rewind on real runtimes. Importing this imports none of them."""

from entropix.engines.base import Engine, Message, SequenceHandle, Tokenizer, Work

__all__ = ["Engine", "Message", "SequenceHandle", "Tokenizer", "Work"]
