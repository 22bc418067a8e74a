"""What the model is asked about an answer that has ended: which of a vote's answers it finds right, and what it gives
the options of a schema's enums. No token is decoded; what was forwarded stands in the ledger."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from entropix.decoding import Job
from entropix.engines import Engine
from entropix.errors import EntropixError, ParameterError
from entropix.search import SearchPlan
from entropix.search.assessment import MOST, Assessment, Encode, assessing, letters
from entropix.uncertainty import ESTIMATORS, EnumOptions, Needs
from entropix.uncertainty.options import weighing
from entropix.uncertainty.values import Path

T = TypeVar("T")
ASSESSMENT = "self-assessment"


@dataclass(frozen=True)
class Afterwards:
    """assess: whether the model is asked which answer to `question` is right; schema: whose enums' options are
    weighed, None for none."""

    question: str = ""
    assess: bool = False
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Readings:
    """What the model said; None where it was not asked or could not be, which notes say."""

    assessed: Assessment | None = None
    options: Mapping[Path, EnumOptions] | None = None
    notes: tuple[str, ...] = ()

    def probability(self, answer: str | None) -> float | None:
        """What the model gives an answer among those it was shown."""
        return None if self.assessed is None or answer is None else self.assessed.by_answer.get(answer)


def asks_forward(names: str | Sequence[str]) -> bool:
    """Whether an estimator among these has to ask the model. Raises ParameterError for names that there are not."""
    return any(ESTIMATORS.find(name).needs is Needs.FORWARD for name in ([names] if isinstance(names, str) else names))


def check_assessment(engine: Engine, plan: object, effort: str | None) -> None:
    """Raises ParameterError where the model cannot be asked which answer is right. plan: the search of the answer;
    effort: its level, for which an open question holds no vote."""
    votes = isinstance(plan, SearchPlan) and plan.reads is not None
    if not votes and effort in (None, "none"):
        raise ParameterError(f"{ASSESSMENT} is of a vote's answers: give effort low, medium or high, or search=vote:…")
    letters(engine.tokenizer, 2)


def asking(
    engine: Engine, encode: Encode, job: Job, *, sequences: int | None = None, chunk: int | None = None
) -> Generator[None]:
    """Ask what the request of an ended job wants to know, a forward at a time, and leave it as `job.readings`.

    sequences, chunk: as of `engines.scoring.scoring`. What cannot be known becomes a note."""
    wanted, notes = job.request.after, list[str]()
    if (
        not isinstance(wanted, Afterwards)
        or job.readings is not None
        or job.finish_reason in ("", "error", "cancelled")
    ):
        return
    job.readings = Readings(notes=("what the model says of its answer is not known: asking was cut off",))
    bounds = {"sequences": sequences, "chunk": chunk}

    def counted(work: Generator[int, None, T], what: str) -> Generator[None, None, T | None]:
        try:
            while True:
                try:
                    tokens = next(work)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # what a generator returns is not typed here
                job.ledger.asked += tokens
                job.ledger.forwards += 1
                yield
        except EntropixError as error:
            notes.append(f"{what}: {error}")
            return None
        finally:
            work.close()

    assessed = options = None
    if wanted.assess:
        search = job.search
        answers = [] if search is None else list(search.shares) or [a for a in [search.answer] if a is not None]
        if answers:
            work = assessing(engine, encode, wanted.question, answers[:MOST], **bounds)
            assessed = yield from counted(work, ASSESSMENT)
        else:
            notes.append(f"{ASSESSMENT}: there is no answer to ask about, as no vote was held or it found none")
    if wanted.schema is not None:
        steps, text = job.steps, job.stream.text
        weighed = weighing(engine, job.request.tokens, text, steps, wanted.schema, **bounds)
        options = yield from counted(weighed, "options")
    job.readings = Readings(assessed, options, tuple(notes))
