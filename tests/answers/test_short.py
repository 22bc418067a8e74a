import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entropix.answers.forms import compared, normalised
from entropix.answers.short import MOST_WORDS, matches, short

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


MORE = [
    ("The capital of France is Paris.", "What is the capital of France?", "paris"),
    ("It was Paris", "Where was the treaty signed?", "paris"),
    ("Paris, France", "Where was the treaty signed?", "paris france"),
    ("I believe it's **Paris**", "What is the capital of France?", "paris"),
    ("I think it is Paris.", "What is the capital of France?", "paris"),
    ("It's Paris.", "What is the capital of France?", "paris"),
    ("The answer is **Paris**.", "What is the capital of France?", "paris"),
    ("**Paris** is the capital of France.", "What is the capital of France?", "paris"),
    ("Paris 🇫🇷", "What is the capital of France?", "paris"),
    ("What is the capital of France? Paris.", "What is the capital of France?", "paris"),
    ("Q: What is the capital of France?\nA: Paris", "What is the capital of France?", "paris"),
    ("Question: What is the capital of France?\nAnswer: Paris", "What is the capital of France?", "paris"),
    ("Sure! The capital of France is Paris.", "What is the capital of France?", "paris"),
    ("Great question! The capital of France is Paris.", "What is the capital of France?", "paris"),
    ("Of course. It is Paris.", "What is the capital of France?", "paris"),
    ("<think>France... Paris or Lyon?</think>Paris", "What is the capital of France?", "paris"),
    ('"Paris"', "What is the capital of France?", "paris"),
    ("A: Paris", "What is the capital of France?", "paris"),
    ("Ans: Paris", "What is the capital of France?", "paris"),
    ("As of my last update, the capital of France is Paris.", "What is the capital of France?", "paris"),
    ("According to most sources, it is Paris.", "What is the capital of France?", "paris"),
    ("I'm not sure, but I think it's Paris.", "What is the capital of France?", "paris"),
    ("I'm not entirely certain, but it might be Lyon.", "What is the capital of France?", "lyon"),
    ("July 20, 1969", "When did humans first walk on the moon?", "july 20 1969"),
    ("20 July 1969", "When did humans first walk on the moon?", "july 20 1969"),
    ("July 20th, 1969", "When did humans first walk on the moon?", "july 20 1969"),
    ("On July 20, 1969.", "When did humans first walk on the moon?", "july 20 1969"),
    ("the 20th of July 1969", "When did humans first walk on the moon?", "july 20 1969"),
    ("1969-07-20", "When did humans first walk on the moon?", "july 20 1969"),
    (
        "Humans first walked on the moon on July 20, 1969, during Apollo 11.",
        "When did humans first walk on the moon?",
        "july 20 1969",
    ),
    ("It was in 1969.", "When did humans first walk on the moon?", "1969"),
    ("In the year 1969", "When did humans first walk on the moon?", "1969"),
    ("1969", "In what year did humans first walk on the moon?", "1969"),
    ("The first walk on the moon took place in July 1969.", "When did humans first walk on the moon?", "july 1969"),
    ("It happened in 1969, not in 1968.", "When did humans first walk on the moon?", "1969"),
    ("It ran from 1914 to 1918.", "When did the war take place?", "1914 to 1918"),
    ("1914–1918", "When did the war take place?", "1914 to 1918"),
    ("The 1960s", "When was the club popular?", "1960s"),
    ("In the 18th century", "When was the bridge built?", "18th century"),
    ("44 BC", "When did Caesar die?", "44 bc"),
    ("Caesar died in 44 BC.", "When did Caesar die?", "44 bc"),
    ("On Monday", "When is the meeting?", "monday"),
    ("three", "How many moons does the planet have?", "3"),
    ("3", "How many moons does the planet have?", "3"),
    ("It has three moons.", "How many moons does the planet have?", "3"),
    ("Twenty-seven", "How many books are in it?", "27"),
    ("There are 27 books.", "How many books are in it?", "27"),
    ("1,234", "How many people live there?", "1234"),
    ("Jane Austen", "Who wrote Emma?", "jane austen"),
    ("Emma was written by Jane Austen.", "Who wrote Emma?", "jane austen"),
    ("Jane Austen wrote Emma in 1815.", "Who wrote Emma?", "jane austen"),
    ("The author of Emma is Jane Austen.", "Who wrote Emma?", "jane austen"),
    ("Jane Austen, the English novelist, wrote it.", "Who wrote Emma?", "jane austen"),
    ("It was written by Jane Austen", "Who wrote Emma?", "jane austen"),
    ("The novel was penned by Jane Austen.", "Who wrote Emma?", "jane austen"),
    ("Emma, the 1815 novel, was written by Jane Austen.", "Who wrote Emma?", "jane austen"),
    ("Jane Austen (1775–1817)", "Who wrote Emma?", "jane austen"),
    ("Jane Austen is the author of Emma.", "Who wrote Emma?", "jane austen"),
    ("By Jane Austen.", "Who wrote Emma?", "jane austen"),
    ("Pierre and Marie Curie", "Who discovered radium?", "pierre and marie curie"),
    ("Marie Curie and Pierre Curie", "Who discovered radium?", "marie curie and pierre curie"),
    (
        "Radium was discovered by Marie Curie and Pierre Curie.",
        "Who discovered radium?",
        "marie curie and pierre curie",
    ),
    ("1. Marie Curie\n2. Pierre Curie", "Who discovered radium?", "marie curie and pierre curie"),
    ("- Marie Curie\n- Pierre Curie", "Who discovered radium?", "marie curie and pierre curie"),
    ("Marie Curie, Pierre Curie", "Who discovered radium?", "marie curie pierre curie"),
    ("Dr. Martin Luther King Jr.", "Who gave the speech?", "dr martin luther king jr"),
    ("J. R. R. Tolkien", "Who wrote The Hobbit?", "j r r tolkien"),
    ("The Hobbit was written by J.R.R. Tolkien.", "Who wrote The Hobbit?", "jrr tolkien"),
    ("The Eiffel Tower is located in Paris, France.", "Where is the Eiffel Tower?", "paris france"),
    ("It's in Paris.", "Where is the Eiffel Tower?", "paris"),
    ("In Paris", "Where is the Eiffel Tower?", "paris"),
    ("The Eiffel Tower stands in Paris.", "Where is the Eiffel Tower?", "paris"),
    ("You can find it in Paris.", "Where is the Eiffel Tower?", "paris"),
    (
        "The largest planet in the solar system is Jupiter.",
        "Which planet is the largest in the solar system?",
        "jupiter",
    ),
    (
        "Jupiter is the largest planet in our solar system.",
        "Which planet is the largest in the solar system?",
        "jupiter",
    ),
    ("The chemical symbol for gold is Au.", "What is the chemical symbol for gold?", "au"),
    ("Au (from Latin aurum)", "What is the chemical symbol for gold?", "au"),
    ('The symbol is "Au".', "What is the chemical symbol for gold?", "au"),
    ("Gold's chemical symbol is Au.", "What is the chemical symbol for gold?", "au"),
    ("The currency of Japan is the yen.", "What is the currency of Japan?", "yen"),
    ("Japan uses the yen.", "What is the currency of Japan?", "yen"),
    ("The Japanese yen", "What is the currency of Japan?", "japanese yen"),
    ("Yen (¥)", "What is the currency of Japan?", "yen"),
    ("Yes", "Is Paris in France?", "yes"),
    ("Yes, Paris is in France.", "Is Paris in France?", "yes"),
    ("No, it isn't.", "Is Lyon in Spain?", "no"),
    ("No.", "Is Lyon in Spain?", "no"),
    ("The answer is not Lyon but Paris.", "What is the capital of France?", "paris"),
    ("Not Lyon, but Paris.", "What is the capital of France?", "paris"),
    ("Lyon. Wait, no, it's Paris.", "What is the capital of France?", "paris"),
    ("The capital is Paris\n\nNote: it is also the largest city.", "What is the capital of France?", "paris"),
    ("Answer: Paris\nExplanation: It has been so since 987.", "What is the capital of France?", "paris"),
    ("Final Answer: Paris", "What is the capital of France?", "paris"),
    ("The final answer is: Paris", "What is the capital of France?", "paris"),
    ("<answer>Paris</answer>", "What is the capital of France?", "paris"),
    ("\\boxed{Paris}", "What is the capital of France?", "paris"),
    ("\\boxed{\\text{Paris}}", "What is the capital of France?", "paris"),
    ('{"answer": "Paris"}', "What is the capital of France?", "paris"),
    ("New York City, also known as NYC", "What is the largest US city?", "new york city"),
    ("The Beatles", "Which band recorded it?", "beatles"),
    ("It was recorded by The Beatles in 1965.", "Which band recorded it?", "beatles"),
    ("The band is called The Beatles.", "Which band recorded it?", "beatles"),
    ("The band that recorded it was The Beatles.", "Which band recorded it?", "beatles"),
    ("Mount Everest, at 8,849 metres, is the highest mountain.", "What is the highest mountain?", "mount everest"),
    ("At 8,849 metres, Mount Everest is the highest mountain.", "What is the highest mountain?", "mount everest"),
    ("Hauptstadt ist Paris", "Was ist die Hauptstadt von Frankreich?", "paris"),
    ("La capital de Francia es París.", "¿Cuál es la capital de Francia?", "parís"),
    ("La capitale de la France est Paris.", "Quelle est la capitale de la France ?", "paris"),
    ("法国的首都是巴黎。", "法国的首都是哪里？", "巴黎"),
    ("巴黎", "法国的首都是哪里？", "巴黎"),
    ("答案是巴黎。", "法国的首都是哪里？", "巴黎"),
    ("Paris, France", "What is the capital of France?", "paris"),
    ("Katy Perry, 2016", "Who played in 2016?", "katy perry"),
    ("Tomb of the Unknown Soldier", "What is it called?", "tomb of unknown soldier"),
    (
        "The Great Gatsby was written by F. Scott Fitzgerald in 1925.",
        "Who wrote The Great Gatsby?",
        "f scott fitzgerald",
    ),
    ("Mercury is the planet closest to the Sun.", "Which planet is closest to the sun?", "mercury"),
    ("The planet closest to the Sun is Mercury.", "Which planet is closest to the sun?", "mercury"),
    ("The war ended on 2 September 1945.", "When did the war end?", "september 2 1945"),
    ("It ended in September 1945, when Japan surrendered.", "When did the war end?", "september 1945"),
    (
        "Usain Bolt holds the world record in the 100 metres.",
        "Who holds the world record in the 100 metres?",
        "usain bolt",
    ),
    ("The record is held by Usain Bolt of Jamaica.", "Who holds the record?", "usain bolt of jamaica"),
    ("It is held by Usain Bolt.", "Who holds the record?", "usain bolt"),
    (
        "The Amazon River flows through Brazil, Peru and Colombia.",
        "Which countries does the Amazon flow through?",
        "brazil peru and colombia",
    ),
    ("The longest river is the Nile River.", "What is the longest river?", "nile river"),
    ("The Nile, which is 6,650 km long.", "What is the longest river?", "nile"),
    ("The Mona Lisa is in the Louvre in Paris.", "Where is the Mona Lisa?", "louvre in paris"),
    ("The Mona Lisa hangs in the Louvre.", "Where is the Mona Lisa?", "louvre"),
    ("It can be found at the Louvre, Paris.", "Where is the Mona Lisa?", "louvre paris"),
    ("The speed of light is approximately 299,792 km/s.", "What is the speed of light?", "299792 kms"),
    ("Alexander Fleming discovered penicillin in 1928.", "Who discovered penicillin?", "alexander fleming"),
    ("Penicillin was discovered in 1928 by Alexander Fleming.", "Who discovered penicillin?", "alexander fleming"),
    (
        "Neil Armstrong was the first person to walk on the Moon.",
        "Who was the first person to walk on the moon?",
        "neil armstrong",
    ),
    (
        "The first person to walk on the Moon was Neil Armstrong.",
        "Who was the first person to walk on the moon?",
        "neil armstrong",
    ),
    (
        "The first person was Neil Armstrong, followed by Buzz Aldrin.",
        "Who was the first person to walk on the moon?",
        "neil armstrong",
    ),
    ("Many think Sydney, but it's Canberra.", "What is the capital of Australia?", "canberra"),
    (
        "Contrary to popular belief, the capital of Australia is Canberra.",
        "What is the capital of Australia?",
        "canberra",
    ),
    ("The capital city of Australia is Canberra (ACT).", "What is the capital of Australia?", "canberra"),
    ("Hi there! The answer you're looking for is Canberra.", "What is the capital of Australia?", "canberra"),
    ("The answer to your question is Canberra.", "What is the capital of Australia?", "canberra"),
    ("My answer: Canberra", "What is the capital of Australia?", "canberra"),
    ("Answer - Canberra", "What is the capital of Australia?", "canberra"),
    ("Canberra: the capital since 1913", "What is the capital of Australia?", "canberra"),
    ("Canberra; Sydney is larger", "What is the capital of Australia?", "canberra"),
    ("Canberra is the capital.", "What is the capital of Australia?", "canberra"),
    ("**Canberra**\n\nExplanation: ...", "What is the capital of Australia?", "canberra"),
    ("Capital: Canberra", "What is the capital of Australia?", "canberra"),
    ("Name: Canberra", "What is the capital of Australia?", "canberra"),
    ("An adult has 206 bones.", "How many bones does an adult have?", "206"),
    ("There are 206 bones in the adult human body.", "How many bones does an adult have?", "206"),
    ("Two hundred and six", "How many bones does an adult have?", "206"),
    ("The formula of water is H₂O.", "What is the formula of water?", "h2o"),
    ("The formula is H2O, meaning two hydrogen atoms.", "What is the formula of water?", "h2o"),
    ("It was Leonardo da Vinci who painted it.", "Who painted the Mona Lisa?", "leonardo da vinci"),
    (
        "Leonardo da Vinci painted the Mona Lisa between 1503 and 1506.",
        "Who painted the Mona Lisa?",
        "leonardo da vinci",
    ),
    ("The painter was Leonardo da Vinci.", "Who painted the Mona Lisa?", "leonardo da vinci"),
    ("Painted by Leonardo da Vinci.", "Who painted the Mona Lisa?", "leonardo da vinci"),
    ("Leonardo da Vinci, an Italian artist.", "Who painted the Mona Lisa?", "leonardo da vinci"),
    (
        "Leonardo da Vinci (1452-1519), an Italian polymath, painted it.",
        "Who painted the Mona Lisa?",
        "leonardo da vinci",
    ),
    ("The Mona Lisa is a painting by Leonardo da Vinci.", "Who painted the Mona Lisa?", "leonardo da vinci"),
    ("The Berlin Wall fell on November 9, 1989.", "When did the Berlin Wall fall?", "november 9 1989"),
    ("on the night of 9 November 1989", "When did the Berlin Wall fall?", "november 9 1989"),
    ("In the late 1980s", "When did the Berlin Wall fall?", "late 1980s"),
    ("Tokyo is the capital and largest city of Japan.", "What is the capital of Japan?", "tokyo"),
    ("Japan's capital is Tokyo.", "What is the capital of Japan?", "tokyo"),
    ("Why, Tokyo of course!", "What is the capital of Japan?", "tokyo"),
    ("George Orwell, whose real name was Eric Blair", "Who wrote 1984?", "george orwell"),
    ("1984 was written by George Orwell.", "Who wrote 1984?", "george orwell"),
    ("George Orwell wrote 1984.", "Who wrote 1984?", "george orwell"),
    ("The book 1984 is by George Orwell", "Who wrote 1984?", "george orwell"),
    ("There are seven continents.", "How many continents are there?", "7"),
    ("About 8 billion people", "How many people live on Earth?", "8000000000"),
    ("The largest animal is the blue whale, which can reach 30 m.", "What is the largest animal?", "blue whale"),
    ("Blue whales are the largest animals.", "What is the largest animal?", "blue whales"),
    ("The blue whale is the largest animal on Earth.", "What is the largest animal?", "blue whale"),
    ("It's not Sydney, it's Canberra.", "What is the capital of Australia?", "canberra"),
    ("Canberra - it was chosen in 1908.", "What is the capital of Australia?", "canberra"),
    (
        'For Hungary, the three-letter code of the currency is "HUF".',
        "What is the three-letter code of the currency of Hungary?",
        "huf",
    ),
    ("500 million", "How many people live there?", "500000000"),
    ("About 2.5 billion people", "How many people speak it?", "2500000000"),
    ("500 milligrams", "How many milligrams?", "500"),
]

