"""The one decoding loop, over a batch of sequences."""

from entropix.decoding.admission import check_request
from entropix.decoding.decoder import Decoder
from entropix.decoding.hooks import Constraint, Explorer, Matcher, Search
from entropix.decoding.job import Branch, Event, Job, Status
from entropix.decoding.proposal import Proposal
from entropix.decoding.request import Request
from entropix.decoding.text import TextStream

__all__ = [
    "Branch",
    "Constraint",
    "Decoder",
    "Event",
    "Explorer",
    "Job",
    "Matcher",
    "Proposal",
    "Request",
    "Search",
    "Status",
    "TextStream",
    "check_request",
]
