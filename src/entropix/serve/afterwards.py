"""What a request wants to know beside its answer, for which the model has to be asked once the answer has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from entropix.decoding import Job
from entropix.decoding.batch import CHUNK
from entropix.errors import EntropixError
from entropix.model import Model
from entropix.model.afterwards import Afterwards, asks_forward, check_assessment
from entropix.serve.errors import ApiError, invalid
from entropix.serve.schema import ChatRequest, Common, Extension
from entropix.uncertainty import EnumOptions
from entropix.uncertainty.values import Path

if TYPE_CHECKING:
    from entropix.serve.asking import Reader


def afterwards_of(reader: Reader, asked: Common, question: str, plan: object, level: str | None) -> Afterwards | None:
    """What is to be asked about an answer, None for nothing. plan: its search; level: of effort. Raises ApiError where
    it cannot be asked."""
    ours = asked.entropix or Extension()
    name = "entropix.uncertainty"
    try:
        assess = asks_forward(ours.uncertainty)
        if assess:
            check_assessment(reader.model.engine, plan, level)
    except EntropixError as error:
        raise invalid(f"{name}: {error}", name) from None
    schema = _schema(asked) if ours.options else None
    if not assess and schema is None:
        return None
    if not reader.spare:
        name = name if assess else "entropix.options"
        raise invalid(
            f"{name}: the model is asked on a sequence beside those of answers, and this server has none to spare; "
            "load the model with one sequence more than places and kept answers need",
            name,
        )
    return Afterwards(question, assess, schema)


def _schema(asked: Common) -> dict[str, Any]:
    wanted = asked.response_format if isinstance(asked, ChatRequest) else None
    if wanted is None or wanted.type != "json_schema" or wanted.json_schema.schema_ is None:
        name = "entropix.options"
        raise invalid(f"{name}: they are those of a schema's enums; give response_format json_schema with it", name)
    return wanted.json_schema.schema_


class Interviewer:
    """Asks the model about ended answers, in a thread of its own, beside the answers that run: one forward, of at most
    a chunk of tokens, at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "entropix-afterwards")

    def close(self) -> None:
        """Ask nothing further."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, model: Model, job: Job, deadline: float, gone: Callable[[], bool]) -> None:
        """What the request of `job` wants to know. deadline: when to stop, as of `time.perf_counter`; gone: whether the
        client is."""
        if job.request.after is None:
            return

        def work() -> None:
            for _ in model.ask_about(job, sequences=1, chunk=CHUNK):
                if gone() or time.perf_counter() > deadline:
                    return  # a note says that it was cut off

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError:  # the server shuts down
            raise ApiError(503, "the server is shutting down", kind="server_error", code="shutting_down") from None


def options_record(options: Mapping[Path, EnumOptions]) -> list[dict[str, Any]]:
    """What `entropix` says of a schema's options: of each value that is one, its path, what all have together without
    the schema (mass), and each option with its probability among them."""
    return [
        {
            "path": list(path),
            "chosen": found.chosen,
            "mass": found.mass,
            "probabilities": [[option, p] for option, p in found.weighed],
        }
        for path, found in options.items()
    ]
