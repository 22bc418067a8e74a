"""Constrained decoding: finished texts are valid, whatever the model, the policy and the search do."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entropix import Model
from entropix.constraints import lark, regex
from entropix.decoding import Branch, Constraint, Decoder, Job, Request
from entropix.decoding.masks import apply_masks
from entropix.engines import Engine
from entropix.engines.scripted import END, VOCABULARY, ScriptedEngine, ScriptedTokenizer, hashed, saying
from entropix.errors import ParameterError
from entropix.policies import make_policy
from entropix.search import Vote, make_search
from entropix.search.ballots import count
from entropix.search.scores import score, trace_confidence
from entropix.types import Action, Array, Thresholds

THRESHOLDS = Thresholds(0.3, 2.0, 0.25, 1.5)
SEARCHES = (
    None,
    "tree:trigger=random,rate=0.2,max_sequences=4",
    "tree:when=end,trigger=random,rate=0.3,max_sequences=4",
    "lookahead:trigger=random,rate=0.2,horizon=6",
    "backtrack:trigger=random,rate=0.2,retries=5,rewinds=30",
    "vote:n=3",
)


def request(spec: str, constraint: Any, search: str | None = None, tokens: Any = (72, 105), **values: Any) -> Request:
    policy = make_policy(spec, THRESHOLDS, VOCABULARY)
    return Request(tokens=tokens, policy=policy, constraint=constraint, search=make_search(search), **values)


def decode(engine: Engine, *requests: Request) -> list[Job]:
    decoder = Decoder(engine)
    jobs = [decoder.submit(r, n) for n, r in enumerate(requests)]
    for _ in decoder.run():
        pass
    assert engine.cells_used() == 0, "a sequence leaked"
    return jobs


def fixed(likely: Mapping[int, float], rest: float = 0.0) -> ScriptedEngine:
    """A model that always says the same."""
    out = np.full(VOCABULARY, rest)
    for token, logit in likely.items():
        out[token] = logit
    return ScriptedEngine(lambda _: out)


@pytest.fixture(scope="module")
def scripted() -> Model:
    return Model(ScriptedEngine())


def texts() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 5)})


LEAVES = st.one_of(
    texts(),
    st.sampled_from(
        [
            {"type": "integer", "minimum": -7, "maximum": 1200},
            {"type": "number", "minimum": -1, "maximum": 1, "multipleOf": 0.25},
            {"type": "boolean"},
            {"type": ["null", "boolean"]},
            {"const": "größe 🙂"},
            {"type": "string", "pattern": "^[a-c]{2}é+$", "maxLength": 6},
            {"type": "string", "format": "date"},
        ]
    ),
    st.lists(st.one_of(st.text(max_size=4), st.integers(-99, 99), st.none()), min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.text(string.ascii_lowercase + 'ü🙂"', min_size=1, max_size=3), inner, max_size=3)
    return properties.flatmap(
        lambda p: (
            st.lists(st.sampled_from(sorted(p)), unique=True).map(
                lambda required: {
                    "type": "object",
                    "properties": p,
                    "required": required,
                    "additionalProperties": False,
                }
            )
            if p
            else st.just({"type": "object", "additionalProperties": False})
        )
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.integers(0, 3)}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=5,
)


def is_exact(job: Job, constraint: Constraint) -> None:
    """Every branch's matcher, after whatever forks and rewinds, stands where a fresh one does after its tokens."""
    for branch in job.branches:
        assert branch.matcher is not None
        fresh = constraint.begin()
        for token in branch.tokens:
            if token != END:
                fresh.accept(token)
        assert not fresh.problem
        assert fresh.complete == branch.matcher.complete
        np.testing.assert_array_equal(fresh.allowed(), branch.matcher.allowed())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    schema=SCHEMAS,
    seed=st.integers(0, 99),
    spec=st.sampled_from(["greedy", "sample:temperature=1.5", "entropix", "top-n-sigma"]),
    search=st.sampled_from(SEARCHES),
)
def test_whatever_a_model_says_a_finished_text_is_valid(
    scripted: Model, schema: dict[str, Any], seed: int, spec: str, search: str | None
) -> None:
    constraint = scripted.constraint(schema)
    asked = request(spec, constraint, search, seed=seed, max_tokens=600)
    (job,) = decode(ScriptedEngine(hashed(3.0, seed)), asked)
    assert job.finish_reason == "end"
    for branch in job.branches:
        if branch.finish_reason == "end":
            jsonschema.validate(json.loads(branch.stream.text), schema)
    is_exact(job, constraint)


