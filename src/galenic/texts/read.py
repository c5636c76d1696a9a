"""Cells to texts: Unicode made plain, control characters gone, what is too long cut, what is blank absent."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import pandas as pd

from galenic.core.contract import Field
from galenic.core.errors import TableError
from galenic.values import Text

MOST_CHARACTERS = 20_000

# One apostrophe, one hyphen and one dash, however they were typed; NFKC leaves these apart.
_SAME = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u00b4": "'", "`": "'",
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
        "\u2028": "\n", "\u2029": "\n", "\r": "\n", "\v": "\n", "\f": "\n", "\x85": "\n", "\t": " ",
    }
)  # fmt: skip


@dataclass(frozen=True)
class TextSource:
    """An opened text column: the text of each row, None where it is empty."""

    column: str
    language: str
    cells: tuple[str | None, ...]

    def read(self, row: int) -> Text | None:
        """The text of a row; None where the cell holds no letter and no digit."""
        cell = self.cells[row]
        return None if cell is None else clean(cell, language=self.language, source=self.column)


def clean(text: str, *, language: str = "", source: str = "") -> Text | None:
    """Normalised words; None where no letter and no digit is left.

    Unicode NFKC (full-width letters, ligatures and the like become plain; UAX 15); control, format and unassigned
    characters go, line ends stay; runs of blanks become one; from MOST_CHARACTERS on the rest is cut and counted.
    """
    kept = text[:MOST_CHARACTERS].replace("\r\n", "\n").translate(_SAME)
    plain = unicodedata.normalize("NFKC", "".join(map(_visible, kept))).translate(_SAME)
    plain = re.sub(r" *\n\s*", "\n", re.sub(r"[^\S\n]+", " ", plain)).strip()
    cut = max(len(text) - MOST_CHARACTERS, 0)
    if len(plain) > MOST_CHARACTERS:  # NFKC may make one character many
        cut, plain = cut + len(plain) - MOST_CHARACTERS, plain[:MOST_CHARACTERS]
    if not any(character.isalnum() for character in plain):
        return None
    return Text(plain, language, source, cut)


def _visible(character: str) -> str:
    """The character; "" for what shows nothing (format, surrogate, private, unassigned), a blank for a control."""
    if character == "\n" or character.isprintable():
        return character
    category = unicodedata.category(character)
    if category in ("Cf", "Cs", "Co", "Cn"):
        return ""
    return " " if category == "Cc" else character


def open_texts(field: Field, table: pd.DataFrame) -> TextSource:
    """Every cell of the field's column as text; TableError where it is not there, or holds numbers alone."""
    (column,) = field.columns
    if column not in table.columns:
        raise TableError(f"no column of the table is named {column!r}", allowed=", ".join(map(str, table.columns)))
    cells = table[column]
    known = cells.notna()
    if known.any() and (pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_datetime64_any_dtype(cells)):
        raise TableError(
            f"the text column {column!r} holds {cells.dtype} values, for example {cells[known].iloc[0]}",
            allowed="words",
            todo="give the column the kind number or category",
        )
    texts = tuple(str(cell) if there and str(cell).strip() else None for cell, there in zip(cells, known, strict=True))
    return TextSource(column, field.options["language"], texts)
