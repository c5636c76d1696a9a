from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galenic.report.curves import curves
from galenic.report.forest import WIDTH, axis, forest
from galenic.report.reading import Estimate, Row, number

finite = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def row(
    name: str, value: float | None, low: float | None = None, high: float | None = None, *, ours: bool = False
) -> Row:
    return Row(name, {"dice": Estimate(value, low, high)}, ours=ours)


@example([0.5, math.nextafter(0.5, 1)])
@example([0.0])
@example([0.9, 0.9])
@given(st.lists(finite, min_size=1, max_size=9))
def test_ticks_hold_all_values_and_are_few(values: list[float]) -> None:
    ticks = axis(values)
    room = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] - room <= min(values)
    assert max(values) <= ticks[-1] + room
    assert 3 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))


def test_marks_stand_at_their_values() -> None:
    rows = [row("ours", 0.9, 0.8, 1.0, ours=True), row("other", 0.6, 0.5, 0.7)]
    drawn = ET.fromstring(forest(rows, "dice", title="Dice"))
    ticks = {
        float(text.text or ""): float(text.attrib["x"]) for text in drawn.iter("text") if text.get("class") == "tick"
    }
    scale = (ticks[1.0] - ticks[0.4]) / 0.6
    square = next(drawn.iter("rect"))
    circle = next(drawn.iter("circle"))
    assert float(square.attrib["x"]) + 5 == pytest.approx(ticks[0.4] + 0.5 * scale, abs=0.2)
    assert float(circle.attrib["cx"]) == pytest.approx(ticks[0.4] + 0.2 * scale, abs=0.2)
    intervals = [line for line in drawn.iter("line") if line.get("class") == "other"]
    assert [float(intervals[0].attrib[key]) for key in ("x1", "x2")] == pytest.approx(
        [ticks[0.4] + 0.1 * scale, ticks[0.4] + 0.3 * scale], abs=0.2
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), finite), min_size=2, max_size=6))
def test_everything_drawn_lies_inside(given_rows: list[tuple[str, float]]) -> None:
    text = forest([row(name, value, value - 1, value + 1) for name, value in given_rows], "dice", title="t", mark=0.0)
    places = [float(place) for place in re.findall(r'\b(?:x|x1|x2|cx)="([-\d.e]+)"', text)]
    assert len(places) >= 5 * len(given_rows)
    assert all(0 <= place <= WIDTH for place in places)


def test_names_are_escaped_and_cut() -> None:
    drawn = forest([row("<b>&" + "n" * 50, 0.5), row("b", 0.6)], "dice", title='"<i>"')
    assert "<b>" not in drawn
    assert "<i>" not in drawn
    names = [text.text for text in ET.fromstring(drawn).iter("text") if text.get("class") == "name"]
    assert names[0] is not None
    assert names[0].startswith("<b>&nn")
    assert len(names[0]) == 34


@pytest.mark.parametrize("rows", [[], [row("one", 0.5)], [row("one", 0.5), row("two", None)]])
def test_one_value_is_no_plot(rows: list[Row]) -> None:
    assert forest(rows, "dice", title="t") == ""


def test_curves_leave_out_what_is_not_finite() -> None:
    history = [
        {"seconds": 1.0, "losses": {"a": 2.0, "b": math.nan}, "score": None},
        {"seconds": None, "losses": {"a": 9.0}, "score": 0.9},
        {"seconds": 2.0, "losses": {"a": 1.0, "b": math.inf}, "score": math.nan},
    ]
    done = curves(history, "dice")
    assert [own.title for own in done] == ["Losses"]
    assert done[0].alt == "Training losses over time: a from 2.000 to 1.000"


def test_no_points_no_curves() -> None:
    assert curves([], "dice") == []
    assert curves([{"seconds": 1.0, "losses": {}, "score": None}], "dice") == []


def test_curves_are_sound_and_follow_the_ink_of_the_page() -> None:
    history = [
        {"seconds": 100.0 * n, "losses": {"_hidden $x$": 1.0 / n, "字": 2.0}, "score": 0.1 * n} for n in range(1, 5)
    ]
    for own in curves(history, "mean_dice", prefix="one-"):
        drawn = ET.fromstring(own.svg)
        assert "currentColor" in own.svg
        assert "<style" not in own.svg
        assert all(part.attrib["id"].startswith("one-") for part in drawn.iter() if "id" in part.attrib)
    losses, score = curves(history, "mean_dice")
    words = [text.text or "" for text in ET.fromstring(losses.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert any("_hidden $x$" in word for word in words)
    assert "字" in words
    assert "training time in minutes" in words
    assert (
        score.alt == "Validation mean dice over time: from 0.100 to 0.400, lowest 0.100, highest 0.400, evaluations: 4"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.88123, "0.881"), (0.0, "0.000"), (0.0004, "0.0004"), (12.345, "12.3"), (1234.5, "1234"), (52, "52"),
     (None, "undefined"), (math.nan, "undefined"), (-0.25, "-0.250")],
)  # fmt: skip
def test_numbers_as_printed(value: float | None, text: str) -> None:
    assert number(value) == text


def test_each_fold_has_its_own_line() -> None:
    history = [
        {"fold": fold, "seconds": 10.0 * at, "losses": {"label": 1.0 / at}, "score": 0.1 * at + 0.01 * fold}
        for fold in (0, 1)
        for at in (1, 2, 3)
    ]
    losses, scores = curves(history, "dice")
    assert "label, fold 0 from 1.000 to 0.333; label, fold 1 from 1.000 to 0.333" in losses.alt
    assert "fold 0 from 0.100 to 0.300" in scores.alt
    assert "fold 1 from 0.110 to 0.310" in scores.alt
    assert "dice, fold 1" in scores.svg
