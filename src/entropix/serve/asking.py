"""A request of the API → what the decoding loop is asked. Everything that can be wrong is found here."""

from __future__ import annotations

import codecs
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from entropix.decoding import Constraint, Request, check_request
from entropix.decoding.request import LEADING
from entropix.errors import EntropixError, ParameterError
from entropix.model import Model
from entropix.policies import POLICIES, Policy, parameters, parse_spec
from entropix.profiles import Profile, own, shipped
from entropix.search import SearchPlan, make_search
from entropix.search.effort import POLICY as BALLOTS
from entropix.search.effort import REPEATED, Capacity, is_greedy
from entropix.search.seeds import derived
from entropix.serve.afterwards import afterwards_of
from entropix.serve.conversation import constraint_of, manner_of, read_conversation
from entropix.serve.echo import check_echo, echoing
from entropix.serve.effort import Votes, level_of, risk_of
from entropix.serve.errors import ApiError, invalid
from entropix.serve.lengths import check_length
from entropix.serve.prompts import fill
from entropix.serve.sampling import filters_of, repetition_of
from entropix.serve.schema import ChatRequest, Common, CompletionRequest, Extension
from entropix.serve.settings import Settings
from entropix.serve.tools.history import Template
from entropix.serve.tools.speech import PLAIN, Manner

COMPLETION_TOKENS = 16
"""max_tokens of /v1/completions where none is given, as OpenAI has it."""


@dataclass(frozen=True)
class Asked:
    """requests: one per choice, prompt after prompt. prompts: how many different prompts. model: with the profile that
    was asked for. notes: what the reader of the answer should know. top: how many leading candidates a token's
    log-probabilities show, None for no log-probabilities. recorded: how many a step record shows, None for no step
    records. prefix: the text of the tokens that the answers go on from, None without any; a character that they begin
    and do not end is the answer's. progress: whether it is wanted how searches stand. echo: the prompts, where
    the answers begin with them; silent: and consist of nothing else. manner: how the
    texts of the answers are to be read."""

    requests: tuple[Request, ...]
    prompts: int
    model: Model
    notes: tuple[str, ...]
    top: int | None
    recorded: int | None
    prefix: str | None = None
    progress: bool = False
    echo: tuple[str, ...] = ()
    silent: bool = False
    manner: Manner = PLAIN


