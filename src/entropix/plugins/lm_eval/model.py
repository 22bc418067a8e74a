"""The lm_eval model "entropix": its tasks with any of our engines, policies and searches. Docs: docs/lm-eval.md."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from entropix.errors import ModelError, ParameterError, PromptError

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    from tqdm import tqdm
except ImportError as missing:
    raise ModelError(
        f"the lm-eval model needs {(missing.name or '').partition('.')[0]}; install it with: "
        "pip install 'entropix-llm[lm-eval]'"
    ) from None

import entropix
from entropix.decoding import Decoder, Job, Request
from entropix.engines.base import shared_prefix
from entropix.engines.scoring import scores
from entropix.search import make_search

CHAT = "\u0000chat:"
"""Begins a context that is a conversation as JSON, followed by the beginning of the answer: the model's own template
is applied where it is tokenised, so that what a text says is never taken for the template's control tokens."""

MAX_GEN_TOKS = 256
"""lm_eval's own default, where a task says nothing."""

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""lm_eval's names for the most tokens of an answer; the first that is there counts."""

SEQUENCES = 16
"""Least sequences of an engine that is loaded here, so that the choices of a question share their context."""

DEFAULT_DEVICE = "cuda:0"
"""What lm_eval's command line says where no device was named, also on machines without it; ours is the best there
is."""

OPTIONS = ("engine", "context", "threads", "device", "dtype")
"""What goes on to `entropix.load`."""

log = logging.getLogger(__name__)


