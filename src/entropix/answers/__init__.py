"""What a text answers: numbers, choices, boxes, code and short facts, in one form each, and where they stand.

Reads texts only, and knows no model; docs/effort.md says what is recognised."""

from entropix.answers.extractors import EXTRACTORS, Extractor, extractor
from entropix.answers.recognise import OPEN, Recogniser, is_open, recognise

__all__ = ["EXTRACTORS", "OPEN", "Extractor", "Recogniser", "extractor", "is_open", "recognise"]
