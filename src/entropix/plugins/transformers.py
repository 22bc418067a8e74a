"""transformers' own `generate`, decoding as this project does.

    import entropix.plugins.transformers as plugin
    model.generate(**inputs, custom_generate=plugin.generate, policy="entropix", seed=1, max_new_tokens=200)
    model.generate(**inputs, logits_processor=[plugin.PolicyProcessor.of(model, tokenizer, "mirostat", seed=1)])

`generate` runs the decoding loop of this project on the model: every policy and search, attention signals, injected
texts. A `PolicyProcessor` sits in transformers' own loop and knows logits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers.generation.utils import GenerateDecoderOnlyOutput

from entropix.arrays import namespace
from entropix.decoding import Decoder, Job
from entropix.decoding.step import Part, first_state, noise_keys, take_step
from entropix.engines.transformers import TransformersEngine
from entropix.errors import CapabilityError, ModelError, ParameterError
from entropix.model import Model
from entropix.policies import Policy, check_needs
from entropix.profiles import Profile
from entropix.signals import measure_unchecked
from entropix.types import SIGNALS, Array, Result, State

WARPERS = (
    transformers.TemperatureLogitsWarper,
    transformers.TopKLogitsWarper,
    transformers.TopPLogitsWarper,
    transformers.MinPLogitsWarper,
    transformers.TypicalLogitsWarper,
    transformers.EpsilonLogitsWarper,
    transformers.EtaLogitsWarper,
)
"""What a policy stands in the place of: models bring settings for them in generation_config.json."""
REFUSED = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


def generate(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any = (),
    stopping_criteria: Any = (),
    generation_config: Any = None,
    *,
    policy: str | Policy = "entropix",
    seed: int | None = None,
    search: Any = None,
    filters: Any = None,
    profile: Profile | str | None = None,
    attention: bool | None = None,
    tokenizer: Any = None,
    results: list[Result] | None = None,
    streamer: Any = None,
    **model_kwargs: Any,
) -> Any:
    """What `model.generate(..., custom_generate=generate)` calls; the keywords from `policy` on are given there.

    input_ids: `(rows, tokens)`, padded on the left as `attention_mask` says. seed: of each row's noise, which is the
    same alone and in a batch; of several answers to one prompt (num_return_sequences) the next ones count on; None
    draws one from torch, so that `torch.manual_seed` holds. search, filters, profile, attention: as in
    `entropix.Model.generate`. tokenizer: the model's; None loads the one of its name, and transformers hands none on
    to a callable, so give it as `functools.partial(generate, tokenizer=tokenizer)`. results: a list that takes a
    Result for each row, with every step.

    Temperature, top-k, top-p and their like in the generation config are not looked at, since the policy is in their
    place ("sample:temperature=0.7"); repetition_penalty holds. Returns `(rows, tokens)` with the prompts, padded on the
    right, or an output object with return_dict_in_generate. Raises EntropixError subclasses for what this loop cannot
    do: beams, other logits processors, embeddings or a filled cache instead of tokens."""
    config = model.generation_config if generation_config is None else generation_config
    _check(config, model_kwargs)
    penalty = _penalty(logits_processor)
    criteria = [c for c in stopping_criteria or () if not isinstance(c, _COUNTED)]
    ends = _ends(config)
    prompts = _prompts(input_ids, model_kwargs.get("attention_mask"))
    first = int(torch.randint(2**31, ())) if seed is None else seed
    copies = config.num_return_sequences or 1
    engine = TransformersEngine(
        model,
        _tokenizer(model) if tokenizer is None else tokenizer,
        context=getattr(model.config.get_text_config(), "max_position_embeddings", None) or config.max_length,
        sequences=max(len(prompts), 16),
    )
    with Model(engine, profile) as loaded:
        usual = loaded.request(
            "-",
            raw=True,
            policy=policy,
            search=search,
            filters=filters,
            attention=attention,
            repetition=f"repetition={penalty}" if penalty else None,
            max_tokens=max(config.max_length - input_ids.shape[1], 1),
            ignore_end=not ends,
        )
        decoder = Decoder(engine)
        jobs = [
            decoder.submit(replace(usual, tokens=tokens, seed=first + row % copies), row)
            for row, tokens in enumerate(prompts)
        ]
        answers = _decoded(decoder, jobs, criteria, ends, streamer, input_ids)
        if results is not None:
            results += [loaded.result(job) for job in jobs]
    sequences = _padded(input_ids, answers, config)
    return GenerateDecoderOnlyOutput(sequences=sequences) if config.return_dict_in_generate else sequences


_COUNTED = (transformers.MaxLengthCriteria, transformers.EosTokenCriteria)
"""Criteria that the loop has itself."""


def _decoded(
    decoder: Decoder, jobs: list[Job], criteria: list[Any], ends: set[int], streamer: Any, input_ids: torch.Tensor
) -> list[list[int]]:
    """The tokens of every answer, each until it ends or a criterion holds."""
    answers: list[list[int]] = [[] for _ in jobs]
    ended: set[int] = set()
    if streamer is not None:
        streamer.put(input_ids.cpu())
    try:
        while decoder.busy:
            for event in decoder.step():
                row = event.job.index
                if event.step is None or row in ended:
                    continue
                answers[row].append(event.step.token)
                if streamer is not None:
                    streamer.put(torch.tensor([event.step.token]))
                if event.step.token in ends or _holds(criteria, input_ids[row], answers[row]):
                    ended.add(row)
                    decoder.cancel(event.job, "stop")
    finally:
        decoder.close()
        if streamer is not None:
            streamer.end()
    return answers


def _holds(criteria: list[Any], prompt: torch.Tensor, answer: list[int]) -> bool:
    """Whether a criterion ends the text; without any, nothing is copied for them."""
    if not criteria:
        return False
    so_far = torch.cat([prompt, prompt.new_tensor(answer)])[None]
    # what holds for the row holds for all of a batch of one
    return any(bool(torch.as_tensor(criterion(so_far, None)).all()) for criterion in criteria)


def _check(config: Any, given: dict[str, Any]) -> None:
    """Raises CapabilityError for what only transformers' own loops have."""
    if (config.num_beams or 1) > 1:
        raise CapabilityError("num_beams: beams are not what a policy draws; leave it out, or use search='tree'")
    asked = [name for name in REFUSED if getattr(config, name, None)]
    if asked:
        raise CapabilityError(
            f"{', '.join(asked)}: not kept here; give results=[], whose steps have every token's signals"
        )
    if given.get("inputs_embeds") is not None:
        raise CapabilityError("inputs_embeds: prompts are tokens here; give input_ids")
    cache = given.get("past_key_values")
    if cache is not None and cache.get_seq_length():
        raise CapabilityError(
            "past_key_values: a filled cache cannot be gone on with; give the whole prompt's input_ids"
        )


