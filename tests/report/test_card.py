from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

from galenic.report.card import card
from galenic.report.content import Content, Picture


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_sections_in_order(content: Content) -> None:
    titles = re.findall(r"^## (.+)$", card(content), re.MULTILINE)
    assert titles == ["Intended use", "Limits and warnings", "Data and split", "Scores", "Training", "How to use"]


def test_every_warning_is_stated(content: Content) -> None:
    limits = section(card(content), "Limits and warnings")
    for words in ("within-one-subject split", "patient unknown", "class posterior: only 2 cases show it"):
        assert f"- **Warning: {words}**" in limits
    assert "Crops from one centre." in limits


def test_not_a_medical_device_and_smoke(content: Content) -> None:
    assert "Not a medical device: research use only" in card(content)
    assert "Smoke demo" not in card(content)
    assert "no clinical claim" in card(replace(content, smoke=True))


def test_scores_stand_beside_the_baselines(content: Content) -> None:
    scores = section(card(content), "Scores")
    assert "| score | this model | intensity threshold | mean mask |" in scores
    assert "| dice | 0.881 (0.871 to 0.892) | 0.313 (0.282 to 0.343) | 0.602 (0.581 to 0.623) |" in scores
    assert "The worst subgroup: site=B, 0.851 (0.822 to 0.877)." in scores
    assert "| site=A | 21 | 0.893 (0.872 to 0.914) | 1.100 |" in scores


def test_out_of_fold_scores_stand_below_the_test_scores(content: Content, metrics: dict) -> None:
    assert "Cross-validated" not in card(content)
    own = {"scores": {"dice": {"value": 0.777, "low": 0.766, "high": 0.788}}}
    metrics["cross_validated"] = {"cases": 208, "folds": 5, "targets": {"label": own}}
    below = card(content).partition("### Cross-validated")[2]
    assert "208 cases of train and valid, each answered by the one of 5 networks" in below
    assert "| dice | 0.777 (0.766 to 0.788) |" in below


def test_a_model_that_loses_carries_a_warning(content: Content, metrics: dict) -> None:
    metrics["targets"]["label"]["scores"]["dice"]["value"] = 0.1
    assert "Warning: a simple method is at least as good on label" in section(card(content), "Limits and warnings")


def test_data_split_and_training(content: Content) -> None:
    text = card(content)
    data, training = section(text, "Data and split"), section(text, "Training")
    for words in (
        "- patients: unknown",
        "- licence: CC-BY-SA 4.0",
        "- split: by patient",
        "- cases: train: 160; test: 52",
    ):
        assert words in data
    for words in ("- network: unet", "- budget: 300 s", "- seconds: train: 300.1", "- device: cpu, 2 threads"):
        assert words in training
    assert "galenic predict . INPUT -o ../OUT" in section(text, "How to use")


def test_a_hostile_name_is_no_markup(content: Content) -> None:
    name = "<script>x</script>\n# Heading | [a](javascript:b) **c** `d`"
    text = card(replace(content, task={**content.task, "title": name}, red=[name]))
    assert "<script" not in text
    assert "\n# Heading" not in text
    assert r"\[a\](javascript:b)" in text
    assert r"\| " in text


def test_tables_keep_their_columns_with_a_hostile_class(content: Content, metrics: dict) -> None:
    metrics["targets"]["label"]["classes"]["a|b\nc"] = {"dice": {"value": 0.5}}
    rows = re.findall(r"^\|.*\|$", card(content), re.MULTILINE)
    found = [row for row in rows if "a\\|b c" in row]
    assert len(found) == 1
    assert len(re.split(r"(?<!\\)\|", found[0])) == len(re.split(r"(?<!\\)\|", rows[rows.index(found[0]) - 1]))


def test_no_picture_reaches_the_card(content: Content) -> None:
    """Pictures carry case ids and patients; the card may leave the hospital."""
    shown = [Picture("Worst: patient-0042", "seen", "<svg/>")]
    assert "patient-0042" not in card(replace(content, pictures=shown))


def test_bare_contents_give_a_card() -> None:
    text = card(Content({}, {}, {}))
    assert "No scores were measured." in text
    assert "- licence: not written down" in text


def test_the_same_content_gives_the_same_card(content: Content) -> None:
    assert card(content) == card(content)


def test_the_card_needs_no_drawing_package() -> None:
    code = "import sys, galenic.report.card; print(sorted({'jinja2', 'matplotlib', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
