from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.texts.read import clean
from galenic.texts.tokens import MARKS, NOT, PIECES, counted, is_word, pieces, plain, split

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=20)


def texts(given, negated=()):
    tokens = split(given)
    return [token.text for token in counted(tokens, [token.text in negated for token in tokens])]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("I don't have 38.5 degrees", ["i", "don't", "have", "38.5", "degrees"]),
        ("Red, itchy; scaly.", ["red", "itchy", ".", "scaly", "."]),
        ("non-itchy follow-up", ["non", "itchy", "follow", "up"]),
        ("fever - none", ["fever", "none"]),
        ("pain (left)", ["pain", "left"]),
        ("w/o rash and/or cough", ["w/o", "rash", "and", "or", "cough"]),
        ("B12, 1,000 mg, 12b", ["b12", "1,000", "mg", "12", "b"]),
        ("really?!... \n yes", ["really", ".", "yes"]),
        ("• rash\n• cough", ["rash", ".", "cough"]),
        ("...", []),
        ("Übelkeit Ödem naïve", ["übelkeit", "ödem", "naïve"]),
        ("'tis rock'n'roll it's'", ["tis", "rock'n'roll", "it's"]),
    ],
)
def test_words_numbers_and_ends_of_sentences(given, expected):
    assert texts(given) == expected


def test_a_negated_word_is_a_token_of_its_own():
    assert texts("no fever, a rash", negated={"fever"}) == ["no", "not:fever", "a", "rash"]
    assert plain("not:fever") == plain("fever") == "fever"
    assert is_word("not:fever")
    assert not is_word("38.5")
    assert not is_word(".")


@given(st.text(max_size=200))
def test_each_token_stands_where_it_says(given):
    text = clean(given)
    if text is None:
        return
    tokens = split(text.text)
    ends = 0
    for token in tokens:
        assert ends <= token.start < token.end <= len(text.text)
        ends = token.end
        own = text.text[token.start : token.end].lower()
        assert token.text == own or (token.text == "-" and set(own) == {"-"})
        assert token.is_mark == (token.text in MARKS)
        assert " " not in token.text
        assert ":" not in token.text or token.is_mark
    done = counted(tokens, [False] * len(tokens))
    assert [token.start for token in done] == sorted(token.start for token in done)


@given(WORDS)
def test_pieces_are_few_numbers_that_never_change(word):
    own = pieces(word)
    assert 1 <= len(own) <= PIECES
    assert list(own) == sorted(set(own))
    assert own == pieces.__wrapped__(word)


def test_pieces_are_known_by_the_hash_of_their_letters():
    """Another hash would make the weights of a kept model mean something else."""
    grams = ["<ill", "<ill>", "<il", "ill>", "ill", "ll>"]
    assert pieces("ill") == tuple(sorted(crc32(gram.encode()) for gram in grams))


@pytest.mark.parametrize(
    ("word", "misspelt"), [("headache", "headeache"), ("vomiting", "vomitting"), ("diarrhoea", "diarrhoeia")]
)
def test_a_misspelt_word_shares_its_pieces_and_another_does_not(word, misspelt):
    own, near, far = (set(pieces(one)) for one in (word, misspelt, "swelling"))
    assert len(own & near) >= 0.3 * len(own)
    assert len(own & far) <= 2


def test_a_negated_word_shares_no_piece_with_the_word():
    assert not set(pieces("fever")) & set(pieces(NOT + "fever"))
    assert pieces("38.5") == pieces(".") == ()