def _penalty(processors: Any) -> float | None:
    """The penalty of repetitions, None without. Raises CapabilityError for a processor that no policy replaces."""
    penalty = None
    for processor in processors or ():
        if isinstance(processor, transformers.RepetitionPenaltyLogitsProcessor):
            penalty = float(processor.penalty)
        elif not isinstance(processor, (*WARPERS, transformers.InfNanRemoveLogitsProcessor)):
            raise CapabilityError(
                f"the logits processor {type(processor).__name__} does not run in this loop; leave it out, or put a "
                "PolicyProcessor after it in transformers' own"
            )
    return penalty


def _ends(config: Any) -> set[int]:
    found = config.eos_token_id
    if found is None:
        return set()
    return {
        int(token) for token in (found if isinstance(found, (list, tuple, set)) else torch.as_tensor(found).reshape(-1))
    }


def _prompts(input_ids: torch.Tensor, mask: Any) -> list[list[int]]:
    """The rows without their padding. Raises ParameterError for a mask that is no padding on the left."""
    rows = []
    for n, row in enumerate(input_ids.tolist()):
        seen = len(row) if mask is None else int(mask[n].sum())
        if mask is not None and not bool(mask[n, len(row) - seen :].all()):
            raise ParameterError(
                "attention_mask: pad on the left (padding_side='left'), where the answer does not go on"
            )
        if not seen:
            raise ParameterError(f"row {n} of input_ids holds no token; give at least one")
        rows.append(row[len(row) - seen :])
    return rows


