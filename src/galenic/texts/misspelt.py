"""Whether a word that the vocabulary has not is one of its words misspelt.

Most misspelt words are one letter wrong, missing, too many, or two swapped: Damerau, CACM 7:171 (1964).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from galenic.texts.tokens import NOT, is_word, pieces, plain

_SHORT, _LONG = 4, 8  # letters: of shorter words none is taken for another; from so many on two slips are borne
_TRIED = 20  # words of the vocabulary that share most pieces


@lru_cache(maxsize=50_000)
def is_misspelt(word: str, vocabulary: str) -> bool:
    """True where the word is one slip from a word of the vocabulary, or two from a long one.

    vocabulary: tokens parted by blanks. Both share a piece, by which the network knows the word at all.
    """
    if len(word) < _SHORT:
        return False
    by_piece, slips = _words_by_piece(vocabulary), 1 if len(word) < _LONG else 2
    near = Counter(other for piece in pieces(word) for other in by_piece.get(piece, ()))
    return any(_distance(word, other) <= slips for other, _ in near.most_common(_TRIED))


@lru_cache(maxsize=16)
def _words_by_piece(vocabulary: str) -> Mapping[int, Sequence[str]]:
    """Piece -> the words of the vocabulary that have it, negated or not."""
    found: dict[int, list[str]] = {}
    for word in sorted({plain(token) for token in vocabulary.split(" ") if is_word(token)}):
        for piece in pieces(word) + pieces(NOT + word):
            found.setdefault(piece, []).append(word)
    return found


def _distance(one: str, other: str) -> int:
    """Letters to change, add, leave out, or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, own in enumerate(one, start=1):
        before, last, row = row, before, [i]
        for j, theirs in enumerate(other, start=1):
            found = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (own != theirs))
            if i > 1 and j > 1 and own == other[j - 2] and one[i - 2] == theirs:
                found = min(found, last[j - 2] + 1)
            row.append(found)
    return row[-1]
