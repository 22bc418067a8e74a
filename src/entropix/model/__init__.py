"""The Python API: a model that answers, streams and chats."""

from entropix.model.asynchronous import AsyncStream
from entropix.model.chat import Chat
from entropix.model.core import Model, load
from entropix.model.options import Conversation, Options, Prompt
from entropix.model.stream import Stream, Token

__all__ = ["AsyncStream", "Chat", "Conversation", "Model", "Options", "Prompt", "Stream", "Token", "load"]