@register_model("entropix")
class EntropixLM(TemplateLM):  # type: ignore[misc]
    """model: what `entropix.load` takes, or an `entropix.Model`. policy, search: specs, with ";" in place of the ","
    that separates model_args. batch_size: answers decoded at a time, at least 1; "auto" is 16. seed: an answer's own
    is made of this and its question. max_gen_toks: most tokens of an answer where a task says nothing.

    Raises ParameterError for an unknown or impossible argument, CapabilityError for a search the engine cannot do,
    and what `entropix.load` raises."""

    def __init__(
        self,
        model: Any = "smollm2",
        *,
        policy: str = "entropix",
        search: str | None = None,
        profile: str | None = None,
        seed: int = 0,
        batch_size: int | str = "auto",
        max_gen_toks: int = MAX_GEN_TOKS,
        max_batch_size: int | None = None,
        trust_remote_code: bool = False,  # lm_eval adds it to the arguments of every model, for its data sets
        **options: Any,
    ) -> None:
        super().__init__()
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            known = ("model", "policy", "search", "profile", "seed", "batch_size", "max_gen_toks", *OPTIONS)
            raise ParameterError(f"model_args: {unknown[0]!r} is unknown; known are {', '.join(known)}")
        auto = str(batch_size).startswith("auto")
        self.batch = _whole("batch_size", max_batch_size or SEQUENCES if auto else batch_size, least=1)
        self.seed = _whole("seed", seed, least=0)
        self.max_gen_toks = _whole("max_gen_toks", max_gen_toks, least=1)
        self.policy = str(policy).replace(";", ",")
        self.search = str(search).replace(";", ",") if search else None
        self._plan = make_search(self.search)
        if isinstance(model, entropix.Model):
            self.model = model
        else:
            given = {name: value for name, value in options.items() if value is not None}
            sequences = max(self.batch, self._plan.max_sequences if self._plan else 1, SEQUENCES)
            self.model = entropix.load(str(model), profile=profile, sequences=sequences, **given)
        self._policy = self.model.policy(self.policy)
        if self._plan is not None:
            self._plan.check(self.model.engine.capabilities, self._policy)
        self._said: set[str] = set()
        for note in self.model.notes:
            self._say(note)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> EntropixLM:
        """From the command line; what model_args say goes before options such as --batch_size."""
        given = {k: v for k, v in (additional_config or {}).items() if v is not None}
        if given.get("device") == DEFAULT_DEVICE:
            del given["device"]
        return cls(**{**given, **arg_dict})

    # text and tokens

    @property
    def eot_token_id(self) -> int:
        return min(self.model.tokenizer.end_tokens)

    @property
    def prefix_token_id(self) -> int:
        """What stands ahead of a text without context: the beginning-of-text token, or an end token for models
        without one."""
        begin = self.model.tokenizer.begin_token
        return self.eot_token_id if begin is None else begin

    @property
    def max_length(self) -> int:
        """Most tokens that are forwarded of one text."""
        capabilities = self.model.engine.capabilities
        return min(capabilities.context, capabilities.cells)

    @property
    def tokenizer_name(self) -> str:
        """Of lm_eval's request cache, whose files carry it in their name."""
        return self.model.info.name.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """For lm_eval's results file. Raises PromptError for a model without one, ParameterError for a named one."""
        if not chat_template:
            return None
        if isinstance(chat_template, str):
            raise ParameterError(
                f"there is no chat template {chat_template!r}: a model has one, its own; give --apply_chat_template "
                "without a name"
            )
        if not self.model.tokenizer.has_chat_template:
            raise PromptError(f"{self.model.info.name!r} has no chat template; leave --apply_chat_template out")
        return f"the one of {self.model.info.name}"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as a marked text. If its last message is the assistant's, that is how the answer begins."""
        *before, last = chat_history
        begun = last["content"] if last["role"] == "assistant" else None
        return CHAT + json.dumps(chat_history if begun is None else before, ensure_ascii=False) + (begun or "")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        tokenizer = self.model.tokenizer
        if not string.startswith(CHAT):
            return tokenizer.encode(string, begin=add_special_tokens is not False)
        messages, end = json.JSONDecoder().raw_decode(string, len(CHAT))
        return [*tokenizer.chat(messages), *(tokenizer.encode(string[end:]) if string[end:] else [])]

    def get_model_info(self) -> dict[str, Any]:
        """What makes results reproducible, for lm_eval's results file."""
        from entropix.version import entropix_version

        return {
            "model_name": self.model.info.name,
            "model_fingerprint": self.model.info.fingerprint,
            "engine": type(self.model.engine).__name__,
            "policy": self.policy,
            "search": self.search,
            "profile": self.model.profile.name,
            "seed": self.seed,
            "entropix": entropix_version(),
        }

    # answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers, decoded as one changing batch. Of gen_kwargs the stop strings and the length count; how tokens
        are chosen is what policy and search say."""
        often: Counter[str] = Counter()
        waiting: deque[tuple[int, Request]] = deque()
        for n, (context, settings) in enumerate(request.args for request in requests):
            waiting.append((n, self._request(context, settings, often[context])))
            often[context] += 1
        answers = [""] * len(requests)
        running: dict[Job, int] = {}
        decoder = Decoder(self.model.engine)
        with tqdm(total=len(requests), desc="Answering", disable=disable_tqdm) as bar:
            try:
                while waiting or running:
                    while waiting and len(running) < self.batch:
                        n, request = waiting.popleft()
                        running[decoder.submit(request)] = n
                    for event in decoder.step():
                        if event.step is None:
                            n = running.pop(event.job)
                            answers[n] = self.model.result(event.job).text
                            self.cache_hook.add_partial("generate_until", requests[n].args, answers[n])
                            bar.update()
            finally:
                decoder.close()
        return answers

    def _request(self, context: str, settings: Mapping[str, Any], time: int) -> Request:
        """The `time`-th asking of this question, from 0 on, as the loop takes it."""
        lengths = [settings[name] for name in LENGTHS if settings.get(name) is not None]
        most = _whole("max_gen_toks", lengths[0] if lengths else self.max_gen_toks, least=1)
        room = self.max_length - most
        if room < 1:
            raise ParameterError(
                f"max_gen_toks={most} leaves no room for the question: the context holds {self.max_length} tokens; "
                "give a larger context in model_args, or a smaller max_gen_toks in --gen_kwargs"
            )
        if settings.get("do_sample") or settings.get("temperature"):
            self._say(f"do_sample and temperature of gen_kwargs do nothing: policy {self.policy!r} chooses the tokens")
        ignored = sorted(set(settings) - {"until", "do_sample", "temperature", *LENGTHS})
        if ignored:
            self._say(f"gen_kwargs that do nothing: {', '.join(ignored)}; policy {self.policy!r} chooses the tokens")
        tokens = self.tok_encode(context) or [self.prefix_token_id]
        if len(tokens) > room:
            self._say(f"questions longer than {room} tokens (context less max_gen_toks) lose their beginning")
        base = self.model.request("-", raw=True, policy=self._policy, search=self._plan, leading=0)
        return replace(
            base,
            tokens=tokens[-room:],
            stop=_stops(settings.get("until")),
            max_tokens=most,
            seed=seed_of(self.seed, context, time),
        )

    # log-likelihoods

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each (context, continuation) what `_loglikelihood_tokens` says; an empty continuation is certain."""
        out = [(0.0, True)] * len(requests)
        asked = [n for n, request in enumerate(requests) if request.args[1]]
        found = super().loglikelihood([requests[n] for n in asked], disable_tqdm=disable_tqdm)
        for n, score in zip(asked, found, strict=True):
            out[n] = score
        return out

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The tokens of both, encoded together; spaces at the end of the context belong to the continuation.

        The continuation begins with the first token that the context alone does not have. Where the two merge
        ("Fran", "ce"), that token holds the end of the context as well: cutting by the number of the context's tokens,
        as lm_eval's own models do, would leave it out, and with it part of the continuation or all of it."""
        whole = self.tok_encode(context + continuation)
        shared = shared_prefix(whole, self.tok_encode(context.rstrip()))
        return whole[:shared], whole[shared:]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """ln p of whole texts, in windows of the context's length."""
        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for request in requests:
            tokens = self.tok_encode(request.args[0], add_special_tokens=False)
            rolling = get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, 1)
            own = [(None, *make_disjoint_window(window)) for window in rolling]
            windows += own
            counts.append(len(own))
        found = iter(self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm))
        totals = [sum(next(found)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Of each continuation (Σ ln p, whether it is what greedy decoding says), from the model's raw logits."""
        pairs = [self._fitted(context or [self.prefix_token_id], rest) for _, context, rest in requests]
        out: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        with tqdm(total=len(requests), desc="Scoring", disable=disable_tqdm) as bar:
            for n, score in scores(self.model.engine, pairs):
                out[n] = score.logprob, score.greedy
                if requests[n][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[n][0], out[n])
                bar.update()
        return out

    def _fitted(self, context: list[int], rest: list[int]) -> tuple[list[int], list[int]]:
        most = self.max_length + 1  # the last token is scored and not forwarded
        if len(context) + len(rest) > most:
            self._say(f"texts longer than {most} tokens lose their beginning")
            rest = rest[-(most - 1) :]
            context = context[len(rest) - most :]
        return context, rest

    def _say(self, what: str) -> None:
        """A warning, once."""
        if what not in self._said:
            self._said.add(what)
            log.warning("entropix: %s", what)


def seed_of(seed: int, question: str, time: int) -> int:
    """An answer's own seed. time: how often the question was asked before; a further asking is a further sample."""
    digest = hashlib.sha256(f"{seed}\0{time}\0{question}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def _whole(name: str, value: Any, *, least: int) -> int:
    if not str(value).isdecimal() or int(value) < least:
        raise ParameterError(f"{name}={value!r} is not an integer from {least} on")
    return int(value)


def _stops(until: str | Iterable[str] | None) -> tuple[str, ...]:
    """Stop strings as lm_eval gives them, of which empty ones would end every answer before it begins."""
    given = [until] if isinstance(until, str) else until or ()
    return tuple(text for text in given if text)


def command_line() -> None:
    """lm_eval's own, in which --model entropix is known because this module has been imported."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
