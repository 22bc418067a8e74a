"""The Python API of an endpoint: `connect`, and an object that answers with searches."""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from entropix.answers import Extractor
from entropix.errors import CapabilityError, ParameterError, PromptError
from entropix.numeric import is_integer, plain
from entropix.policies import make_policy
from entropix.profiles import Profile, generic, named
from entropix.search import SearchPlan, Strategy, make_search
from entropix.search.effort import REPEATED, TEMPERATURE, check_effort_alone, leaves_one, plan_effort
from entropix.types import ModelInfo, Result

if TYPE_CHECKING:
    from entropix.remote.judged import ToldText
    from entropix.remote.text import Text

UNKNOWN = ModelInfo("unknown", "unknown", 0, 0, 0, vocabulary=49152, fingerprint="")
"""What is known of a model behind an endpoint: nothing; the vocabulary is the one of the generic thresholds."""

SESSION = "x-session-id"
"""What routers and vLLM itself call the header that says which requests belong together."""

RESERVED = ("model", "messages", "prompt", "stream", "logprobs", "top_logprobs", "n", "seed", "stop", "max_tokens")
"""Fields that further ones may not replace."""


def connect(
    base_url: str,
    model: str | None = None,
    api_key: str | None = None,
    *,
    concurrency: int = 8,
    retries: int = 3,
    timeout: float = 120.0,
    limit: float | None = None,
    profile: Profile | str | Path | None = None,
) -> Endpoint:
    """An OpenAI-compatible endpoint, such as "http://localhost:8000/v1". Nothing is asked yet.

    model: None takes the first that the endpoint lists. concurrency: most requests of one answer at a time. retries:
    of a request that fails with 429, 5xx or a lost connection. timeout: seconds for one request, its retries before
    the answer begins included. limit: seconds for a whole answer, None for any. profile: whose thresholds decide the
    regimes. Raises ParameterError, ProfileError, or CapabilityError when the package `openai` is not installed.
    """
    return Endpoint(base_url, model, api_key, concurrency, retries, timeout, limit, profile)


class Endpoint:
    """Answers with votes and trees over whole texts. What the endpoint turned out to understand is kept."""

    def __init__(
        self,
        base_url: str,
        model: str | None,
        api_key: str | None,
        concurrency: int,
        retries: int,
        timeout: float,
        limit: float | None,
        profile: Profile | str | Path | None,
    ) -> None:
        try:
            from entropix.remote.client import Learned
        except ModuleNotFoundError as error:
            if error.name != "openai":
                raise
            raise CapabilityError("endpoints need the package openai: pip install 'entropix-llm[remote]'") from None
        concurrency, retries, timeout, limit = plain(concurrency), plain(retries), plain(timeout), plain(limit)
        self.url = checked_url(base_url)
        for name, value, least in (("concurrency", concurrency, 1), ("retries", retries, 0)):
            if not is_integer(value) or value < least:
                raise ParameterError(f"{name}={value!r} is not an integer from {least} on")
        for name, seconds in (("timeout", timeout), ("limit", limit)):
            if seconds is not None and not seconds > 0:
                raise ParameterError(f"{name}={seconds!r} is not a number of seconds over 0")
        self.api_key, self.concurrency, self.retries = api_key, concurrency, retries
        self.timeout, self.limit = timeout, limit
        found = named(profile) if isinstance(profile, (str, Path)) else profile
        self.profile = found or generic(UNKNOWN)
        self._learned = Learned(model)

    @property
    def model(self) -> str | None:
        """The model's name; None until the endpoint has been asked for it."""
        return self._learned.model

    def generate(self, prompt: str | Sequence[Mapping[str, Any]], **options: Any) -> Result:
        """Answer a prompt; options as in `agenerate`. May be called where an event loop runs, as in a notebook."""
        return _wait(self.agenerate(prompt, **options))

    async def agenerate(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        search: str | Strategy | Sequence[Strategy] | SearchPlan | None = None,
        effort: str | None = None,
        answer: str | Extractor | None = None,
        risk: float | str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        max_tokens: int = 512,
        stop: str | Sequence[str] | None = (),
        raw: bool = False,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        watch: Callable[[], bool] | None = None,
        progress: Callable[[Sequence[Text | ToldText]], None] | None = None,
    ) -> Result:
        """Answer a prompt: a string, which is a user's message unless raw, or a list of messages.

        search: "vote:n=8,answer=number", "tree:trigger=entropy+vote:answer=number", … (docs/remote.md); None is one
        text. effort: "none", "low", "medium", "high", as many texts as the answer needs, the first of them at
        temperature 0 and the others at 0.7 unless one is given; answer: what a text answers, an extractor's name or a
        function, None to recognise it (docs/effort.md). risk: the share of wrong answers that is accepted, such as
        "10%": with an effort, and of a server of this project alone, which then holds the vote itself. temperature,
        top_p: None is the endpoint's own default. seed: None is drawn and recorded. fields: further ones of every
        request, such as {"min_p": 0.1}. headers: likewise, of HTTP; `x-session-id`, the same for all requests of an
        answer and another for the next answer, is sent unless it is given: a router that keeps a session on one replica
        finds the prefix of a fork in that replica's cache. watch: asked ten times per second; False ends the answer and
        keeps what has been said. progress: called as often with the texts as they stand, to show them.
        Cancelling closes every request.

        Entropies are of the leading tokens that the endpoint shows, renormalised, as `Step.truncated` says. Raises
        EntropixError subclasses with a message to show, EndpointError if it is the endpoint that fails.
        """
        from entropix.remote.client import Client
        from entropix.remote.explore import Answering, Ask, check_plan
        from entropix.remote.judged import JudgedAnswer, check_judged
        from entropix.remote.text import StreamReader

        if risk is not None:
            check_judged(risk, search, effort, answer, raw)
        drawn = {"temperature": temperature, "top_p": top_p, **(fields or {})}
        plan, why = _planned(prompt, search, effort, answer, drawn)
        if risk is None and effort is not None and plan is not None and temperature is None:
            temperature = TEMPERATURE
        notes = [*why, *check_plan(plan, temperature)]
        seed, max_tokens, temperature, top_p = plain(seed), plain(max_tokens), plain(temperature), plain(top_p)
        if not is_integer(max_tokens) or max_tokens < 1:
            raise ParameterError(f"max_tokens={max_tokens!r} is not an integer from 1 on")
        if seed is not None and not is_integer(seed):
            raise ParameterError(f"seed={seed!r} is not an integer")
        stop = () if stop is None else stop
        if not isinstance(stop, (str, list, tuple)):
            raise ParameterError(f"stop is a string or a list of strings, not {type(stop).__name__}")
        taken = sorted(set(fields or ()) & set(RESERVED))
        if taken:
            raise ParameterError(f"fields: {', '.join(taken)} cannot be given there; use the option of that name")
        stops = [stop] if isinstance(stop, str) else list(stop)
        sessioned = _headers(headers)
        sent = {"temperature": temperature, "top_p": top_p, "stop": stops or None}
        ask = Ask(
            prompt=_asked(prompt, raw),
            seed=secrets.randbits(31) if seed is None else seed,
            max_tokens=max_tokens,
            fields={**{k: v for k, v in sent.items() if v is not None}, **(fields or {})},
            plan=plan,
            concurrency=self.concurrency,
            limit=self.limit,
            stop=bool(stops),
        )
        if risk is not None:
            asked = {"messages": ask.prompt, "seed": ask.seed, "max_tokens": max_tokens, **ask.fields}
            async with Client(self.url, self._learned, self.api_key, self.retries, self.timeout, sessioned) as client:
                judged = JudgedAnswer(client, asked, effort or "", risk, answer if isinstance(answer, str) else None)
                return await judged.run(self.limit, watch, progress)
        policy = make_policy("greedy", self.profile.thresholds, self.profile.vocabulary)
        async with Client(self.url, self._learned, self.api_key, self.retries, self.timeout, sessioned) as client:
            answering = Answering(client, ask, StreamReader(policy, temperature, top_p), watch, progress)
            await answering.run()
        notes.insert(0, f"signals are of the {client.top} likeliest tokens at most: the endpoint shows no more")
        if self.profile.source == "generic":
            notes.append("regimes follow generic thresholds; give a profile of the model for its own")
        name = "greedy" if temperature == 0 else "sample"
        return answering.result(self.model or "", name, self.profile.name, self.profile.thresholds, notes)


