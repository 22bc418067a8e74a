"""What an answer's text must be: a JSON schema, a regular expression or a grammar, kept token by token."""

from entropix.constraints.grammar import Grammar, json_schema, lark, make_grammar, regex
from entropix.constraints.vocabulary import Vocabulary

__all__ = ["Grammar", "Vocabulary", "json_schema", "lark", "make_grammar", "regex"]
