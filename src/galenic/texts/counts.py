"""Bounded, mergeable counts of tokens: in how many cases each stands.

Over MOST tokens, the count of the next one is taken from all and what is left with nothing goes, as in the summaries
of Misra and Gries (1982), which merge in any order (Agarwal et al., Mergeable Summaries, PODS 2012). What that loses:
each count is too small by `under` at most, and `under` is at most `total` / (MOST + 1); the rarest tokens go first,
and one that stands in more cases than that is never lost. Up to MOST different tokens, counts are exact.

A summary of one case holds its words as they are, a name among them. They are pruned when settled; what leaves a site
must be pruned before (`frequent`), at the price of words that every site sees in one case only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict

MOST = 50_000


class Counts(TypedDict):
    """JSON; words: token -> cases it stands in. total: the sum of these over all tokens ever seen."""

    words: dict[str, int]
    total: int
    under: int


def of(tokens: Iterable[str]) -> Counts:
    """The counts of one case."""
    words = dict.fromkeys(sorted(set(tokens)), 1)
    return bounded({"words": words, "total": len(words), "under": 0})


def merge(one: Counts, other: Counts, most: int = MOST) -> Counts:
    """The counts of the cases of both; the parts stay as they are."""
    less, more = sorted((one["words"], other["words"]), key=len)
    words = dict(more)
    for token, count in less.items():
        words[token] = words.get(token, 0) + count
    return bounded(
        {"words": words, "total": one["total"] + other["total"], "under": one["under"] + other["under"]}, most
    )


def bounded(counts: Counts, most: int = MOST) -> Counts:
    """The same where no more than `most` tokens are counted; else the lowest counts are let go, as told above."""
    if len(counts["words"]) <= most:
        return counts
    level = sorted(counts["words"].values(), reverse=True)[most]
    words = {token: count - level for token, count in counts["words"].items() if count > level}
    return {"words": words, "total": counts["total"], "under": counts["under"] + level}


def frequent(words: Mapping[str, int], least: int, most: int) -> list[str]:
    """Tokens that stand in `least` cases or more, the most frequent first, at most `most`."""
    kept = [token for token, count in words.items() if count >= least]
    return sorted(kept, key=lambda token: (-words[token], token))[:most]