NO_ANSWERS = [
    "I don't know",
    "I don't know.",
    "I do not know the answer to that.",
    "I'm sorry, but I don't have that information.",
    "I'm not sure.",
    "Sorry, I can't help with that.",
    "I have no idea.",
    "No idea.",
    "Unknown",
    "N/A",
    "None",
    "I am unable to answer that.",
    "There is no information about this person.",
    "It is not known who did it.",
    "It's unclear.",
    "I cannot determine who wrote it.",
    "As an AI language model, I don't have access to real-time data.",
    "I couldn't find any information on that.",
    "I'm unable to verify that.",
    "I apologize, but I don't have enough context.",
    "Could you please clarify your question?",
    "No one knows.",
    "It is impossible to say.",
    "I'd need more information.",
    "I do not have personal opinions.",
    "Nobody knows for sure.",
    "The question is ambiguous.",
    "Not enough information.",
    "I'm afraid I don't know that one.",
    "Can't say.",
    "This information is not available.",
    "?",
    "I'm sorry, but I don't know who that is.",
    "I don't know the exact date.",
    "There isn't enough information.",
    "I am not aware of any such person.",
    "It depends.",
    "I was unable to find an answer.",
    "Not specified in the text.",
    "The passage does not say.",
    "The text doesn't mention it.",
    "There is no such person.",
    "idk",
    "I'm an AI and cannot know that.",
    "Unfortunately, I can't answer.",
    "I don't think there is one.",
]