def test_rewinds_and_late_forks_did_happen_in_constrained_texts(scripted: Model) -> None:
    constraint = scripted.constraint(regex("[a-d]{5}(x|yy|zzz)[a-d]{5}"))
    for search, kind in [(SEARCHES[2], "branches"), (SEARCHES[4], "banned"), (SEARCHES[3], "looked_ahead")]:
        job = decode(ScriptedEngine(), request("sample", constraint, search, seed=2))[0]
        done = {"branches": len(job.branches) > 1, "banned": bool(job.trunk.banned)}
        assert done.get(kind, job.ledger.looked_ahead > 0)
        assert re.fullmatch("[a-d]{5}(x|yy|zzz)[a-d]{5}", job.stream.text)
        is_exact(job, constraint)


def test_signals_and_candidates_are_of_what_the_constraint_allows(scripted: Model) -> None:
    engine = fixed({ord("a"): 1.0, ord("b"): 0.0, ord("z"): 9.0})
    (job,) = decode(engine, request("greedy", scripted.constraint(regex("a|b"))))
    p = 1 / (1 + math.exp(-1))
    step = job.steps[0]
    assert job.stream.text == "a"
    assert step.entropy == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p), abs=1e-5)
    assert step.logprob == pytest.approx(math.log(p), abs=1e-5)
    assert [(c.token, round(c.before, 3)) for c in step.leading] == [(97, round(p, 3)), (98, round(1 - p, 3))]


def test_a_forced_token_is_certain(scripted: Model) -> None:
    (job,) = decode(ScriptedEngine(), request("entropix", scripted.constraint(regex("Grüße 🙂"))))
    assert (job.stream.text, job.finish_reason) == ("Grüße 🙂", "end")
    assert all((s.entropy, s.varentropy, s.logprob) == pytest.approx((0, 0, 0), abs=1e-20) for s in job.steps)


def test_the_end_comes_only_where_the_text_is_whole(scripted: Model) -> None:
    eager = fixed({END: 12.0, ord("7"): 1.0})
    (job,) = decode(eager, request("greedy", scripted.constraint(regex("[0-9]{3}"))))
    assert (job.stream.text, job.finish_reason, job.tokens[-1]) == ("777", "end", ord("7"))
    (job,) = decode(eager, request("greedy", scripted.constraint(regex("[0-9]+"))))
    assert (job.stream.text, job.finish_reason, job.tokens[-1]) == ("7", "end", END)
    (job,) = decode(eager, request("greedy", scripted.constraint(regex("[0-9]+")), ignore_end=True))
    assert (job.stream.text, job.finish_reason) == ("7", "end")


def test_stop_strings_and_limits_end_a_constrained_text_as_any_other(scripted: Model) -> None:
    digits = scripted.constraint(regex("[0-9]{9}"))
    model = saying("123456789", after=b"Hi")
    (job,) = decode(ScriptedEngine(model), request("greedy", digits, stop=("56",)))
    assert (job.stream.text, job.finish_reason) == ("1234", "stop")
    (job,) = decode(ScriptedEngine(model), request("greedy", digits, max_tokens=4))
    assert (job.stream.text, job.finish_reason) == ("1234", "length")
    (job,) = decode(ScriptedEngine(model), request("greedy", digits, max_tokens=9))
    assert (job.stream.text, job.finish_reason) == ("123456789", "end")


def test_nothing_is_injected_into_a_constrained_text(scripted: Model) -> None:
    flat, free = fixed({}), request("entropix", None, max_tokens=8)
    assert any(step.action == Action.INJECT for step in decode(flat, free)[0].steps)
    (job,) = decode(flat, request("entropix", scripted.constraint(regex("[a-z.]{40}"))))
    assert {step.regime.label for step in job.steps} == {"clarify"}
    assert all(step.action == Action.SAMPLE and step.temperature for step in job.steps)
    assert re.fullmatch("[a-z.]{40}", job.stream.text)


