"""A model's vocabulary as llguidance wants it: made once per model, for all its constraints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from entropix.constraints.forcing import NO_FORCING, Words
from entropix.constraints.formats import with_exact_formats
from entropix.constraints.grammar import Grammar
from entropix.constraints.matcher import Compiled, GrammarMatcher
from entropix.constraints.patterns import without_patterns
from entropix.engines import Tokenizer
from entropix.errors import CapabilityError, ParameterError, PromptError

WHITESPACE = r"\x20|\n[\x20\t]{0,24}"
"""What may stand between two parts of JSON text: nothing, a space, or a line break with its indentation. Without a
bound a small model may never stop breaking lines."""

FLEXIBLE = {
    "whitespace_flexible": True,
    "whitespace_pattern": WHITESPACE,
    "item_separator": ",",
    "key_separator": ":",
}
COMPACT = {
    "whitespace_flexible": False,
    "item_separator": rf",({WHITESPACE})?",
    "key_separator": r":\x20?",
}
"""How JSON may be spaced: llguidance takes separators as regular expressions."""

KINDS = {"json_schema": "JSON schema", "regex": "regular expression", "lark": "Lark grammar"}

UNSUPPORTED = ("Unimplemented keys", "Unknown format", "oneOf constraints are not supported")
"""How llguidance's messages begin about what is a schema, but not one it can keep."""

TRIED = 4
"""Steps taken when a constraint is made, so that a grammar beyond the matcher's limits is refused and not begun."""


class Vocabulary:
    """The tokens of one model. tokenizer: any engine's; size: how many logits the model has, padding included.

    Raises CapabilityError when llguidance is not installed."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._library = _library()
        self.size = size
        self.end_tokens = tokenizer.end_tokens
        pieces = [tokenizer.piece(token) for token in range(size)]
        if not self.end_tokens:
            raise CapabilityError("constraint: this model has no end token, so no text of it could ever be complete")
        wrapped = _Wrapped(tokenizer, pieces)
        self._words = Words(pieces, self.end_tokens, wrapped)
        self._tokens = self._library.LLTokenizer(wrapped, n_vocab=size, eos_token=sorted(self.end_tokens))

    def compile(self, grammar: Grammar) -> Compiled:
        """`grammar` on this vocabulary. Raises ParameterError for what is invalid, unsupported or too large."""
        kind = KINDS[grammar.kind]
        grammar = self.kept(grammar)
        try:
            source = self._source(grammar)
        except ValueError as error:
            raise ParameterError(f"constraint: this {kind} cannot be used: {error}") from None
        limits = self._library.LLParserLimits(verbose_errors=False)
        matcher = self._library.LLMatcher(self._tokens, source, log_level=0, limits=limits)
        start = GrammarMatcher(matcher, self._words)
        self._try(start, kind)
        warnings = (*grammar.left_out, *start.warnings) if grammar.lenient else ()
        return Compiled(start, grammar, self.size, tuple(f"constraint: left out: {text}" for text in warnings))

    def kept(self, grammar: Grammar) -> Grammar:
        """`grammar`, a lenient schema without the regular expressions that llguidance does not know."""
        if grammar.kind != "json_schema" or not grammar.lenient:
            return grammar
        schema, left_out = without_patterns(json.loads(grammar.text), _problem_of)
        return replace(grammar, text=json.dumps(schema), left_out=left_out) if left_out else grammar

    def rule(self, grammar: Grammar, *, compact: bool = False) -> str:
        """The right-hand side of a Lark rule for texts of a JSON schema. compact: white space stands behind separators
        only. Raises ParameterError."""
        try:
            return self._json_rule(self.kept(grammar), COMPACT if compact else FLEXIBLE)
        except ValueError as error:
            raise ParameterError(f"constraint: this {KINDS[grammar.kind]} cannot be used: {error}") from None

    def _json_rule(self, grammar: Grammar, spacing: Mapping[str, Any]) -> str:
        # overrides: what a schema may say about itself in "x-guidance" is not for its sender to decide
        options = {"lenient": grammar.lenient, "coerce_one_of": grammar.lenient, **spacing}
        asked = json.dumps(with_exact_formats(json.loads(grammar.text)))
        schema = json.loads(self._library.LLMatcher.grammar_from_json_schema(asked, overrides=options))
        return f"%json {json.dumps(schema['grammars'][0]['json_schema'])}"

    def _source(self, grammar: Grammar) -> Any:
        """`grammar` in llguidance's own form. Raises ValueError."""
        library = self._library.LLMatcher
        if grammar.kind == "json_schema":
            text = f"start: {self._json_rule(grammar, FLEXIBLE)}"
        elif grammar.kind == "regex":
            text = json.loads(library.grammar_from_regex(grammar.text))["grammars"][0]["lark_grammar"]
        else:
            text = grammar.text
        return library.grammar_from_lark(text + NO_FORCING)

    def _try(self, start: GrammarMatcher, kind: str) -> None:
        trial = start.copy()
        for _ in range(TRIED):
            allowed = None if trial.problem else trial.allowed()
            if allowed is None:
                problem = trial.problem.partition(". Enable 'coerce_one_of'")[0]
                problem = re.sub(r"^at \d+\(\d+\): failed to compile JSON schema: ", "", problem)
                if problem.startswith(UNSUPPORTED):
                    problem += (
                        "; docs/constraints.md lists what is, and json_schema(…, lenient=True) leaves the rest out"
                    )
                raise ParameterError(f"constraint: this {kind} cannot be used: {problem}")
            tokens = [token for token in allowed.nonzero()[0][:16].tolist() if token not in self.end_tokens]
            if trial.complete or not tokens:
                break
            trial.accept(tokens[0])