SAME = [
    (
        "20 July 1969",
        "July 20, 1969",
        "July 20th 1969",
        "the 20th of July, 1969",
        "Sunday, July 20, 1969",
        "1969-07-20",
    ),
    ("July 1969", "Jul. 1969", "July of 1969"),
    ("1914–1918", "1914 to 1918", "from 1914 to 1918", "between 1914 and 1918"),
    ("27", "twenty-seven", "Twenty seven"),
    ("Simon & Garfunkel", "simon and garfunkel"),
    ("the At-Symbol!", "AtSymbol"),
    ("1.5 million", "1,500,000", "1500000", "1500 thousand", "$1.5 million"),
    ("2.50", "2.5", "$2.50"),
]

APART = [
    "July 20, 1969",
    "July 1969",
    "1969",
    "July 20",
    "20 July 1970",
    "June 20, 1969",
    "1914 to 1918",
    "27",
    "7",
    "one of them",
    "1.5 million",
    "15 million",
    "1.5",
    "15",
]


@pytest.mark.parametrize(("text", "question", "answer"), TEXTS + MORE)
def test_a_short_answer_is_taken_out_of_its_sentence(text, question, answer):
    assert short(text, question) == answer


@pytest.mark.parametrize(
    "text", ["", "  \n", "...", "I don't know.", "I'm not sure about that.", "As an AI, I cannot say.", "word " * 40]
)
def test_texts_that_answer_nothing_shortly_have_no_answer(text):
    assert short(text) is None


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_a_refusal_is_no_answer(text):
    assert short(text, "Who was it?") is None


