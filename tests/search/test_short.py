import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entropix.search.short import MOST_WORDS, matches, normalised, short

TEXTS = [
    ("2017", "", "2017"),
    ("Paris", "", "paris"),
    ("**Paris**.", "", "paris"),
    ("The Netherlands", "", "netherlands"),
    ("- Mercury", "", "mercury"),
    ("1. Mercury", "", "mercury"),
    ("U.S. Supreme Court", "", "us supreme court"),
    ("北京", "", "北京"),
    ("Beijing (北京)", "", "beijing"),
    ("Answer: The Beatles", "", "beatles"),
    ("Final answer: 42", "", "42"),
    ("The answer is R. H. Thomson.", "", "r h thomson"),
    ("Barack Obama (born 1961)", "who was the 44th president", "barack obama"),
    ("On January 25, 2002.", "when did it happen", "january 25 2002"),
    ("The Eagles won the Super Bowl in 2015.", "when did the eagles win last super bowl", "2015"),
    ("Hamlet was written by William Shakespeare.", "who wrote hamlet", "william shakespeare"),
    ("William Shakespeare wrote Hamlet.", "Who wrote Hamlet?", "william shakespeare"),
    ("The capital of France is Paris.", "what is the capital of france", "paris"),
    ("Paris is the capital of France.", "what is the capital of france", "paris"),
    ("Paris\n\nParis is the capital of France and its largest city.", "", "paris"),
    ("Mount Everest is the highest mountain in the world.", "What is the highest mountain?", "mount everest"),
    ("It is located in Madhya Pradesh, which is a state in India.", "which state is central", "madhya pradesh"),
    ("The maximum data rate is 54 Mbit/s.", "what is the maximum data rate of 802.11a", "54 mbits"),
]


@pytest.mark.parametrize(("text", "question", "answer"), TEXTS)
def test_a_short_answer_is_taken_out_of_its_sentence(text, question, answer):
    assert short(text, question) == answer


@pytest.mark.parametrize(
    "text", ["", "  \n", "...", "I don't know.", "I'm not sure about that.", "As an AI, I cannot say.", "word " * 40]
)
def test_texts_that_answer_nothing_shortly_have_no_answer(text):
    assert short(text) is None


def test_an_alias_matches_whatever_its_case_articles_and_punctuation():
    assert matches("the At-Symbol!", ["commercial at", "AtSymbol"])
    assert not matches("at symbols", ["at symbol"])
    assert not matches(None, ["at symbol"])


@example("c!\u0327")
@example("a!\u0301 the")
@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(), st.text(max_size=60))
def test_any_text_gives_a_normalised_answer_of_bounded_length_or_none(text, question):
    answer = short(text, question)
    assert answer is None or (answer == normalised(answer) and 1 <= len(answer.split()) <= MOST_WORDS)
