"""Texts that are the same, or nearly: what must not stand in two parts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

ALIKE = 0.6


def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, in order: texts that differ in marks and blanks alone are the same."""
    return tuple(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower()))


def families(texts: Sequence[str], alike: float = ALIKE) -> list[int]:
    """The place of the first member of each text's family, itself where it has none.

    Two texts are of one family where the words that both hold are at least the share `alike` of those that either
    holds (Jaccard), and so is whoever is linked by others: of A like B and B like C, A and C are one family.
    """
    sets = [set(words(text)) for text in texts]
    columns = {word: at for at, word in enumerate(sorted(set().union(*sets)))}
    held = np.zeros((len(texts), len(columns)), np.float32)
    for row, own in enumerate(sets):
        held[row, [columns[word] for word in own]] = 1
    both, size = (held @ held.T).astype(np.float64), held.sum(axis=1, dtype=np.float64)
    near = both >= alike * (size[:, None] + size[None, :] - both) - 1e-9  # three of five words are 0.6
    first = list(range(len(texts)))
    for one, other in zip(*np.nonzero(np.triu(near, 1)), strict=True):
        a, b = _root(first, int(one)), _root(first, int(other))
        first[max(a, b)] = min(a, b)
    return [_root(first, row) for row in range(len(texts))]


def _root(first: list[int], row: int) -> int:
    while first[row] != row:
        row = first[row]
    return row