class Reader:
    """Reads requests for one model. Any thread may use it, one at a time."""

    def __init__(self, model: Model, settings: Settings, *, keep: bool, places: int, spare: bool = True) -> None:
        """spare: whether there is a sequence beside those of answers, on which the model is asked about them."""
        self.model, self.settings, self.keep, self.places, self.spare = model, settings, keep, places, spare
        self.votes = Votes(Capacity.of(model.engine.capabilities, places))

    @cached_property
    def template(self) -> Template:
        """What the model's chat template can do."""
        return Template(self.model.tokenizer)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the model may be called."""
        return tuple(dict.fromkeys((self.model.info.name, *self.settings.aliases)))

    def chat(self, asked: ChatRequest) -> Asked:
        """Raises ApiError naming what is wrong."""
        if asked.top_logprobs is not None and not asked.logprobs:
            raise invalid("top_logprobs: it needs logprobs: true", "top_logprobs")
        if asked.max_tokens is not None and asked.max_completion_tokens not in (None, asked.max_tokens):
            raise invalid("max_tokens and max_completion_tokens differ; give one of them", "max_completion_tokens")
        said = read_conversation(asked, self.template)
        options: dict[str, Any] = {"tools": said.tools, "variables": said.variables, "begun": said.begun}
        # not by `Model.encode`: every text of it has been checked where it stands in the request
        prompt = self.guarded(said.texts, lambda: self.model.tokenizer.chat(said.turns, **options), "messages")
        top = (asked.top_logprobs or 0) if asked.logprobs else None
        most = asked.max_completion_tokens or asked.max_tokens
        constraint = constraint_of(said, self.template, self.model)
        calls = said.toolset is not None
        found = self._asked(asked, [(prompt, said.question)], most, top, "messages", constraint, calls=calls)
        return replace(found, manner=manner_of(said, self.template, prompt))

    def completion(self, asked: CompletionRequest) -> Asked:
        """Raises ApiError naming what is wrong."""
        prompt = asked.prompt
        several = isinstance(prompt, list) and isinstance(prompt[0], (str, list))
        given = prompt if several else [prompt]
        most = self.settings.max_choices
        if len(given) > most:
            raise invalid(f"prompt: {len(given)} prompts are too many; allowed are {most}", "prompt")
        prompts = [(self._tokens(one, asked), self._text(one)) for one in given]
        tokens = COMPLETION_TOKENS if asked.max_tokens is None else asked.max_tokens
        if not asked.echo:
            if asked.max_tokens == 0:
                raise invalid("max_tokens: 0 asks for no text; give at least 1, or echo: true with it", "max_tokens")
            return self._asked(asked, prompts, tokens, asked.logprobs, "prompt")
        check_echo(asked)
        found = self._asked(asked, prompts, tokens or 1, asked.logprobs, "prompt")
        return echoing(found, [text for _, text in prompts], tokens)

    def _tokens(self, prompt: object, asked: CompletionRequest) -> list[int]:
        if isinstance(prompt, list):
            vocabulary = self.model.info.vocabulary
            if any(token >= vocabulary for token in prompt):
                raise invalid(f"prompt: this model's tokens are 0 … {vocabulary - 1}", "prompt")
            if asked.suffix:
                raise invalid("suffix: it goes with a prompt of text, not of tokens", "suffix")
            return prompt
        assert isinstance(prompt, str)
        parses = (asked.entropix or Extension()).parse_special
        special = self.settings.parse_special if parses is None else parses

        encode = partial(self.model.encode, raw=True)
        if not asked.suffix:
            begin = asked.add_special_tokens is not False
            return self.guarded([prompt], lambda: encode(prompt, special=special, begin=begin), "prompt")
        suffix, plain = asked.suffix, partial(encode, begin=False)
        return self.guarded([prompt, suffix], lambda: fill(self.model.tokenizer, prompt, suffix, plain), "prompt")

    def _text(self, prompt: object) -> str:
        if isinstance(prompt, str):
            return prompt
        assert isinstance(prompt, list)
        return b"".join(map(self.model.tokenizer.piece, prompt)).decode("utf-8", "replace")

    def guarded(self, texts: Sequence[str], encode: Callable[[], list[int]], param: str) -> list[int]:
        """The tokens of `texts` as `encode` makes them. Raises ApiError, first for what is far too long."""
        try:
            check_length(texts, self._longest, self.model.tokenizer.encode)
        except EntropixError as error:
            raise invalid(f"{param}: {error}", param, "context_length_exceeded") from None
        try:
            return encode()
        except EntropixError as error:
            raise invalid(f"{param}: {error}", param) from None

    @cached_property
    def _longest(self) -> int:
        """Most tokens of a prompt."""
        capabilities = self.model.engine.capabilities
        return min(capabilities.context, capabilities.cells, self.settings.max_prompt or capabilities.cells)

    def _asked(
        self,
        asked: Common,
        prompts: Sequence[tuple[list[int], str]],
        max_tokens: int | None,
        top: int | None,
        param: str,
        constraint: Constraint | None = None,
        calls: bool = False,
    ) -> Asked:
        """prompts: each with the question in it, by which a vote recognises answers. calls: the answer may be a call of
        a tool, which no vote is held on."""
        settings = self.settings
        if asked.model not in self.names:
            raise no_such_model(asked.model, self.names)
        n = asked.n or 1
        max_tokens = None if max_tokens == -1 else max_tokens
        limited = []
        if n * len(prompts) > settings.max_choices:
            most = settings.max_choices // len(prompts)
            limited.append(
                _limited("n", n, most, f"this server gives at most {settings.max_choices} answers per request")
            )
            n = most
        if max_tokens is not None and max_tokens > settings.max_tokens:
            limited.append(_limited("max_tokens", max_tokens, settings.max_tokens, "this server's limit"))
            max_tokens = settings.max_tokens
        if asked.stream_options is not None and not asked.stream:
            raise invalid("stream_options: they need stream: true", "stream_options")
        extension = asked.entropix or Extension()
        before = self._before(extension.prefix, constraint)
        prompts = [([*tokens, *extension.prefix], question) for tokens, question in prompts]
        longest = settings.max_prompt
        for prompt, _ in prompts:
            if longest is not None and len(prompt) > longest:
                raise invalid(
                    f"{param}: the prompt has {len(prompt)} tokens; allowed are {longest}",
                    param,
                    "context_length_exceeded",
                )
        recorded = extension.leading if asked.entropix is not None and extension.steps else None
        model = self._profiled(extension.profile)
        level, said = level_of(asked, settings.effort)
        limited += said
        if calls and level not in (None, "none"):
            level = "none"
            limited.append("effort: an answer that may call tools is one text, on which no vote is held")
        given = extension.reproducible
        reproducible = settings.reproducible if given is None else given
        stop = tuple(filter(None, [asked.stop] if isinstance(asked.stop, str) else asked.stop or ()))
        bias = self._bias(asked.logit_bias)
        filters, repetition = filters_of(asked), repetition_of(asked)
        requests = []
        pool = self.votes.pool(level, extension.ballots, n * len(prompts))
        for prompt, question in prompts:
            votes = [self.votes.about(level, question, extension.answer, pool) for _ in range(n)]
            search, why = votes[0]
            policy, notes = self._policy(asked, extension, model, settings.policy if search is None else BALLOTS)
            if search is not None and is_greedy(policy, filters):
                votes, why = [(None, ())] * n, (REPEATED,)
            if level in (None, "none"):
                votes = [(self._asked_search(extension.search or settings.search), ())] * n
            seed = secrets.randbits(32) if asked.seed is None else asked.seed
            first = Request(
                tokens=prompt,
                policy=policy,
                seed=seed,
                max_tokens=max_tokens or settings.max_tokens,
                stop=stop,
                logit_bias=bias,
                leading=max(top or 0, recorded or 0, LEADING if calls else 0),
                keep=self.keep,
                reproducible=reproducible,
                search=votes[0][0],
                constraint=constraint,
                notes=(*notes, *why),
                before=before,
                filters=filters,
                repetition=repetition,
                after=afterwards_of(self, asked, question, votes[0][0], level),
                risk=risk_of(model, extension.risk, policy, votes[0][0], level, calls=calls),
            )
            self._check(first, param)
            # a search draws its own samples from the same derivation, so choices get a derivation of their own
            rest = [replace(first, seed=derived(seed, c, 0), keep=False, search=votes[c][0]) for c in range(1, n)]
            requests += [first, *rest]
            self._refuse([*limited, *notes, *why])
        prefix = begun(before) if extension.prefix else None
        return Asked(tuple(requests), len(prompts), model, tuple(limited), top, recorded, prefix, extension.progress)

    def noted(self, asked: Asked, notes: Sequence[str]) -> Asked:
        """`asked` with further notes. Raises ApiError where notes are refusals."""
        self._refuse(notes)
        return replace(asked, notes=(*asked.notes, *notes))

    def _refuse(self, notes: Sequence[str]) -> None:
        """Raise the ApiError of a server that refuses what others note."""
        if self.settings.strict and notes:
            raise invalid(f"{notes[0]} (this server is strict and refuses what others would note)")

    def _before(self, prefix: Sequence[int], constraint: Constraint | None) -> bytes:
        """The bytes of `prefix`. Raises ApiError where nothing can go on from it."""
        name, tokenizer = "entropix.prefix", self.model.tokenizer
        vocabulary = self.model.info.vocabulary
        for token in prefix:
            if token >= vocabulary:
                raise invalid(f"{name}: {token} is no token; this model's are 0 … {vocabulary - 1}", name)
            if token in tokenizer.end_tokens:
                raise invalid(f"{name}: token {token} ends an answer, so nothing goes on from it", name)
        if prefix and constraint is not None:
            raise invalid(f"{name}: with response_format or tools an answer cannot begin with given tokens", name)
        return b"".join(map(tokenizer.piece, prefix))

    def check_defaults(self) -> None:
        """Raise what would refuse every request that names neither a policy nor a search."""
        settings = self.settings
        policy, search = self.model.policy(settings.policy), self._search(settings.search)
        if settings.effort not in (None, "none"):
            search, _ = self.votes.about(settings.effort, "How many?", None)
            if search is None:
                raise ParameterError(
                    f"effort {settings.effort!r} holds votes of at least 3 texts at a time, and this server gives an "
                    f"answer at most {self.votes.room.texts}; give it more places "
                    "(--parallel), or no effort"
                )
        check_request(
            self.model.engine,
            Request(tokens=[0], policy=policy, seed=0, search=search, reproducible=settings.reproducible),
        )

    def _asked_search(self, spec: str | None) -> SearchPlan | None:
        try:
            return self._search(spec)
        except EntropixError as error:
            raise invalid(f"entropix.search: {error}", "entropix.search") from None

    def _search(self, spec: str | None) -> SearchPlan | None:
        """Raises ParameterError for what can never have its sequences here."""
        search = None if spec == "none" else make_search(spec)
        if search is not None and search.max_sequences > self.places:
            raise ParameterError(
                f"search {search.spec!r} wants {search.max_sequences} sequences at a time, and this server gives "
                f"an answer at most {self.places}; give a smaller max_sequences"
            )
        return search

    def _check(self, request: Request, param: str) -> None:
        try:
            check_request(self.model.engine, request)
        except EntropixError as error:
            text = str(error)
            if text.startswith("the prompt has"):
                raise invalid(f"{param}: {text}", param, "context_length_exceeded") from None
            raise invalid(text, param if text.startswith("the prompt") else None) from None

    def _profiled(self, name: str | None) -> Model:
        """The model with a profile that is known by name; a client's path is never opened."""
        if name is None or name == self.model.profile.name:
            return self.model
        known: dict[str, Profile] = {}
        for profile in (*own(), *shipped()):
            known.setdefault(profile.name.lower(), profile)
        if name.lower() not in known:
            names = ", ".join(p.name for p in known.values()) or "none"
            raise invalid(f"entropix.profile: there is no profile {name!r}; known are {names}", "entropix.profile")
        return Model(self.model.engine, known[name.lower()])

    def _policy(self, asked: Common, extension: Extension, model: Model, usual: str) -> tuple[Policy, tuple[str, ...]]:
        """The policy with its base set by temperature and top_p, and notes about what it does not have. usual: the one
        of a request that names none."""
        spec = usual if extension.policy is None else extension.policy
        given = dict(extension.parameters)
        notes = []
        param = "entropix.parameters" if given else "entropix.policy"
        try:
            name, inline = parse_spec(spec)
            chosen = {**(inline if extension.policy is not None else {}), **given}
            if asked.temperature == 0 and "temperature" not in chosen and name in POLICIES:
                return model.policy("greedy"), ()
            known = parameters(POLICIES[name]) if name in POLICIES else {}
            for key in ("temperature", "top_p"):
                value = getattr(asked, key)
                if value is None or key in chosen:
                    continue
                if key in known:
                    low, high = (known[key].metadata[end] for end in ("low", "high"))
                    given[key] = min(max(value, low), high)
                    if given[key] != value:
                        notes.append(_limited(key, value, given[key], f"policy {name!r} takes {low:g} to {high:g}"))
                elif name in POLICIES:
                    notes.append(f"{key}: policy {name!r} has no such parameter, so it changes nothing")
            param = "entropix.parameters" if extension.parameters else "entropix.policy"
            return model.policy(spec, **given), tuple(notes)
        except EntropixError as error:
            raise invalid(f"{param}: {error}", param) from None

    def _bias(self, given: dict[str, float] | None) -> dict[int, float]:
        bias = {}
        vocabulary = self.model.info.vocabulary
        for key, value in (given or {}).items():
            if not (key.isascii() and key.isdigit() and len(key) < 12) or int(key) >= vocabulary:
                raise invalid(f"logit_bias: {key!r} is no token; this model's are 0 … {vocabulary - 1}", "logit_bias")
            bias[int(key)] = value
        return bias


def begun(before: bytes) -> str:
    """What `before` says, without a character that it does not end."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(before)


def _limited(name: str, asked: float, used: Any, why: str) -> str:
    """The note of a value that OpenAI's API allows and this server, or the policy, does not."""
    return f"{name}: {asked:g} was asked for and {used:g} is used; {why}"


def no_such_model(name: str, names: Sequence[str]) -> ApiError:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    text = f"the model {shown!r} is not served here; served is {', '.join(names)}"
    return ApiError(404, text, param="model", code="model_not_found")
