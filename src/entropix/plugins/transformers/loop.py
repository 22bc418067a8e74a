"""This project's decoding loop as transformers' `custom_generate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers.generation.utils import GenerateDecoderOnlyOutput

from entropix.decoding import Decoder, Job
from entropix.engines.transformers import TransformersEngine
from entropix.errors import CapabilityError, ModelError, ParameterError
from entropix.model import Model
from entropix.policies import Policy
from entropix.profiles import Profile
from entropix.types import Result

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
    for name in ("past_key_values", "cache"):  # which transformers calls it depends on its version
        if given.get(name) is not None and given[name].get_seq_length():
            raise CapabilityError(f"{name}: a filled cache cannot be gone on with; give the whole prompt's input_ids")


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
            "the tokenizer is not known from the model's name; give it: tokenizer=tokenizer, or for a callable "
            "custom_generate=functools.partial(entropix.plugins.transformers.generate, tokenizer=tokenizer)"
        ) from error
