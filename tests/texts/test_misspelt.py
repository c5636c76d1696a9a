"""Which words are taken for a misspelt one of the vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.texts.misspelt import _distance, is_misspelt

VOCABULARY = "fever not:cough headache rash vomiting . 38.5"


@pytest.mark.parametrize("word", ["feverr", "fevr", "couhg", "hedache", "heedacke", "vommitting", "rashh"])
def test_a_slip_is_borne_and_two_in_a_long_word(word):
    assert is_misspelt(word, VOCABULARY)


@pytest.mark.parametrize("word", ["never", "rah", "fixed", "forever", "coughing", "council", "hedace"])
def test_another_word_is_not_taken_for_it(word):
    assert is_misspelt(word, VOCABULARY) == (word in ("never",))  # one letter apart: no spelling tells them


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_that_of_the_slips(one, other):
    found = _distance(one, other)
    assert found == _distance(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))
    swapped = one[:1] + one[2:3] + one[1:2] + one[3:]
    assert _distance(one, swapped) <= 1