def test_a_bias_chooses_among_what_is_allowed(scripted: Model) -> None:
    engine = fixed({ord("a"): 5.0})
    letters = scripted.constraint(regex("[abc]{3}"))
    assert decode(engine, request("greedy", letters, logit_bias={98: 9.0, 122: 99.0}))[0].stream.text == "bbb"
    assert decode(engine, request("greedy", letters, logit_bias={97: -math.inf}))[0].stream.text == "bbb"


def test_where_nothing_is_possible_the_answer_ends_with_the_reason_and_no_other_is_touched(scripted: Model) -> None:
    dead = request("greedy", scripted.constraint(regex("x[ab]")), logit_bias={97: -math.inf, 98: -math.inf})
    nothing = request("greedy", None, logit_bias=dict.fromkeys(range(VOCABULARY), -math.inf))
    fine = request("greedy", None, max_tokens=6)
    jobs = decode(ScriptedEngine(), dead, fine, nothing)
    assert [(j.stream.text, j.finish_reason) for j in (jobs[0], jobs[2])] == [("x", "constraint"), ("", "constraint")]
    assert "logit_bias forbids" in jobs[0].notes[-1]
    assert "every token is forbidden" in jobs[2].notes[-1]
    assert jobs[1].tokens == decode(ScriptedEngine(), fine)[0].tokens


class Exhausted:
    """A matcher that reaches its limits after two tokens, as llguidance's can, on the way of one branch."""

    vocabulary, notes, complete, free = VOCABULARY, (), False, False

    def __init__(self, taken: tuple[int, ...] = ()) -> None:
        self.taken = taken

    def begin(self) -> Exhausted:
        return Exhausted()

    copy = begin

    @property
    def problem(self) -> str:
        return "too complex" if len(self.taken) > 1 else ""

    def allowed(self) -> Array:
        return None if self.problem else np.ones(VOCABULARY, bool)

    def accept(self, token: int) -> None:
        self.taken += (token,)

    def rewind(self, length: int) -> None:
        self.taken = self.taken[:length]


@pytest.mark.parametrize("search", [None, "vote:n=2", "lookahead:trigger=random,rate=1"])
def test_a_matcher_at_its_limits_ends_the_answer_with_a_note(search: str | None) -> None:
    (job,) = decode(ScriptedEngine(), request("sample", Exhausted(), search, max_tokens=9))
    assert job.finish_reason == "constraint"
    assert "constraint: the text cannot go on: too complex" in job.notes


def test_a_ban_gives_way_where_it_would_leave_nothing(scripted: Model) -> None:
    only = scripted.constraint(regex("ab"))
    decoder = Decoder(ScriptedEngine())
    job = decoder.submit(request("greedy", only))
    job.trunk.banned = {0: {97}, 1: {97, 98}}
    for _ in decoder.run():
        pass
    assert (job.stream.text, job.finish_reason) == ("ab", "end")


def test_a_whole_text_beats_a_likelier_one_that_was_cut_off(scripted: Model) -> None:
    (job,) = decode(ScriptedEngine(), request("sample", scripted.constraint(regex("[ab]{4}"))))
    matcher = job.trunk.matcher
    cut = Branch(job, 1, 1, matcher=matcher, finish_reason="length", score=-0.1)
    whole = Branch(job, 2, 2, matcher=matcher, finish_reason="end", score=-3.0)
    counted = count([cut, whole], Vote(), 0)
    assert counted is not None
    assert counted.winner is whole


def test_a_continuation_that_cannot_go_on_loses_every_comparison(scripted: Model) -> None:
    (job,) = decode(ScriptedEngine(), request("sample", scripted.constraint(regex("[ab]{4}"))))
    assert math.isfinite(score(job.trunk, 0, "logprob"))
    job.trunk.finish_reason = "constraint"
    assert score(job.trunk, 0, "logprob") == -math.inf