@lru_cache(64)
def _problem_of(pattern: str) -> str:
    """Why llguidance cannot keep a schema's pattern, "" if it can. A tool's are asked about twice a request."""
    library = _library().LLMatcher
    asked = json.dumps({"type": "string", "pattern": pattern})
    problem: str = library.validate_grammar(library.grammar_from_json_schema(asked))
    return problem.rpartition("\n")[2].removeprefix("error: ").partition("; ")[0]


class _Wrapped:
    """The tokenizer as llguidance's LLTokenizer asks for it; the names are llguidance's. It tokenises the texts that
    a grammar forces, so that the model reads them as it would have written them."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, pieces: list[bytes]) -> None:
        self._encode: Callable[[str], list[int]] = tokenizer.encode
        self._pieces = pieces
        self.eos_token_id = min(tokenizer.end_tokens)
        # tokens that add no text are markup: a grammar can only ask for them by name
        self.special_token_ids = [token for token, piece in enumerate(pieces) if not piece]
        self.tokens = [piece or tokenizer.label(token).encode() for token, piece in enumerate(pieces)]

    def __call__(self, text: str) -> list[int]:
        data = text.encode()
        try:
            tokens = self._encode(text)
        except PromptError:  # a run of characters that this tokenizer does not take
            return self._longest(data)
        if b"".join(self._pieces[token] for token in tokens) == data:
            return tokens
        return self._longest(data)

    def _longest(self, data: bytes) -> list[int]:
        """For tokenizers that refuse a text or change it, such as by a space before it: the longest tokens first."""
        tokens, at = [], 0
        while at < len(data):
            ends = range(min(len(data), at + self._widest), at, -1)
            end = next((end for end in ends if data[at:end] in self._ids), None)
            if end is None:
                break
            tokens.append(self._ids[data[at:end]])
            at = end
        return tokens

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        return {piece: token for token, piece in reversed(list(enumerate(self._pieces))) if piece}

    @cached_property
    def _widest(self) -> int:
        return max(map(len, self._ids))


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        raise CapabilityError(
            "constraint: the package llguidance is not installed; pip install 'entropix-llm[constrained]'"
        ) from None
    return llguidance
