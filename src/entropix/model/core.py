"""The Python API: a model that answers, streams and chats."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack, overload

from entropix.answers import Extractor
from entropix.constraints import Grammar, Vocabulary, make_grammar
from entropix.decoding import Constraint, Decoder, Job, Request, check_request
from entropix.decoding.request import LEADING
from entropix.engines import Engine, Tokenizer, guard_of
from entropix.errors import ParameterError, PromptError
from entropix.model.afterwards import Afterwards, asking, asks_forward, check_assessment
from entropix.model.asynchronous import AsyncStream, Worker
from entropix.model.chat import Chat
from entropix.model.confidence import for_risk, risks_kept, rule_of, setting_of, template_digest
from entropix.model.options import Asking, Conversation, Effort, EngineOptions, ModelName, Options, Prompt, Several
from entropix.model.prompts import check_text, check_texts, is_conversation, is_several, naming, question_of
from entropix.model.results import result_of
from entropix.model.stream import Stream
from entropix.models import DEFAULT, load_engine
from entropix.policies import Policy, make_policy, parse_spec
from entropix.profiles import Profile, find, named
from entropix.profiles.confidence import Setting, parse_risk
from entropix.sampling import Filters, Repetition, make_filters, make_repetition
from entropix.search import SearchPlan, make_search
from entropix.search.assessment import Assessment, assess
from entropix.search.effort import POLICY as BALLOT_POLICY
from entropix.search.effort import REPEATED, Capacity, check_effort_alone, is_greedy, make_pool, plan_effort
from entropix.search.pool import Pool
from entropix.types import ModelInfo, Result
from entropix.uncertainty import EnumOptions, options_of

DEFAULT_POLICY = "entropix"


class Model:
    """An engine with the profile of its model: the thing that answers.

    Wraps any engine; `entropix.load` makes one from a name or a path. A context manager that gives the model's
    memory back.
    """

    def __init__(self, engine: Engine, profile: Profile | str | Path | None = None) -> None:
        self.engine = engine
        if profile is None:
            profile = find(engine.info)
        self.profile = profile if isinstance(profile, Profile) else named(profile)
        self._template: str | None = None
        self._worker = Worker(engine)

    @property
    def info(self) -> ModelInfo:
        return self.engine.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self.engine.tokenizer

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the reader of this model's answers."""
        notes = []
        if self.profile.source == "generic" or (self.profile.confidences and not self.profile.tokens):
            notes.append(
                f"no profile of {self.info.name!r} is known, so thresholds are generic; measure it with "
                "`entropix calibrate MODEL`"
            )
        elif self.profile.fingerprint != self.info.fingerprint:
            notes.append(f"profile {self.profile.name!r} was measured on another model than {self.info.name!r}")
        return tuple(notes)

    @overload
    def generate(self, prompt: str | Conversation, **options: Unpack[Options]) -> Result: ...
    @overload
    def generate(self, prompt: Several, **options: Unpack[Options]) -> list[Result]: ...
    def generate(self, prompt: Prompt | Several, **options: Unpack[Options]) -> Result | list[Result]:
        """Answer a prompt, or several as one batch.

        prompt: a string (a user message if the model has a chat template, unless raw=True), a conversation (a list of
        {"role", "content"} messages), or a list of either. Options: policy="entropix" (a name, "name:key=value" or a
        Policy), seed=None (drawn for each prompt, and recorded; one that is given holds for each prompt, whose noise is
        the same alone and in any batch), max_tokens=512 (None: until the context is full), stop=(), raw=False,
        attention=None, logit_bias={}, leading=8 candidates recorded a step, filters=None ("top_k=40,min_p=0.05", under
        any policy), repetition=None ("repetition=1.1,presence=0.5"; docs/policies.md), search=None ("tree",
        "vote:n=8,answer=number", … or strategy objects; docs/search.md), constraint=None (what the text must be: a JSON
        schema as a dict, or `json_schema`, `regex`, `lark` of entropix.constraints; docs/constraints.md), effort=None
        ("none", "low", "medium", "high": as many texts as the answer needs; docs/effort.md), with it answer=None (what
        a text answers: an extractor's name or a function; None to recognise it), ballots=None (so many per question,
        which move to the questions that are least decided), risk=None (0.1 or "10%": an answer that is not sure enough
        to keep wrong ones at this share is `abstained`; needs a calibration); uncertainty=() (names of estimators that
        have to ask the model, such as "self-assessment", for `uncertainties`; docs/uncertainty.md); reproducible=False
        (True: text and log-probabilities depend on nothing beside the request, at a price; docs/engines.md); further
        keywords are the policy's parameters.

        Returns a Result, or a list of them for a list. Raises EntropixError subclasses with a message to show; an
        answer of several that fails alone has finish_reason "error" and a note, and nothing is raised.
        """
        return _answered(self.stream(prompt, **options), prompt)

    def stream(self, prompt: Prompt | Several, **options: Unpack[Options]) -> Stream:
        """Like `generate`, but yields `Token`s as they become certain. Bad arguments raise here, not later."""
        decoder = Decoder(self.engine, isolate=True)
        requests = self._requests(prompt, **options)
        return Stream(self, decoder, [decoder.submit(request, n) for n, request in enumerate(requests)])

    @overload
    def ask(self, question: str | Conversation, effort: Effort = "medium", **options: Unpack[Asking]) -> Result: ...
    @overload
    def ask(self, question: Several, effort: Effort = "medium", **options: Unpack[Asking]) -> list[Result]: ...
    def ask(
        self, question: Prompt | Several, effort: Effort = "medium", **options: Unpack[Asking]
    ) -> Result | list[Result]:
        """`generate` with effort: as many texts as the answer needs. `answer`, `confidence` and `confidence_source` of
        the result say what they agree on, `search.shares` the other answers. One text answers an open question."""
        return _answered(self.stream(question, effort=effort, **options), question)

    def options(
        self, prompt: Any, result: Result, schema: Mapping[str, Any], *, raw: bool = False
    ) -> dict[tuple[str | int, ...], EnumOptions]:
        """What the model gives every option of a JSON schema's enums where `result` has chosen one, by the path:
        exact, as each is forwarded. prompt, raw: the answer's. Raises ParameterError and CapacityError."""
        return options_of(self.engine, self.encode(prompt, raw), result.text, result.steps, schema)

    def assess(self, question: str, answers: Sequence[str]) -> Assessment:
        """How likely the model finds each of `answers` to a question, the leading one first, such as those of
        `result.search.shares`: one forward for each rotation of the options, no token decoded. docs/effort.md says
        what that is worth. Raises ParameterError, PromptError and CapacityError."""
        return assess(self.engine, self.encode, question, answers)

    @overload
    async def agenerate(self, prompt: str | Conversation, **options: Unpack[Options]) -> Result: ...
    @overload
    async def agenerate(self, prompt: Several, **options: Unpack[Options]) -> list[Result]: ...
    async def agenerate(self, prompt: Prompt | Several, **options: Unpack[Options]) -> Result | list[Result]:
        """`generate` for asyncio: the event loop goes on meanwhile, and what several tasks ask for is decoded as one
        batch. Cancelling the task cancels the answer."""
        async with self.astream(prompt, **options) as stream:
            async for _ in stream:
                pass
        return stream.results if is_several(prompt) else stream.result

    def astream(self, prompt: Prompt | Several, **options: Unpack[Options]) -> AsyncStream:
        """`stream` for asyncio, to be read with `async for`. Bad arguments raise at the first token."""
        return AsyncStream(self, self._worker, lambda: self._requests(prompt, **options))

    def chat(self, system: str | None = None, **options: Unpack[Options]) -> Chat:
        """A conversation; options as in `generate`. Raises PromptError when the model has no chat template."""
        if not self.tokenizer.has_chat_template:
            raise PromptError(
                f"{self.info.name!r} has no chat template, so it cannot chat; use generate for plain continuation"
            )
        return Chat(self, system, **options)

    def policy(self, spec: str | Policy = "entropix", **params: Any) -> Policy:
        """The policy that `spec` names, with this model's thresholds. Raises ParameterError."""
        if isinstance(spec, Policy):
            if params:
                raise ParameterError(f"a policy object takes no further parameters; unknown: {', '.join(params)}")
            return spec
        if not isinstance(spec, str):
            raise ParameterError(f"policy is a name or a Policy, not {type(spec).__name__}")
        name, inline = parse_spec(spec)
        own = {k: v for k, v in self.profile.parameters.get(name, {}).items() if k not in inline}
        return make_policy(spec, self.profile.thresholds, self.info.vocabulary, **{**own, **params})

    def constraint(self, asked: Grammar | Mapping[str, Any] | Constraint) -> Constraint:
        """What the text of an answer must be, for this model: from a JSON schema as a mapping, or a `Grammar`.
        `generate` takes it or what it is made from; it can be used for any number of answers.

        The first one reads the whole vocabulary, which takes a few tenths of a second. Raises ParameterError, and
        CapabilityError when llguidance is not installed."""
        return asked if isinstance(asked, Constraint) else self.vocabulary.compile(make_grammar(asked))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """This model's tokens for constraints. Raises CapabilityError when llguidance is not installed."""
        return Vocabulary(self.tokenizer, self.info.vocabulary)

    def encode(
        self, prompt: Any, raw: bool = False, *, special: bool = False, begin: bool = True, **template: Any
    ) -> list[int]:
        """The tokens that a prompt starts an answer from. special, begin: of plain text, as in `Tokenizer.encode`.
        template: options of `Tokenizer.chat`, for a conversation. Raises PromptError."""
        tokenizer = self.tokenizer
        if isinstance(prompt, str):
            if not prompt and not raw:  # of plain text the model's beginning is left, if it has one
                raise PromptError("the prompt is empty; give at least one character")
            check_text(prompt, "the prompt")
            if raw or not tokenizer.has_chat_template:
                return tokenizer.encode(prompt, special=special, begin=begin)
            return tokenizer.chat([{"role": "user", "content": prompt}])
        if not is_conversation(prompt):
            raise PromptError(
                f"a prompt is a string or a list of messages with 'role' and 'content', not {type(prompt).__name__}"
            )
        if raw:
            raise PromptError("raw=True takes a string, not a list of messages")
        if not tokenizer.has_chat_template:
            raise PromptError(f"{self.info.name!r} has no chat template; give a string instead of messages")
        for n, message in enumerate(prompt):
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise PromptError(f"message {n} needs the texts 'role' and 'content'")
            check_text(message["content"], f"message {n}")
            check_texts({name: part for name, part in message.items() if name != "content"}, f"message {n}")
        check_texts(template, "the template's values")
        return tokenizer.chat(prompt, **template)

    def close(self) -> None:
        """Give the model's memory back. Waits for a model call of another thread; what that thread decodes ends with
        a ModelError. Closing twice is allowed."""
        self._worker.close()
        guard = guard_of(self.engine)
        with guard.ending() as usable:
            if usable:
                guard.close()
                self.engine.shutdown()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self,
        prompt: Any,
        *,
        policy: str | Policy | None = None,
        seed: int | None = None,
        max_tokens: int | None = 512,
        stop: str | Sequence[str] | None = (),
        raw: bool = False,
        attention: bool | None = None,
        logit_bias: Mapping[int, float] | None = None,
        leading: int = LEADING,
        filters: Filters | str | None = None,
        repetition: Repetition | str | None = None,
        search: Any = None,
        constraint: Constraint | Grammar | Mapping[str, Any] | None = None,
        effort: str | None = None,
        answer: str | Extractor | None = None,
        risk: float | str | None = None,
        uncertainty: str | Sequence[str] = (),
        pool: Pool | None = None,
        keep: bool = False,
        reproducible: bool = False,
        ignore_end: bool = False,
        **params: Any,
    ) -> Request:
        """What a `Decoder` needs to answer one prompt; options as in `generate`. For programs that drive the loop
        themselves; `result` makes a Result of the job."""
        stop = () if stop is None else stop
        if not isinstance(stop, (str, list, tuple)):
            raise ParameterError(f"stop is a string or a list of strings, not {type(stop).__name__}")
        tokens = self.encode(prompt, raw)
        plan, notes = self._plan(prompt, search, effort, answer, pool)
        usual = DEFAULT_POLICY if effort is None or plan is None else BALLOT_POLICY
        drawn = self.policy(policy or usual, **params)
        kept = make_filters(filters)
        if effort is not None and plan is not None and is_greedy(drawn, kept):
            plan, notes = None, (REPEATED,)
        after = None
        if asks_forward(uncertainty):
            check_assessment(self.engine, plan, effort)
            after = Afterwards(question_of(prompt), assess=True)
        return Request(
            policy=drawn,
            risk=None if risk is None else self.risk(risk, drawn, plan, effort),
            search=plan,
            notes=notes,
            after=after,
            constraint=None if constraint is None else self.constraint(constraint),
            tokens=tokens,
            seed=secrets.randbits(32) if seed is None else seed,
            max_tokens=max_tokens,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            logit_bias=dict(logit_bias or {}),
            filters=kept,
            repetition=make_repetition(repetition),
            attention=attention,
            leading=leading,
            keep=keep,
            reproducible=reproducible,
            ignore_end=ignore_end,
        )

    def setting(self, policy: Policy, plan: object) -> Setting | None:
        """What a calibrated confidence of this model's answers must have been made for; None where no vote of samples
        is held."""
        if self._template is None:
            self._template = template_digest(self.tokenizer)
        rule = rule_of(plan)
        return None if rule is None else setting_of(self.info, self._template, policy, rule)

    def risk(self, given: float | str, policy: Policy, plan: SearchPlan | None, effort: str | None) -> float:
        """A share of wrong answers, as 0.1 or "10%", that the profile can keep for answers found like this.

        Raises ParameterError and ProfileError for one that is no share, and where no calibration fits."""
        risk, setting = parse_risk(given), self.setting(policy, plan)
        if setting is not None:
            for_risk(self.profile.confidences, setting, risk)
        elif effort in (None, "none"):
            raise ParameterError("risk is kept by a vote: give effort low, medium or high, or search=vote:…")
        return risk  # an open question, which is answered by one text, abstains

    def risks(self, policy: Policy, plan: SearchPlan | None) -> tuple[float, ...]:
        """The shares of wrong answers that `risk` may ask for, for answers found like this, smallest first."""
        setting = self.setting(policy, plan)
        return () if setting is None else risks_kept(self.profile.confidences, setting)

    def _plan(
        self, prompt: Any, search: Any, effort: str | None, answer: str | Extractor | None, pool: Pool | None
    ) -> tuple[SearchPlan | None, tuple[str, ...]]:
        check_effort_alone(search, effort, answer)
        if effort is None:
            return make_search(search), ()
        return plan_effort(effort, question_of(prompt), answer, room=Capacity.of(self.engine.capabilities), pool=pool)

    def _requests(
        self,
        prompt: Any,
        *,
        raw: bool = False,
        seed: int | None = None,
        keep: bool = False,
        effort: str | None = None,
        ballots: int | None = None,
        **options: Any,
    ) -> list[Request]:
        """One checked request per prompt; nothing is computed yet. A seed holds for each prompt, and without one each
        draws its own."""
        prompts = list(prompt) if is_several(prompt) else [prompt]
        if not prompts:
            raise PromptError("the list of prompts is empty; give at least one")
        options["pool"] = None if ballots is None else make_pool(effort, ballots)
        requests: list[Request] = []
        for n, one in enumerate(prompts, 1):
            seed_of_own = secrets.randbits(32) if seed is None else seed
            with naming(n, len(prompts)):
                if requests and effort is None:
                    made = replace(requests[0], tokens=self.encode(one, raw), seed=seed_of_own)
                else:  # what is recognised in one question's texts says nothing of another's
                    keeps = keep and not requests
                    made = self.request(one, raw=raw, seed=seed_of_own, keep=keeps, effort=effort, **options)
                check_request(self.engine, made)
            requests.append(made)
        return requests

    def ask_about(self, job: Job, **bounds: int | None) -> Iterator[None]:
        """Ask the model what the request of an ended job wants to know of its answer, a forward at each step. For
        programs that drive the loop themselves, before `result`; bounds: `sequences` and `chunk`, as of `asking`."""
        return asking(self.engine, self.encode, job, **bounds)

    def result(self, job: Job) -> Result:
        """A job of a decoder as a Result, as far as it has come."""
        setting = self.setting(job.request.policy, job.request.search) if self.profile.confidences else None
        return result_of(job, self.info.name, self.profile, setting, self.notes)


def load(
    name: ModelName = DEFAULT,
    *,
    engine: str | None = None,
    profile: Profile | str | Path | None = None,
    **options: Unpack[EngineOptions],
) -> Model:
    """Load a model: "smollm2", a .gguf file, a transformers directory or a hub name.

    engine: "llama_cpp", "transformers" or "mlx", None for the natural one. profile: None finds the model's own. Options
    go to the engine: context, sequences, cells, attention_layers; threads, gpu_layers, flash_attention, kv_type, batch,
    lora, rope_scaling, rope_freq_base (llama_cpp; docs/engines.md); device (transformers), dtype (transformers, mlx).
    Raises ModelError, ParameterError or ProfileError with a message that says what to do.
    """
    found = None if profile is None else profile if isinstance(profile, Profile) else named(profile)
    return Model(load_engine(name, engine, **options), found)


def _answered(stream: Stream, prompt: Any) -> Result | list[Result]:
    """What a stream has said at its end."""
    with stream:
        for _ in stream:
            pass
    return stream.results if is_several(prompt) else stream.result