def test_tokens_that_were_hardly_a_choice_do_not_count_as_a_lack_of_confidence(scripted: Model) -> None:
    half_forced = scripted.constraint(regex("forced:[ -~]{9}"))
    (job,) = decode(ScriptedEngine(), request("sample", half_forced, "vote:n=2"))
    values = job.trunk.confidence
    assert [math.isnan(value) for value in values] == [True] * len("forced:") + [False] * 9
    free = values[-9:]
    assert trace_confidence(values, "mean") == pytest.approx(sum(free) / 9)
    assert trace_confidence(values, "lowest") == trace_confidence(free, "lowest") > 1
    assert score(job.trunk, 0, "confidence") == pytest.approx(sum(free) / 9)


def mixed(model: Model, seed: int = 5) -> list[Request]:
    schema = {"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 2, "maxItems": 3}
    asked = [None, model.constraint(schema), None, model.constraint(regex("[a-f]{12}|[0-9]{5}"))]
    return [
        request(spec, constraint, tokens=(60 + n, 61), seed=seed, max_tokens=30)
        for n, (spec, constraint) in enumerate((s, c) for s in ("entropix", "sample") for c in asked)
    ]


def test_the_same_seed_gives_the_same_text_alone_and_beside_others(scripted: Model) -> None:
    alone = [decode(ScriptedEngine(hashed(2.0)), r)[0] for r in mixed(scripted)]
    together = decode(ScriptedEngine(hashed(2.0)), *mixed(scripted))
    crowded = decode(ScriptedEngine(hashed(2.0), sequences=3, cells=70), *reversed(mixed(scripted)))
    for a, b, c in zip(alone, together, reversed(crowded), strict=True):
        assert a.tokens == b.tokens == c.tokens
        assert [s.entropy for s in a.steps] == [s.entropy for s in b.steps]


def test_unconstrained_rows_alone_are_neither_copied_nor_masked(scripted: Model, monkeypatch: Any) -> None:
    from entropix.decoding import decoder as loop

    seen: list[tuple[bool, int]] = []
    plain = loop.apply_masks

    def watched(logits: Array, rows: Any, *breaks: Any) -> Any:
        out = plain(logits, rows, *breaks)
        seen.append((out[0] is logits, len(rows)))
        return out

    monkeypatch.setattr(loop, "apply_masks", watched)
    decode(ScriptedEngine(), request("greedy", None, max_tokens=3))
    assert seen == [(True, 1)] * 3


def test_masks_are_the_same_on_every_array_library(scripted: Model) -> None:
    torch = pytest.importorskip("torch")
    asked = [
        request("greedy", scripted.constraint(regex("[a-d]x")), logit_bias={98: 2.5}),
        request("greedy", None),
        request("greedy", scripted.constraint(regex("a")), logit_bias={97: -math.inf}),
        request("greedy", scripted.constraint(regex("ab?"))),
    ]
    rows = [Job(r, injection=(), attention=False).trunk for r in asked]
    rows[0].banned, rows[3].banned = {0: {97}}, {0: {97}}
    logits = np.random.default_rng(0).normal(size=(4, VOCABULARY)).astype(np.float32)
    logits.flags.writeable = False
    wanted, impossible = apply_masks(logits, rows)
    got, same = apply_masks(torch.tensor(logits), rows)
    np.testing.assert_array_equal(wanted, got.numpy())
    assert impossible == same
    assert list(same) == [2]
    assert [set(np.flatnonzero(np.isfinite(row)).tolist()) for row in wanted[[0, 3]]] == [{98, 99, 100}, {97}]
    np.testing.assert_array_equal(wanted[1], logits[1])


def test_a_conversation_keeps_its_constraint(scripted: Model) -> None:
    chat = scripted.chat(constraint=regex("(ja|nein)[.!]"), seed=1)
    for _ in range(2):
        with chat.send("hi?") as stream:
            text = "".join(token.text for token in stream)
        assert re.fullmatch("(ja|nein)[.!]", text)
    assert [m["role"] for m in chat.messages] == ["user", "assistant"] * 2
    chat.close()


def test_a_constraint_for_another_model_is_refused(scripted: Model) -> None:
    class Other(Exhausted):
        vocabulary = 7

    with pytest.raises(ParameterError, match="another model"):
        Decoder(ScriptedEngine()).submit(request("greedy", Other()))


def test_a_grammar_is_followed_from_its_start_rule(scripted: Model) -> None:
    sums = lark('start: term (("+" | "-") term){2}\nterm: /[1-9][0-9]?/ | "(" start ")"\n')
    (job,) = decode(ScriptedEngine(), request("sample", scripted.constraint(sums), seed=3, max_tokens=500))
    assert job.finish_reason == "end"
    assert re.fullmatch(r"[0-9+()-]+", job.stream.text)
    assert isinstance(eval(job.stream.text), int)


class Prefixing(ScriptedTokenizer):
    """Begins every text with a space, as SentencePiece tokenizers do."""

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        return super().encode(" " + text, special=special, begin=begin)


def test_forced_text_is_spelled_right_by_a_tokenizer_that_changes_texts() -> None:
    model = Model(ScriptedEngine())
    model.engine.tokenizer = Prefixing()  # type: ignore[misc]
    result = model.generate("x", constraint=regex("(yes, )?größe: 🙂!"), seed=1, raw=True)
    assert re.fullmatch("(yes, )?größe: 🙂!", result.text)


PLACE = {
    "type": "object",
    "properties": {
        "größe 🙂": {"enum": ["klein", "groß"]},
        "name": {"type": "string", "maxLength": 12},
        "lengths": {"type": "array", "items": {"type": "number", "multipleOf": 0.5, "maximum": 99}, "maxItems": 3},
        "where": {
            "type": "object",
            "properties": {"country": {"type": "string", "pattern": "^[A-Z][a-zé]{1,9}$"}, "eu": {"type": "boolean"}},
            "required": ["country", "eu"],
            "additionalProperties": False,
        },
    },
    "required": ["größe 🙂", "name", "lengths", "where"],
    "additionalProperties": False,
}


def test_a_real_model_writes_nested_json_alone_and_beside_plain_text(llama_engine: Engine) -> None:
    model = Model(llama_engine)
    constraint = model.constraint(PLACE)
    options = {"seed": 4, "max_tokens": 110}
    prompt = "Describe the Danube as JSON."
    alone = model.generate(prompt, constraint=constraint, **options)
    assert alone.finish_reason == "end"
    jsonschema.validate(json.loads(alone.text), PLACE)
    assert any(s.entropy for s in alone.steps)
    assert any(s.entropy is not None and s.entropy < 1e-20 for s in alone.steps)
    asked = [model.request(prompt, constraint=c, **options) for c in (constraint, None)]
    assert decode(llama_engine, *asked)[0].tokens == list(alone.tokens)


def test_a_real_model_s_search_gives_valid_json(llama_engine: Engine) -> None:
    search = "tree:trigger=entropy,threshold=0.8,max_sequences=3+vote"
    schema = {"type": "object", "properties": PLACE["properties"], "required": ["name"], "additionalProperties": False}
    result = Model(llama_engine).generate(
        "The Danube, as JSON.", constraint=schema, seed=1, max_tokens=60, search=search
    )
    assert result.search is not None
    ended = [branch for branch in result.search.branches if branch.ended == "end"]
    assert len(result.search.branches) > 1
    assert ended
    jsonschema.validate(json.loads(result.text), schema)


def test_every_real_engine_s_vocabulary_is_read_right(real_engine: Engine) -> None:
    model = Model(real_engine)
    asked = regex('\\{"größe": "(klein|groß) 🙂"\\}')
    result = model.generate("How large? As JSON.", constraint=asked, policy="greedy", max_tokens=40)
    assert result.finish_reason == "end"
    assert json.loads(result.text)["größe"] in ("klein 🙂", "groß 🙂")
    allowed = model.constraint(regex("a")).begin().allowed()
    assert allowed is not None
    assert [model.tokenizer.piece(int(t)) for t in allowed.nonzero()[0]] == [b"a"]
