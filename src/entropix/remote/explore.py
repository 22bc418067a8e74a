"""One answer over an endpoint: its texts, their requests, the budget, the vote."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropix.errors import EndpointError
from entropix.remote.client import Broken, Client, Refusal
from entropix.remote.text import StreamReader, Text
from entropix.remote.wire import Chunk, Top, Usage
from entropix.search import STRATEGIES, SearchPlan
from entropix.search.ballots import extractor_of
from entropix.search.exploration import Exploration
from entropix.search.host import Host, ended
from entropix.search.seeds import derived
from entropix.types import Ledger, Result, Step, Thresholds
from entropix.uncertainty import read_off

TICK = 0.1
"""Seconds after which a caller's `watch` and `progress` are called while nothing comes."""

BACK_OFF, MOST_BACK_OFF = 0.5, 8.0
"""Seconds before an answer that broke off is asked for again: the first time, and at most."""

ABLE = frozenset({"sample", "sample_later", "fork", "fork_at"})
"""What a search can do over an endpoint, names of `search.host.CAPABILITIES`: it sees tokens once they are chosen."""

SEEDS = 2**31
"""Seeds are sent modulo this, which every endpoint takes."""


@dataclass(frozen=True)
class Ask:
    """What is asked: `messages` or `prompt`, and how. fields: further ones of every request."""

    prompt: str | Sequence[Mapping[str, Any]]
    seed: int
    max_tokens: int
    fields: Mapping[str, Any]
    plan: SearchPlan | None
    concurrency: int
    limit: float | None
    stop: bool


