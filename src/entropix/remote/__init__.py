"""Votes and trees over any OpenAI-compatible endpoint: searches of whole texts, above another's engine.

An endpoint shows no logits, forks nothing and rewinds nothing, so it is no `Engine` and nothing here decodes: a text is
a request, a fork is a new request that begins with the text so far. docs/remote.md.
"""

from entropix.remote.endpoint import Endpoint, connect

__all__ = ["Endpoint", "connect"]
