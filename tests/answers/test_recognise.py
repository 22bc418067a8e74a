import pytest

from entropix.answers.recognise import recognise

WORKED = "He has 3 + 4 = 7 apples. The answer is 7."
CODE = "```python\ndef add(a, b):\n    return a + b\n```"
CASES = [
    ("How many apples are left?", [WORKED], "number"),
    ("What is 17 * 23?", ["17 * 23 = 391", "391"], "number"),
    ("She spends $15 of her $60. What does she have left?", ["She has $45 left."], "number"),
    ("Jesse has 10 square feet and 2 feet. What is the length?", ["The length is 5 feet."], "number"),
    ("Compute 2+2.", ["four"], "number"),
    ("Solve x^2 = 4.", ["So \\boxed{2}."], "boxed"),
    ("Which is larger?\nA. the sun\nB. the moon", ["A. The sun is larger.", "The answer is A."], "choice"),
    ("Which one: (A) red (B) blue", ["(B)"], "choice"),
    ("Which is larger?\nA. the sun\nB. the moon", ["Neither, really."], "none"),
    ("Which is larger? A. 0.9 B. 0.11", ["The answer is A.", "A. 0.9"], "choice"),
    ("Which is larger? A. 0.9 B. 0.11", ["0.9 is larger."], "number"),
    ("Who was A. B. Paterson?", ["A."], "none"),
    ("A train goes from A. It ends in B. How many hours does it take?", [WORKED], "number"),
    ("Write a Python function that adds two numbers.", [CODE], "code"),
    ("Who wrote Hamlet?", ["William Shakespeare", "Hamlet was written by William Shakespeare."], "short"),
    ("when did the eagles win last super bowl", ["2017", "In 2018."], "short"),
    ("Name a river.", ["The Nile."], "short"),
    ("Why is the sky blue?", ["Because of scattering."], "none"),
    ("Write a poem about rain.", ["Rain falls."], "none"),
    ("Tell me 3 facts about the 7 seas.", ["1. They are blue."], "none"),
    ("What is love?", ["Love is a very long story. " * 30], "none"),
    ("", ["Hello!"], "short"),
]


@pytest.mark.parametrize(("question", "texts", "kind"), CASES)
def test_the_kind_of_answer_is_recognised(question, texts, kind):
    assert recognise(question, texts).kind == kind


def test_the_choice_is_stated_in_words():
    assert recognise("How many?", ["The answer is 7."]).why == "the question asks for a number"


def test_the_majority_of_the_texts_decides_and_not_their_order():
    texts = ["7", "The answer is 7.", "I cannot say."]
    kinds = {recognise("How many?", order).kind for order in (texts, texts[::-1], [texts[2], texts[0], texts[1]])}
    assert kinds == {"number"}
    assert recognise("How many?", ["7", "none at all", "some"]).kind != "number"
