"""The one decoding loop, over a batch of sequences."""

from entropix.decoding.decoder import Decoder, Event
from entropix.decoding.hooks import Explorer, Search
from entropix.decoding.job import Branch, Job
from entropix.decoding.proposal import Proposal
from entropix.decoding.request import Request
from entropix.decoding.text import TextStream

__all__ = ["Branch", "Decoder", "Event", "Explorer", "Job", "Proposal", "Request", "Search", "TextStream"]
