"""The kind text: the door of this room."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from galenic.core.contract import Array, Field, Settings
from galenic.core.errors import TaskError
from galenic.texts import english, negation
from galenic.texts.prepare import numbers
from galenic.texts.read import TextSource, open_texts
from galenic.texts.tokens import is_word, plain, split
from galenic.values import Text

if TYPE_CHECKING:
    from galenic.core.contract import Kind

WIDE = 256  # words that a simple learner of any kind gets
_TAG = re.compile(r"[a-z]{2,3}")


class TextKind:
    """Words of a case, such as its symptoms; the column holds the text itself. An input only.

    Options: `language` (ISO 639 code, "en" by default), `negation` (true: negated words are tokens of their own; by
    default where there are lists for the language), `min_cases` (a token that stands in fewer training cases is not
    kept, 2 by default).
    """

    name = "text"
    frame = "words"
    from_file = False
    groups = True  # the same text twice stands in one part
    baselines = ("tfidf",)
    bare = True

    def check(self, field: Field) -> Field:
        """The field with its options completed; TaskError for a wrong one, or more than one column."""
        unknown = sorted(field.options.keys() - {"language", "negation", "min_cases"})
        if unknown:
            raise TaskError(
                f"the options {', '.join(unknown)} of the text {field.name!r}", allowed="language, negation, min_cases"
            )
        if len(field.columns) != 1 or set("*?[") & set(field.columns[0]):
            raise TaskError(f"{field.columns} as the columns of the text {field.name!r}", allowed="one column name")
        language = field.options.get("language", "en")
        if not isinstance(language, str) or not _TAG.fullmatch(language):
            raise TaskError(f"language {language!r} of {field.name!r}", allowed="a code such as en, de or fr")
        lists = bool(negation.version(language))
        marked = field.options.get("negation", lists)
        if not isinstance(marked, bool) or (marked and not lists):
            raise TaskError(
                f"negation {marked!r} of {field.name!r}",
                allowed=f"true or false; true only for {english.LANGUAGE}",
            )
        least = field.options.get("min_cases", 2)
        if type(least) is not int or least < 2:
            raise TaskError(
                f"min_cases {least!r} of {field.name!r}",
                allowed="a whole number from 2 on: rare words may name a person",
            )
        return field.model_copy(update={"options": {"language": language, "negation": marked, "min_cases": least}})

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> TextSource:  # noqa: ARG002 - names no file
        """Index the column; TableError where it is not there, or holds numbers."""
        return open_texts(field, table)

    def features(self, array: Array, field: Field, settings: Settings) -> Array:
        """(WIDE,) log(1 + count) of the most frequent words that say something, 0 where there are fewer."""
        places = _content(settings["texts"][field.name]["vocabulary"], settings["texts"][field.name]["language"])
        counts = np.bincount(array[:, 0], minlength=max(places, default=0) + 1)[list(places)]
        done = np.zeros(WIDE)
        done[: len(places)] = np.log1p(counts)
        return done

    def group(self, value: Any) -> str | None:
        """The same for texts of the same words in the same order, however written; None without a text."""
        if not isinstance(value, Text):
            return None
        words = " ".join(token.text for token in split(value.text) if not token.is_mark)
        return hashlib.sha256(words.encode()).hexdigest()[:16]


@lru_cache(maxsize=16)
def _content(vocabulary: str, language: str) -> tuple[int, ...]:
    """Numbers of the first WIDE tokens that are no function word, number or stop."""
    function = negation.function_words(language)
    found = [number for token, number in numbers(vocabulary).items() if is_word(token) and plain(token) not in function]
    return tuple(found[:WIDE])


TEXT = TextKind()

if TYPE_CHECKING:
    _text: Kind = TEXT