def _planned(
    prompt: Any, search: Any, effort: str | None, answer: str | Extractor | None, drawn: Mapping[str, Any]
) -> tuple[SearchPlan | None, tuple[str, ...]]:
    """The search, or the vote of an effort, and notes. drawn: what texts are drawn with. Raises ParameterError."""
    check_effort_alone(search, effort, answer)
    if effort is None:
        return make_search(search), ()
    question = prompt if isinstance(prompt, str) else str(_asked(prompt, raw=False)[-1]["content"])  # type: ignore[index]
    plan, notes = plan_effort(effort, question, answer)
    return (None, (REPEATED,)) if plan is not None and leaves_one(drawn) else (plan, notes)


def checked_url(url: str) -> str:
    """The base of the API; an address without a path gets /v1. Raises ParameterError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ParameterError(f"{url!r} is no address of an endpoint; give one like http://localhost:8000/v1")
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    """Headers by their lower-case names, with a session's. Raises ParameterError for what HTTP cannot carry."""
    headers = {SESSION: secrets.token_hex(8)}
    for name, value in (given or {}).items():
        if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9-]+", name)):
            raise ParameterError(f"headers: {name!r} is no name of a header; letters, digits and - are allowed")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ParameterError(f"headers: the value of {name} is no line of ASCII text")
        headers[name.lower()] = value
    return headers


def _asked(prompt: Any, raw: bool) -> str | list[Mapping[str, Any]]:
    if isinstance(prompt, str):
        if not prompt:
            raise PromptError("the prompt is empty; give at least one character")
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PromptError(
                f"the prompt is not valid Unicode text: lone surrogate at character {error.start}"
            ) from None
        return prompt if raw else [{"role": "user", "content": prompt}]
    if raw:
        raise PromptError("raw=True takes a string, not a list of messages")
    messages = list(prompt) if isinstance(prompt, Sequence) else []
    if not messages or not all(isinstance(m, Mapping) and {"role", "content"} <= set(m) for m in messages):
        raise PromptError("a prompt is a string or a list of messages with 'role' and 'content'")
    return messages


def _wait(answer: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, in a thread of its own where this one has a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(answer)
    done: list[Result | BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(answer))
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]
