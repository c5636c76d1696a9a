"""What the report shows of the cases: which pictures, and what the data were, of a small trained model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

import galenic
from galenic import pictures
from galenic.core import bundle
from galenic.core.contract import Field
from galenic.core.model import Model
from galenic.core.task import Task
from galenic.report.card import card

CASES = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Learnt in a few steps: bright discs (class 1) on noise, every fourth picture with a bar (class 2)."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = []
    for at in range(CASES):
        side = 32 if at % 2 else 40
        grid = np.indices((side, side))
        label = (((grid - rng.uniform(12, 20, 2)[:, None, None]) ** 2).sum(0) < rng.uniform(5, 9) ** 2).astype(np.uint8)
        label[-6:-2, 2:-2] = 2 * (at % 4 == 0)
        picture = 80 + 60 * label + rng.normal(0, 20, label.shape)
        Pillow.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(home / f"{at}.png")
        Pillow.fromarray(label).save(home / f"{at}.mask.png")
        part = "test" if at < 8 else "valid" if at < 12 else "train"
        rows.append({"id": f"c{at:02}", "patient": f"p{at:02}", "split": part, "image": f"{at}.png",
                     "drawn": f"{at}.mask.png"})  # fmt: skip
    pd.DataFrame(rows).to_csv(home / "cases.csv", index=False)
    Task(
        name="discs", table="cases.csv", inputs=[Field(name="image", kind="image", columns=["image"])],
        targets=[Field(name="shapes", kind="mask", columns=["drawn"], options={"classes": ["disc", "bar"]})],
    ).save(home / "discs.toml")  # fmt: skip
    return galenic.train(home / "discs.toml", budget="30steps", out=home / "model")


def scored(model: Model) -> dict[str, float]:
    """Dice of each test case: the mean of the classes that have one."""
    found = {}
    for line in (model.folder / "private/test.jsonl").read_text(encoding="utf-8").splitlines():
        own = json.loads(line)
        classes = own["judged"]["shapes"]["model"]["classes"].values()
        known = [one["dice"] for one in classes if one["dice"] is not None]
        found[own["id"]] = float(np.mean(known)) if known else math.nan
    return found


def test_best_median_and_worst_are_what_they_are_called(model: Model) -> None:
    kept = json.loads((model.folder / "private" / pictures.KEPT).read_text(encoding="utf-8"))
    values = scored(model)
    order = sorted((own for own in values if not math.isnan(values[own])), key=lambda own: values[own])
    wanted = {"worst": order[0], "second worst": order[1], "median": order[len(order) // 2], "best": order[-1]}
    assert len(order) >= 4
    assert [one["title"] for one in kept] == [
        f"{title}: {values[own]:.3f} ({own})" for title, own in wanted.items()
    ]  # fmt: skip
    assert all(one["svg"].lstrip().startswith(("<svg", "<?xml")) for one in kept)


@pytest.mark.parametrize(
    ("values", "titles"),
    [
        ([0.3, 0.9, math.nan, 0.5, 0.1], [("worst", 4), ("second worst", 0), ("median", 3), ("best", 1)]),
        ([math.nan, math.nan], []),
        ([0.4], [("worst", 0)]),
        ([0.4, 0.2], [("worst", 1), ("best", 0)]),
        ([0.4, 0.2, 0.3], [("worst", 1), ("median", 2), ("best", 0)]),
        ([], []),
    ],
)
def test_a_case_is_shown_once_and_one_without_a_score_never(values: list[float], titles: list[tuple[str, int]]) -> None:
    assert pictures._picked(values) == titles


def test_the_report_says_what_the_data_were(model: Model) -> None:
    content = pictures.content_of(model.folder)
    assert content.data["cases"] == {"train": 8, "valid": 4, "calib": 0, "test": 8}
    assert content.data["patients"] is True
    assert content.data["split"] == "the table's split column"
    assert content.data["classes"] == {
        "shapes": {"disc": "8 of 8 train, 4 of 4 valid, 8 of 8 test", "bar": "2 of 8 train, 1 of 4 valid, 2 of 8 test"}
    }
    assert content.data["size"] == "36 x 36 by the median, 32 x 32 to 40 x 40 (rows x columns)"
    assert content.data["spacing"] == content.data["modality"] == "not told by the files"
    assert [own["name"] for own in content.data["fields"]] == ["image", "shapes"]
    assert len(content.pictures) == 4
    page = (model.folder / "private/report.html").read_text(encoding="utf-8")
    text = (model.folder / "card.md").read_text(encoding="utf-8")
    for words in ("shapes (mask: disc, bar)", "2 of 8 train, 1 of 4 valid, 2 of 8 test", "32 x 32 to 40 x 40"):
        assert words in page, words
        assert words in text, words
    assert text.count("- split: ") == 1
    assert "- split: the table's split column" in text.replace("\u2019", "'")


def test_a_catalogued_set_tells_its_licence_and_origin(model: Model, tmp_path: Path) -> None:
    copy = shutil.copytree(model.folder, tmp_path / "copy")
    task = (copy / "task.toml").read_text(encoding="utf-8").replace('table = "cases.csv"', 'data = "busi-ultrasound"')
    (copy / "task.toml").write_text(task, encoding="utf-8")
    data = pictures.content_of(copy).data
    entry = galenic.catalog.load("busi-ultrasound")
    for key in ("licence", "licence_note", "citation", "origin"):
        assert data[key] == getattr(entry, key)
    assert data["set"] == entry.title


def test_an_exported_folder_still_has_its_card(model: Model, tmp_path: Path) -> None:
    """Without private/ there are no pictures and counts, and nothing else is lost."""
    bundle.export(model.folder, tmp_path / "model.zip")
    shutil.unpack_archive(tmp_path / "model.zip", tmp_path / "model")
    content = pictures.content_of(tmp_path / "model")
    assert content.pictures == []
    assert "classes" not in content.data
    assert content.data["split"] == "the table's split column"
    assert "shapes (mask: disc, bar)" in card(content)
