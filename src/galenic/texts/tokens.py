"""Words, numbers and marks of a text, each with its place; and the hashed pieces of a word.

The pieces are the character 3- to 5-grams of the word between boundary marks, known by their hash (CRC-32), after
Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 5:135 (2017): a word that training never
saw, as a misspelt one, shares most of its pieces with the right one. Of a long word the pieces with the smallest
hashes stand for all, so that two words that share pieces still share some (min-wise sketch: Broder, SEQUENCES 1997).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

PAD, UNKNOWN, FIRST = 0, 1, 2  # token numbers; those of a vocabulary begin at FIRST
NOT = "not:"  # begins the token of a negated word; a word itself holds no colon
STOP = "."  # the token of whatever ends a sentence
ENDS = frozenset(".;!?\n\u2022")
MARKS = ENDS | frozenset(",:()-")
PIECES = 16  # kept of a word
_GRAMS = (3, 4, 5)

# A number; w/o for without; a word with inner apostrophes; a dash that stands free; a mark.
_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|w/o\b|[^\W\d_][^\W_]*(?:'[^\W_]+)*|(?<!\S)-+(?!\S)|[.;!?\n\u2022,:()]", re.IGNORECASE
)


@dataclass(frozen=True)
class Token:
    """A lower-case word, a number or a mark, and where it stands: text[start:end] before lower-casing."""

    text: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha()

    @property
    def is_mark(self) -> bool:
        return self.text in MARKS


def split(text: str) -> list[Token]:
    """Every token of a text, marks included."""
    found = []
    for match in _TOKEN.finditer(text):
        own = match[0].lower()
        found.append(Token("-" if own.startswith("-") else own, match.start(), match.end()))
    return found


def counted(tokens: Sequence[Token], negated: Sequence[bool]) -> list[Token]:
    """What a learner gets: words (a negated one with `not:` before it), numbers, and one `.` where a sentence ends."""
    done: list[Token] = []
    for token, against in zip(tokens, negated, strict=True):
        if not token.is_mark:
            done.append(replace(token, text=NOT + token.text) if against else token)
        elif token.text in ENDS and done and done[-1].text != STOP:
            done.append(replace(token, text=STOP))
    return done


def is_word(token: str) -> bool:
    """True for the token of a word, negated or not; False for a number or a stop."""
    return token[0].isalpha()


def plain(token: str) -> str:
    """The token without its negation."""
    return token.removeprefix(NOT)


@lru_cache(maxsize=200_000)
def pieces(token: str) -> tuple[int, ...]:
    """Hashes of the pieces of a word's token, rising, PIECES at most; none for a number or a stop.

    The pieces of a negated word are others than those of the word itself.
    """
    if not is_word(token):
        return ()
    sign = "!" if token.startswith(NOT) else ""
    whole = f"<{plain(token)}>"
    grams = {whole[at : at + size] for size in _GRAMS for at in range(len(whole) - size + 1)}
    return tuple(sorted({crc32(f"{sign}{gram}".encode()) for gram in grams})[:PIECES])
