import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.core.contract import Field
from galenic.core.errors import TableError, ValueProblem
from galenic.texts.kinds import TEXT
from galenic.texts.read import MOST_CHARACTERS, clean
from galenic.values import Text

FIELD = TEXT.check(Field(name="symptoms", kind="text", columns=["text"]))


def read(*cells, tmp_path):
    source = TEXT.open(FIELD, pd.DataFrame({"text": pd.Series(cells, dtype=object)}), tmp_path)
    return [source.read(row) for row in range(len(cells))]


def test_a_cell_becomes_a_text_with_its_language_and_column(tmp_path):
    (text,) = read("  I have a  rash.\r\n\r\nNo fever ", tmp_path=tmp_path)
    assert text == Text("I have a rash.\nNo fever", "en", "text")
    with pytest.raises(AttributeError):
        text.text = "other"


@pytest.mark.parametrize("cell", [None, np.nan, pd.NA, "", "   ", "\n\t", "...", "?!", "\u200b", "\u2026", "\ue000"])
def test_a_cell_without_a_word_is_absent(cell, tmp_path):
    assert read(cell, "fever", tmp_path=tmp_path)[0] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ｆｅｖｅｒ　３８．５", "fever 38.5"),
        ("ﬁbrosis of the oesophagus", "fibrosis of the oesophagus"),
        ("I don’t and can‘t", "I don't and can't"),
        ("cafe\u0301", "café"),
        ("pain\u00a0in\u2003my\tback", "pain in my back"),
        ("pain\x00\x07killer \x1b[31m", "pain killer [31m"),
        ("zero\u200bwidth\u00adword\ufeff", "zerowidthword"),
        ("a\u2028b\x85c\vd", "a\nb\nc\nd"),
        ("well \u2013 no fever", "well - no fever"),
        ("broken \ud800 surrogate", "broken surrogate"),
        ("38 °C, 10² and µg", "38 °C, 102 and μg"),
    ],
)
def test_unicode_is_made_plain(given, expected):
    assert clean(given).text == expected


@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_comes_is_plain_after_and_cleaning_again_changes_nothing(given):
    text = clean(given)
    if text is None:
        return
    assert text.text == unicodedata.normalize("NFKC", text.text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") for c in text.text.replace("\n", ""))
    assert "  " not in text.text
    assert text.text == text.text.strip()
    assert clean(text.text).text == text.text
    text.text.encode("utf-8")


def test_a_very_long_text_is_cut_and_says_so():
    text = clean("fever " * 10_000)
    assert len(text.text) <= MOST_CHARACTERS
    assert text.cut == 60_000 - MOST_CHARACTERS
    grown = clean("\ufdfa" * 15_000)  # one character that NFKC makes eighteen
    assert len(grown.text) <= MOST_CHARACTERS
    assert grown.cut > 200_000
    assert clean("fever").cut == 0


def test_a_text_is_never_blank():
    with pytest.raises(ValueProblem, match="without a word"):
        Text(" ")
    with pytest.raises(ValueProblem, match="cut"):
        Text("fever", cut=-1)


def test_numbers_and_dates_are_no_text(tmp_path):
    for column in (pd.Series([1, 2]), pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"]))):
        with pytest.raises(TableError, match="'text' holds"):
            TEXT.open(FIELD, pd.DataFrame({"text": column}), tmp_path)
    assert TEXT.open(FIELD, pd.DataFrame({"text": [np.nan, np.nan]}), tmp_path).read(0) is None


def test_a_column_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TableError, match="no column") as told:
        TEXT.open(FIELD, pd.DataFrame({"words": ["fever"]}), tmp_path)
    assert "words" in told.value.allowed


def test_a_number_among_words_is_read_as_written(tmp_path):
    assert [text.text for text in read("fever", 38, 38.5, tmp_path=tmp_path)] == ["fever", "38", "38.5"]
