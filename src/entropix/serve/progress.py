"""How a search that goes on stands, for a client that wants to see it come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropix.decoding import Job
from entropix.serve.errors import ApiError
from entropix.serve.ticket import MailItem, Ticket


@dataclass(slots=True)
class Owner:
    """Whose choice a job is. last: when its last token came, None before the first. told: how its search stood when the
    client was last told."""

    ticket: Ticket
    choice: int
    last: float | None = None
    told: tuple[int, int] = (0, 0)


def news(owners: Mapping[Job, Owner]) -> list[tuple[Ticket, list[MailItem], ApiError | None]]:
    """How each running search stands whose client wants it, where a text has begun or ended since it was last told."""
    out: list[tuple[Ticket, list[MailItem], ApiError | None]] = []
    for job, owner in owners.items():
        if not owner.ticket.progress or job.explorer is None:
            continue
        now = len(job.branches), sum(bool(branch.finish_reason) for branch in job.branches)
        if now != owner.told:
            owner.told = now
            out.append((owner.ticket, [MailItem(owner.choice, progress=standing(job))], None))
    return out


def standing(job: Job) -> dict[str, Any]:
    """texts: that have been begun; ended: of these; answers: text of an answer → how many texts say it, most first;
    tokens: that all have taken."""
    answers = Counter(branch.answer for branch in job.branches if branch.answer is not None)
    return {
        "texts": len(job.branches),
        "ended": sum(bool(branch.finish_reason) for branch in job.branches),
        "answers": dict(answers.most_common()),
        "tokens": job.spent,
    }
