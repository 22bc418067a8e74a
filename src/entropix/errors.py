"""Errors that are the caller's to mend. Each names what was wrong, what is allowed and what to do.

The command line prints one of these as a single message and exits with 2; anything else is a bug of ours
and keeps its stack trace.
"""

from __future__ import annotations


class EntropixError(Exception):
    """Base of every error with a message meant for the person who made the mistake."""


class ParameterError(EntropixError, ValueError):
    """An unknown parameter, or a value outside the allowed range."""


class PluginError(EntropixError):
    """An installed package whose policy, strategy or engine cannot be used."""


class ModelError(EntropixError):
    """A model that is missing, damaged, of the wrong format, or whose engine is not installed."""


class PromptError(EntropixError, ValueError):
    """A prompt that cannot be decoded from: empty, too long, of the wrong shape."""


class CapabilityError(EntropixError):
    """A policy or search asks for what the engine does not have."""


class ProfileError(EntropixError):
    """A profile that cannot be read or holds impossible values."""


class TaskError(EntropixError):
    """A task or a run of an evaluation that cannot be read or written, or does not fit."""


class TraceError(EntropixError):
    """A trace that cannot be written or read."""


class EndpointError(EntropixError):
    """An endpoint that cannot be reached, refuses, or does not send what is needed of it."""


class CapacityError(EntropixError):
    """The engine's KV cache has no room for what was asked."""