class Budget:
    """Tokens that all texts may take together. A request reserves what it may come to take, so that the sum can never
    exceed the budget; it waits for others where less is left than it wants, and takes what there is when none run."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.taken, self._reserved = limit, 0, 0
        self._changed = asyncio.Condition()

    @property
    def left(self) -> int:
        """What no text has taken yet."""
        return 1 << 62 if self.limit is None else self.limit - self.taken

    async def reserve(self, wanted: int) -> int:
        async with self._changed:
            await self._changed.wait_for(lambda: self.left - self._reserved >= wanted or not self._reserved)
            granted = max(min(wanted, self.left), 0)
            self._reserved += granted
            return granted

    async def settle(self, granted: int, taken: int) -> None:
        async with self._changed:
            self._reserved -= granted
            self.taken += taken
            self._changed.notify_all()


@dataclass
class TextRequest:
    """A request whose answer has begun: how many tokens of an answer it began with, and what its prompt cost."""

    origin: int
    usage: Usage | None = None


@dataclass(frozen=True)
class Said:
    """A step that has just come, as the `Place` of a search. tops: the likeliest tokens there, likeliest first."""

    branch: Text
    at: int
    tops: tuple[Top, ...]

    injects = False

    @property
    def step(self) -> Step:
        return self.branch.steps[self.at]

    def alternatives(self, n: int, ratio: float) -> list[Top]:
        said = self.step.label, self.branch.data[self.at]
        least = math.exp(self.tops[0].logprob) * ratio if self.tops else 0.0
        others = [top for top in self.tops if (top.label, top.data) != said]
        return [top for top in others[:n] if math.exp(top.logprob) >= least]


@dataclass
class Answering(Host):
    """The texts of one answer, and the `Host` of its search."""

    client: Client
    ask: Ask
    reader: StreamReader
    watch: Callable[[], bool] | None = None
    progress: Callable[[Sequence[Text]], None] | None = None
    texts: list[Text] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    requests: list[TextRequest] = field(default_factory=list)
    errors: list[EndpointError] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    continues: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.ask.plan
        self.trunk = Text(0, self.ask.seed, self.texts)
        self.texts.append(self.trunk)
        self.search = Exploration(plan, self) if plan else None
        self.budget = Budget(plan.max_tokens if plan else None)
        self.slots = asyncio.Semaphore(self.ask.concurrency)
        self.began = time.perf_counter()
        self.decided = False
        self.samples = 0
        self.unknown = 0
        """Places where no text could be forked, as the text up to there is not known exactly."""
        self.cut = ""
        """Why it was ended before its end."""

    async def run(self) -> None:
        """Ask until the vote is decided, everything has ended, the time is over, or the caller does not go on."""
        self.tasks.add(asyncio.create_task(self._prepare()))
        tick = TICK if self.watch or self.progress else None
        try:
            async with asyncio.timeout(self.ask.limit):
                while not self._over():
                    # texts that are forked meanwhile add their tasks
                    done, _ = await asyncio.wait(set(self.tasks), timeout=tick, return_when=asyncio.FIRST_COMPLETED)
                    self.tasks -= done
                    for task in done:
                        task.result()  # raises what made it impossible to begin
        except TimeoutError:
            self.cut = f"the time limit of {self.ask.limit:g} s was reached"
        finally:
            await self._cancel()
        refused = [error for error in self.errors if isinstance(error, Refusal)]
        if refused and not any(text.finish_reason for text in self.texts):
            raise refused[0]
        if self._nothing_came():
            raise self.errors[0]

    def _nothing_came(self) -> bool:
        """Whether texts have failed, and of no text anything was ever said."""
        return bool(self.errors) and not any(text.steps for text in self.texts)

    def _over(self) -> bool:
        """Whether nothing further is needed; lets the search act once all texts have ended."""
        if self.progress is not None:
            self.progress(self.texts)
        if self.watch is not None and not self.watch():
            self.cut = "stopped"
        if self.cut or self.decided:
            return True
        # an endpoint that has answered no text of a wave, after all retries, is not asked for the next wave
        if self.search and not self.tasks and not self._nothing_came():
            self.search.after()
        return not self.tasks

    def _decides(self) -> bool:
        """Whether what has come so far decides: the ballots cast, or a refusal that any other request would meet."""
        if any(isinstance(error, Refusal) for error in self.errors):
            return True
        return self.search is not None and self.search.decided()

    async def _cancel(self) -> None:
        """Close what is still open; nothing of it runs on."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # texts

    async def _prepare(self) -> None:
        """Find out what must be known of the endpoint, then begin the samples."""
        await self.client.model()
        plan = self.ask.plan
        if plan and plan.needs & {"fork", "fork_at"} and not isinstance(self.ask.prompt, str):
            self.continues = await self.client.continues()
        self._begin(self.trunk)
        if self.search:
            self.search.begin()

    def _begin(self, text: Text) -> None:
        self.tasks.add(asyncio.create_task(self._write(text)))

    async def _write(self, text: Text) -> None:
        """Have a text written to its end, from anew if its answer breaks off."""
        async with self.slots:
            if not self.decided:  # it may have come to that while this one waited
                await self._attempts(text)
            self.decided = self.decided or self._decides()

    async def _attempts(self, text: Text) -> None:
        for attempt in range(self.client.retries + 1):
            try:
                await self._attempt(text)
                return
            except EndpointError as error:
                if not isinstance(error, Broken) or attempt == self.client.retries:
                    self._fail(text, error)
                    return
                text.restart()
                if self.search:
                    self.search.cut(text, text.given)
            await asyncio.sleep(min(BACK_OFF * 2**attempt, MOST_BACK_OFF) * random.uniform(0.5, 1))

    def _fail(self, text: Text, error: EndpointError) -> None:
        text.gone = f"failed: {error}"
        self.errors.append(error)
        self.notes.append(f"text {text.number} failed: {error}")

    async def _attempt(self, text: Text) -> None:
        wanted = self.ask.max_tokens - text.origin
        first = text.given - text.origin  # the token of a fork is in the text already, and counts
        granted = await self.budget.reserve(wanted)
        try:
            if granted == 0:
                text.gone = f"the budget of {self.budget.limit} tokens is used up"
                del text.steps[text.origin :]
            elif granted == first:
                text.finish_reason = "length"
            else:
                await self._read(text, granted - first)
        finally:
            await self.budget.settle(granted, min(len(text.steps) - text.origin, granted))

    async def _read(self, text: Text, most: int) -> None:
        """Read the answer to one request into `text`, at most `most` tokens."""
        request: TextRequest | None = None
        chunks = self.client.stream(self._body(text), most)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if request is None:
                    request = TextRequest(text.given)
                    self.requests.append(request)
                request.usage = chunk.usage or request.usage
                start = len(text.steps)
                self.reader.steps(text, chunk, self.client.top)
                self._check(text, chunk)
                over = len(text.steps) - text.given > most  # the endpoint does not keep to max_tokens
                if over:
                    text.truncate(text.given + most)
                for at in range(start, len(text.steps)):
                    if self.search:
                        self.search.before(Said(text, at, chunk.entries[at - start].top))
                if chunk.finish is not None:
                    text.finish_reason = self._finish(text, chunk, most)
                if over:
                    text.finish_reason = "length"
                    return

    def _body(self, text: Text) -> dict[str, Any]:
        prompt = self.ask.prompt
        body = {**self.ask.fields, "seed": text.seed % SEEDS}
        if text.number == 0 and self.ask.plan is not None and self.ask.plan.greedy_first:
            body["temperature"] = 0
        if isinstance(prompt, str):
            return {**body, "prompt": prompt + text.prefix}
        said = [{"role": "assistant", "content": text.prefix}] if text.prefix else []
        return {**body, "messages": [*prompt, *said], **(self.continues if said else {})}

    def _finish(self, text: Text, chunk: Chunk, most: int) -> str:
        if chunk.finish in ("length", "content_filter"):
            return "length" if len(text.steps) - text.given >= most or chunk.finish != "length" else "context"
        return "stop" if self.ask.stop and chunk.stopped else "end"

    def _check(self, text: Text, chunk: Chunk) -> None:
        """Raises Refusal where log-probabilities are missing."""
        if chunk.text and not text.steps:
            raise Refusal(
                f"{self.client.url} returns no log-probabilities, so nothing can be measured; use an endpoint that "
                "does (vLLM, llama.cpp's server, SGLang, `entropix serve`)"
            )
        plan = self.ask.plan
        needed = plan is not None and plan.reads_leading and plan.max_sequences > 1
        if needed and chunk.entries and not any(len(entry.top) > 1 for entry in chunk.entries):
            raise Refusal(
                f"{self.client.url} returns the log-probability of each token and not of others (top_logprobs), which "
                f"search {plan.spec if plan else ''!r} needs; use vote:weight=count, or another endpoint"
            )

    # what a search calls

    @property
    def live(self) -> int:
        return sum(not ended(text) for text in self.texts)

    def affordable(self, wanted: int) -> int:
        return max(min(wanted, self.budget.left), 0)

    def sample(self, n: int) -> Iterator[Text]:
        for number in range(self.samples + 1, self.samples + 1 + n):
            text = Text(len(self.texts), derived(self.ask.seed, number), self.texts, opened=f"sample {number + 1}")
            self.samples = number
            yield self._open(text)

    def fork(self, place: Said, alternative: Top, why: str) -> Text | None:
        return self.fork_at(place.branch, place.at, alternative, why)

    def fork_at(self, branch: Text, at: int, alternative: Top, why: str) -> Text | None:
        """None where what the text would begin with is not known exactly."""
        seed = derived(branch.seed, at, zlib.crc32(alternative.data or b""))
        token = self.reader.number(alternative.label, alternative.id)
        child = branch.fork(at, alternative, token, seed, why)
        self.unknown += child is None
        return child and self._open(child)

    def _open(self, text: Text) -> Text:
        self.texts.append(text)
        self._begin(text)
        return text

    # the end

    def result(self, model: str, policy: str, profile: str, thresholds: Thresholds, notes: Sequence[str]) -> Result:
        """The answer, as far as it has come."""
        finished = [text for text in self.texts if text.finish_reason]
        counted = self.search.close() if self.search else None
        winner = counted.winner if counted else max(finished or self.texts, key=lambda t: (len(t.steps), -t.number))
        if self.budget.limit is not None and self.budget.left <= 0:
            self.notes.append(f"search: the budget of {self.budget.limit} tokens is used up")
        if self.unknown:
            self.notes.append(f"search: {self.unknown} forks were not made: the text up to there is no whole text")
        if self.cut:
            self.notes.append(f"{self.cut}; the answer is what had been said until then")
        ledger, prompt_tokens = self._ledger(winner)
        record = None
        if self.search:
            self.trunk = winner
            self.search.notes, self.search.stopped = [*self.notes, *self.search.notes], bool(self.cut)
            record = self.search.record(self.texts)
        for text in self.texts:
            for step in text.steps:
                step.position = prompt_tokens + step.index
        steps, ended = tuple(winner.steps), winner.finish_reason or "cancelled"
        return Result(
            text=winner.text,
            finish_reason=ended,
            tokens=tuple(step.token for step in winner.steps),
            prompt_tokens=prompt_tokens,
            steps=steps,
            ledger=ledger,
            seed=self.ask.seed,
            policy=policy,
            profile=profile,
            model=model,
            seconds=time.perf_counter() - self.began,
            notes=(*notes, *dict.fromkeys(record.notes if record else self.notes)),
            search=record,
            thresholds=thresholds,
            **read_off(winner.text, steps, ended, record, extractor_of(self.ask.plan)),
        )

    def _ledger(self, winner: Text) -> tuple[Ledger, int]:
        """What was computed, and the prompt's tokens. A request that was cancelled does not say what its prompt cost:
        it counts as computed, as long as the prompt of one that does and the tokens it began with."""
        prompts = [request.usage.prompt - request.origin for request in self.requests if request.usage]
        prompt_tokens = max(prompts, default=0)
        usages = [r.usage or Usage(prompt_tokens + r.origin) for r in self.requests]
        taken = sum(len(text.steps) - text.origin + text.lost for text in self.texts)
        if self.requests and not prompts:
            self.notes.append("the endpoint does not say how many tokens the prompt has, so the ledger lacks them")
        ledger = Ledger(
            prompt=sum(usage.prompt - usage.cached for usage in usages),
            shared=sum(usage.cached for usage in usages),
            sampled=len(winner.steps),
            abandoned=taken - len(winner.steps),
        )
        return ledger, prompt_tokens


def check_plan(plan: SearchPlan | None, temperature: float | None) -> Sequence[str]:
    """Notes about a search over an endpoint. Raises CapabilityError for what needs an engine."""
    if plan is None:
        return ()
    possible = [name for name, kind in STRATEGIES.usable()[0].items() if SearchPlan((kind(),)).needs <= ABLE]
    plan.check_host(ABLE, "an endpoint", f"over an endpoint there are {', '.join(possible)}")
    return plan.repeated("temperature 0") if temperature == 0 else ()
