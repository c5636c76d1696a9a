"""metrics.json and answers, as the shell prints them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from galenic.cli.tables import answer_in_words, interval, print_metrics
from galenic.core.contract import Answer
from galenic.report.reading import Estimate


def score(value: float | None, half: float = 0.01, **more: Any) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, **more}
    return {"value": value, "low": value - half, "high": value + half, **more}


def metrics(ours: float = 0.88, theirs: float = 0.5) -> dict[str, Any]:
    return {
        "task": "hippocampus", "part": "test", "cases": 52, "main": {"target": "label", "score": "dice"},
        "seconds": {"train": 300.1}, "warnings": ["patient unknown", "the class [red]tail[/red] is empty"],
        "targets": {"label": {
            "scores": {"hd95": score(3.0, unit="mm"), "dice": score(ours, unit="", definition="2|A∩B| / (|A|+|B|)")},
            "classes": {"anterior": {"dice": score(0.89)}, "posterior [x]": {"dice": score(None)}},
            "subgroups": {
                "site=A": {"cases": 20, "dice": score(0.86, 0.02)}, "site=B": {"cases": 32, "dice": score(0.9)},
            },
            "baselines": [{"name": "intensity threshold", "scores": {"dice": score(theirs, 0.1)}}],
        }},
    }  # fmt: skip


def printed(content: dict[str, Any], *, width: int = 100, colours: bool = False) -> str:
    page = Console(
        file=io.StringIO(), width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    print_metrics(content, page)
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()


def line_of(said: str, *texts: str) -> str:
    return next(line for line in said.splitlines() if all(text in line for text in texts))


def test_each_score_has_its_interval_beside_the_simple_method() -> None:
    said = printed(metrics())
    assert "hippocampus, test part, 52 cases" in said
    assert line_of(said, "this model", "intensity threshold")
    row = line_of(said, "dice", "[")
    assert row.index("0.880 [0.870, 0.890]") < row.index("0.500 [0.400, 0.600]")
    assert "3.000 [2.990, 3.010]" in line_of(said, "hd95 (mm)")
    assert line_of(said, "hd95 (mm)").rstrip().endswith("-")


def test_the_main_score_stands_first() -> None:
    said = printed(metrics())
    assert said.index("0.880 [0.870") < said.index("hd95 (mm)")


def test_classes_worst_subgroup_and_verdict() -> None:
    said = printed(metrics())
    assert "0.890 [0.880, 0.900]" in line_of(said, "anterior")
    assert "undefined" in line_of(said, "posterior [x]")
    assert "worst subgroup: site=A, 20 cases: dice 0.860 [0.840, 0.880]" in said
    assert "Their intervals do not overlap." in said


def test_out_of_fold_scores_stand_below_the_test_scores() -> None:
    content = metrics()
    held = {
        "label": {"scores": {"dice": score(0.7)}, "baselines": [{"name": "mean mask", "scores": {"dice": score(0.2)}}]}
    }
    said = printed(content | {"cross_validated": {"cases": 208, "folds": 5, "targets": held}}, width=200)
    assert "208 cases of train and valid, each answered by the one of 5 networks that has not learnt from it" in said
    below = said[said.index("cross-validated") :]
    assert line_of(below, "this model", "mean mask")
    assert line_of(below, "0.700 [0.690, 0.710]", "0.200 [0.190, 0.210]")
    assert said.index("0.880 [0.870") < said.index("cross-validated") < said.index("warning: ")
    assert "cross-validated" not in printed(content)


def test_a_chosen_threshold_is_told() -> None:
    content = metrics()
    next(iter(content["targets"].values()))["call"] = "yes is called from a probability of 0.06 on"
    assert "yes is called from a probability of 0.06 on." in printed(content)
    assert "called from" not in printed(metrics())


def test_warnings_come_last_and_red() -> None:
    lines = printed(metrics(), colours=True).rstrip().splitlines()
    assert lines[-2:] == [
        "\x1b[1;31mwarning: patient unknown\x1b[0m",
        "\x1b[1;31mwarning: the class [red]tail[/red] is empty\x1b[0m",
    ]


def test_a_model_that_a_simple_method_matches_is_said_in_red() -> None:
    said = printed(metrics(ours=0.5, theirs=0.7), colours=True, width=300)
    assert line_of(said, "The model is not better than the simple method.").startswith("\x1b[1;31m")
    assert "\x1b[1;31mdice" not in printed(metrics(), colours=True, width=300)


def test_more_scores_than_fit_are_named() -> None:
    content = metrics()
    names = ["dice", "hd95", "assd", "volume_error", "sensitivity"]
    content["targets"]["label"]["classes"] = {"anterior": {name: score(0.5) for name in names}}
    said = printed(content)
    assert "further scores by --json: volume error, sensitivity" in said


@pytest.mark.parametrize(
    "content", [{}, {"targets": {"x": {}}}, {"targets": {"x": {"scores": {"auc": {"value": 0.5}}}}}]
)
def test_what_is_missing_is_borne(content: dict[str, Any]) -> None:
    assert "test part" in printed(content)


def test_no_name_steers_the_terminal() -> None:
    content = metrics()
    content["task"] = "\x1b]0;owned\x07"
    content["warnings"] = ["\x1b[2J"]
    assert "\x1b" not in printed(content)


def test_an_interval_is_told_only_where_there_is_one() -> None:
    assert interval(Estimate(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert interval(Estimate(0.5)) == "0.500"
    assert interval(Estimate()) == "undefined"
    assert interval(None) == "-"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("malignant", probabilities={"malignant": 0.93, "benign": 0.07}), "malignant (probability 0.930)"),
        (Answer("benign", among=("benign", "malignant")), "benign, among benign, malignant"),
        (Answer(0.31, unit="mg/l", low=0.22, high=0.41), "0.310 mg/l [0.220, 0.410]"),
        (Answer(object(), facts={"volumes_ml": {"a": 1.23456, "b": 0.0}}), "a 1.235 ml, b 0.000 ml"),
        (Answer(None, refused="constant image"), "no answer: constant image"),
        (Answer("benign", notes=("times out of order", "b")), "benign; note: times out of order; note: b"),
    ],
)  # fmt: skip
def test_answers_in_a_line(answer: Answer, said: str) -> None:
    assert answer_in_words(answer) == said
