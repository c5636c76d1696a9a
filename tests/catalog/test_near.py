"""Families of texts that are nearly the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from galenic.catalog.near import families, words

TEXTS = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=12)


def test_marks_blanks_and_capitals_make_no_other_text():
    assert words("I have a  FEVER, and\u00a0chills!") == words("i have a fever and chills") != words("chills")


def test_near_texts_are_one_family_also_by_a_third():
    texts = ["red itchy rash arm", "high fever", "red itchy rash leg", "red dry rash leg", "High fever!"]
    assert families(texts) == [0, 1, 0, 0, 1]
    assert families(texts, 0.7) == [0, 1, 2, 3, 1]
    assert families(texts, 0.01) == [0, 1, 0, 0, 1]


@given(TEXTS, st.sampled_from([0.3, 0.5, 0.6, 1.0]))
def test_families_part_what_is_not_alike_and_join_what_is(texts, alike):
    """Against a second way: growing each family until nobody is added."""
    sets = [set(text.split()) for text in texts]
    found = families(texts, alike)
    for start in range(len(texts)):
        own, before = {start}, set()
        while own != before:
            before = set(own)
            own |= {
                at for at in range(len(texts)) for one in before
                if len(sets[at] & sets[one]) >= alike * len(sets[at] | sets[one]) - 1e-6
            }  # fmt: skip
        assert found[start] == min(own)