@pytest.mark.parametrize("forms", SAME, ids=lambda forms: forms[0])
def test_dates_years_and_numbers_have_one_form_each(forms):
    assert len({compared(form) for form in forms}) == 1
    assert all(matches(compared(one), [other]) for one in forms for other in forms)


def test_what_says_something_else_keeps_its_own_form():
    assert len({compared(form) for form in APART}) == len(APART)


def test_an_alias_matches_whatever_its_case_articles_and_punctuation():
    assert matches("the At-Symbol!", ["commercial at", "AtSymbol"])
    assert not matches("at symbols", ["at symbol"])
    assert not matches(None, ["at symbol"])


@example("c!\u0327")
@example("a!\u0301 the")
@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


@example("The Three")
@example("July 20th, 1969")
@example("1000000000000.1")
@example("999,999,999,999,999.99999999999999999999 trillion")
@given(
    st.one_of(st.text(), st.from_regex(r"\$?[0-9]{1,12}(\.[0-9]{1,20})?( (million|hundred|trillion))?", fullmatch=True))
)
def test_the_form_in_which_an_answer_is_compared_is_its_own(text):
    assert compared(compared(text)) == compared(text)


@given(st.text(), st.text(max_size=60))
def test_any_text_gives_a_normalised_answer_of_bounded_length_or_none(text, question):
    answer = short(text, question)
    assert answer is None or (answer == compared(answer) and 1 <= len(answer.split()) <= MOST_WORDS)
