"""Figures and sheets of a target on the page: drawn soundly, said aloud, in one file that fetches nothing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import ValueProblem
from galenic.core.figures import Figure, Line, Sheet
from galenic.report.figures import draw
from galenic.report.page import Content, write_report

from .test_page import HOSTILE, Reader, assert_fetches_nothing

POINTS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=50)


def roc(name: str = "this model") -> Figure:
    return Figure(
        "ROC", "1 - specificity", "sensitivity",
        [Line(name, [0, 0.2, 1], [0, 0.8, 1]), Line("chance", [0, 1], [0, 1], "guide")],
        caption="At every threshold.", spoken="ROC: this model, area 0.8", x_range=(0, 1), y_range=(0, 1), square=True,
    )  # fmt: skip


@given(POINTS, st.sampled_from(["line", "step", "dots", "guide"]), st.text(max_size=12), st.booleans())
@settings(deadline=None, max_examples=40)
def test_any_line_is_a_sound_drawing(points: list[tuple[float, float]], style: str, name: str, square: bool) -> None:
    x, y = zip(*points, strict=True)
    figure = Figure(name, name, name, [Line(name, x, y, style), Line("b", [0.0], [0.0])], square=square)
    text = draw(figure, prefix="p-").svg
    drawn = ET.fromstring(text)
    assert all(part.attrib["id"].startswith("p-") for part in drawn.iter() if "id" in part.attrib)
    assert "currentColor" in text


def test_a_figure_says_what_it_shows() -> None:
    drawn = draw(roc())
    assert (drawn.title, drawn.caption, drawn.alt) == ("ROC", "At every threshold.", "ROC: this model, area 0.8")
    words = [text.text for text in ET.fromstring(drawn.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"1 - specificity", "sensitivity", "this model", "chance"} <= set(words)
    silent = draw(replace(roc(), spoken=""))
    assert silent.alt == "ROC. At every threshold."


def test_guides_are_grey_and_take_no_colour_of_a_line() -> None:
    first = Figure("a", "x", "y", [Line("g", [0, 1], [0, 1], "guide"), Line("l", [0, 1], [1, 0])])
    assert "#0072b2" in draw(first).svg
    assert "#d55e00" not in draw(first).svg


@pytest.mark.parametrize(("x", "y", "style"), [([0], [0, 1], "line"), ([0], [0], "bars")])
def test_a_line_that_is_none_is_refused(x: list[float], y: list[float], style: str) -> None:
    with pytest.raises(ValueProblem):
        Line("a", x, y, style)


def test_they_stand_under_their_target_in_one_file(tmp_path: Path, content: Content) -> None:
    sheet = Sheet("The most wrong cases", ["case", "truth"], [["c7", "yes"], ["c9", "no"]], caption="Look here first.")
    made = replace(content, figures={"label": [roc(), sheet], "another": [roc()]})
    write_report(tmp_path / "report.html", [made, made])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert_fetches_nothing(page)
    reader = Reader(page)
    assert page.count('aria-label="ROC: this model, area 0.8"') == 2
    assert reader.text.index("Curves of label") < reader.text.index(
        "The most wrong cases Look here first. case truth c7"
    )
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_hostile_names_stay_words(tmp_path: Path, content: Content) -> None:
    nasty = Figure(HOSTILE, HOSTILE, HOSTILE, [Line(HOSTILE, [0, 1], [0, 1]), Line("b", [0], [0])], caption=HOSTILE)
    sheet = Sheet(HOSTILE, [HOSTILE], [[HOSTILE]], caption=HOSTILE)
    write_report(tmp_path / "report.html", replace(content, figures={"label": [nasty, sheet]}))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert_fetches_nothing(page)
    assert "49" not in re.findall(r"\d+", Reader(page).text)


def test_the_worst_group_is_named_with_its_interval(tmp_path: Path, content: Content) -> None:
    write_report(tmp_path / "report.html", content)
    text = Reader((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert re.search(r"The worst subgroup: site=B , 31 cases, dice 0\.851 \(0\.822 to 0\.877\)\.", text)
