import itertools
import json
from collections import Counter
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from galenic.texts import counts

CASES = st.lists(st.sets(st.sampled_from("abcdefghijkl"), max_size=6), min_size=1, max_size=30)


def merged(cases, most=counts.MOST):
    return reduce(lambda one, other: counts.merge(one, other, most), map(counts.of, cases))


@given(CASES)
def test_under_the_bound_they_are_exact(cases):
    found = merged(cases)
    true = Counter(token for case in cases for token in case)
    assert found == {"words": dict(true), "total": true.total(), "under": 0}
    assert json.loads(json.dumps(found)) == found


@given(CASES, st.integers(1, 8))
def test_over_the_bound_they_lose_as_they_say(cases, most):
    """Kept counts are too small by `under` at most, which is at most total / (most + 1); the frequent are kept."""
    found = merged(cases, most)
    true = Counter(token for case in cases for token in case)
    assert len(found["words"]) <= max(most, max(map(len, cases)) if len(cases) == 1 else most)
    assert found["total"] == true.total()
    assert found["under"] <= found["total"] / (most + 1)
    for token, count in found["words"].items():
        assert 0 < count <= true[token] <= count + found["under"]
    for token, count in true.items():
        if count > found["under"] and len(cases) > 1:
            assert token in found["words"]


@given(CASES, CASES, st.integers(1, 8))
def test_two_halves_keep_the_bound_too(left, right, most):
    found = counts.merge(merged(left, most), merged(right, most), most)
    true = Counter(token for case in [*left, *right] for token in case)
    assert all(count <= true[token] <= count + found["under"] for token, count in found["words"].items())
    if len(left) > 1 and len(right) > 1:
        assert found["under"] <= found["total"] / (most + 1)


def test_merging_leaves_its_parts_and_does_not_see_their_order():
    parts = [counts.of("ab"), counts.of("bc"), counts.of([])]
    before = json.dumps(parts)
    found = [reduce(counts.merge, order) for order in itertools.permutations(parts)]
    assert all(one == {"words": {"a": 1, "b": 2, "c": 1}, "total": 4, "under": 0} for one in found)
    assert json.dumps(parts) == before


def test_a_token_counts_once_a_case_and_one_case_is_bounded():
    assert counts.of(["b", "a", "b"]) == {"words": {"a": 1, "b": 1}, "total": 2, "under": 0}
    many = counts.of(str(number) for number in range(counts.MOST + 5))
    assert len(many["words"]) <= counts.MOST
    assert (many["total"], many["under"]) == (counts.MOST + 5, 1)


def test_the_rare_are_pruned_and_ties_stand_by_letter():
    words = {"fever": 9, "miller": 1, "cough": 3, "rash": 3, "smith": 1}
    assert counts.frequent(words, 2, 10) == ["fever", "cough", "rash"]
    assert counts.frequent(words, 2, 2) == ["fever", "cough"]
    assert counts.frequent(words, 10, 2) == []
