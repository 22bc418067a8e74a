"""The one decoding loop, over a batch of sequences."""

from entropix.decoding.decoder import Decoder, Event
from entropix.decoding.request import Job, Request
from entropix.decoding.text import TextStream

__all__ = ["Decoder", "Event", "Job", "Request", "TextStream"]