def _padded(input_ids: torch.Tensor, answers: list[list[int]], config: Any) -> torch.Tensor:
    longest = max(map(len, answers))
    pad = config.pad_token_id
    if pad is None:
        pad = min(_ends(config), default=0)
    filled = [answer + [int(pad)] * (longest - len(answer)) for answer in answers]
    return torch.cat([input_ids, input_ids.new_tensor(filled).reshape(len(filled), longest)], dim=1)


def _tokenizer(model: Any) -> Any:
    name = getattr(model.config, "_name_or_path", "")
    try:
        return transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            "the tokenizer is not known from the model's name; give it: "
            "custom_generate=functools.partial(entropix.plugins.transformers.generate, tokenizer=tokenizer)"
        ) from error


class PolicyProcessor(transformers.LogitsProcessor):  # type: ignore[misc]  # transformers ships no types
    """Leaves each row the one token that the policy draws, so that greedy and sampling loops take it.

    policy: one that does without attention signals. seed: of the noise of every row. injection: the tokens of its text,
    put in one after the other; () for none. pad: the token that fills prompts on the left, which is not counted; None
    for none. The last of the processors: do_sample=False, and no temperature after it. No beams. A new prompt begins
    anew, so one object serves one `generate` at a time. `of` makes one for a model."""

    def __init__(self, policy: Policy, *, seed: int = 0, injection: Sequence[int] = (), pad: int | None = None) -> None:
        check_needs(policy, SIGNALS - {"attention"}, "a logits processor")
        self.policy, self.seed, self.injection, self.pad = policy, seed, tuple(injection), pad
        self._seen: torch.Tensor | None = None
        self._state: State = {}
        self._padding: list[int] = []

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        policy: str | Policy = "entropix",
        *,
        seed: int = 0,
        profile: Profile | str | None = None,
    ) -> PolicyProcessor:
        """With the thresholds of the model's profile. Raises ParameterError, CapabilityError."""
        with Model(TransformersEngine(model, tokenizer), profile) as loaded:
            made = loaded.policy(policy)
            injection = loaded.tokenizer.encode(made.injection) if made.injection else ()
        return cls(made, seed=seed, injection=injection, pad=tokenizer.pad_token_id)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids `(rows, tokens)`, scores `(rows, vocabulary)`: −∞ but for a 0 at each row's token."""
        logits: Array = scores.float()
        logits = logits.numpy() if scores.device.type == "cpu" else logits
        signals = measure_unchecked(logits, None, asked=self.policy.asked)
        if self._seen is None or not _goes_on(self._seen, input_ids):
            self._begin(input_ids, signals.entropy)
        places = [(self.seed, input_ids.shape[1] - padding) for padding in self._padding]
        part = Part(self.policy, slice(None), lambda _: self._state, self._keep, self._tokens(logits), attention=False)
        taken = take_step(logits, signals, [part], noise_keys(places, logits))
        self._seen = input_ids
        chosen = torch.as_tensor(taken.tokens, device=scores.device).reshape(-1, 1).to(torch.int64)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def _begin(self, input_ids: torch.Tensor, like: Array) -> None:
        rows = input_ids.shape[0]
        self._state = first_state(self.policy, self.seed, rows, like)
        first = [] if self.pad is None else (input_ids != self.pad).to(torch.int64).argmax(1).tolist()
        self._padding = first or [0] * rows

    def _tokens(self, like: Array) -> Array | None:
        xp = namespace(like)
        return xp.asarray(self.injection, dtype=xp.int64, device=like.device) if self.injection else None

    def _keep(self, _: int, after: State) -> None:
        self._state = after


def _goes_on(before: torch.Tensor, now: torch.Tensor) -> bool:
    """Whether each row has one token more than before, and the others as they were."""
    return now.shape == (before.shape[0], before.shape[1] + 1) and bool((now[:, :-1] == before).all())
