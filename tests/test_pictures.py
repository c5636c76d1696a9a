"""From pictures and a label a case to a report that shows the cases most wrong, in words a reader can check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from galenic import pictures, verbs
from galenic.core import bundle
from galenic.core.errors import InputError
from galenic.images.networks.resnet import Trunk

CASES = 40


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a bright or dark half: two findings a case, each told or not by a side of its own."""
    folder, rng, rows = tmp_path_factory.mktemp("cases"), np.random.default_rng(0), []
    for at in range(CASES):
        top, left = at % 2, at // 2 % 2
        array = rng.integers(60, 120, (24, 20)).astype(np.uint8)
        array[:12] += 80 * np.uint8(top)
        array[:, :10] += 50 * np.uint8(left)
        Image.fromarray(array).save(folder / f"{at:02}.png")
        rows.append({"id": f"case{at:02}", "image": f"{at:02}.png", "top": "yes" if top else "no",
                     "left": ["no", "yes"][left] if at != 3 else None})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "two"
    verbs.train(
        table, inputs=["image:image"], targets=["top:category", "left:category"], network="cnn", budget="40steps",
        out=out,
    )  # fmt: skip
    return out


def test_several_findings_are_learnt_at_once(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["targets"]) == {"top", "left"}
    assert metrics["targets"]["top"]["scores"]["auroc"]["value"] > 0.8
    plan = json.loads((trained / "plan.json").read_text(encoding="utf-8"))
    assert (plan["network"]["name"], plan["frames"]["space"]["fit"]) == ("cnn", [24, 20])


def test_the_report_shows_the_cases_most_wrong_with_their_probabilities(trained: Path) -> None:
    kept = json.loads((trained / bundle.PRIVATE / pictures.KEPT).read_text(encoding="utf-8"))
    lines = (trained / bundle.PRIVATE / "test.jsonl").read_text(encoding="utf-8").splitlines()
    judged = {line["id"]: line["judged"]["top"]["model"] for line in map(json.loads, lines)}
    of_truth = {name: own["p"][own["truth"]] for name, own in judged.items()}
    shown = [own for own in kept if own["caption"].startswith("top: ")]
    assert shown[0]["title"].startswith("most wrong (")
    assert shown[-1]["title"].startswith("best (")
    wrong = min(of_truth, key=lambda name: of_truth[name])
    assert wrong in shown[0]["title"]
    own = judged[wrong]
    assert f"truth {own['labels'][own['truth']]}" in shown[0]["caption"]
    for label, chance in zip(own["labels"], own["p"], strict=True):
        assert f"{label} {chance:.2f}" in shown[0]["caption"]
    assert all(own["svg"].startswith("<svg") for own in kept)
    assert {own["caption"].partition(":")[0] for own in kept} == {"top", "left"}
    page = (trained / bundle.PRIVATE / "report.html").read_text(encoding="utf-8")
    assert "most wrong" in page
    assert wrong in page


def test_new_pictures_are_answered_with_a_probability_a_label(trained: Path, table: Path, tmp_path: Path) -> None:
    done = verbs.predict(trained, [table.parent / "07.png"], tmp_path)
    assert {one.paths[0].name for one in done} == {"07.top.csv", "07.left.csv"}
    told = pd.read_csv(tmp_path / "07.top.csv")
    assert told["p(no)"][0] + told["p(yes)"][0] == pytest.approx(1, abs=1e-4)


def test_a_row_without_its_picture_is_refused_and_the_others_go_on(trained: Path, table: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(table).head(2).assign(image=["00.png", None])
    rows.to_csv(table.parent / "new.csv", index=False)
    done = verbs.predict(trained, [table.parent / "new.csv"], tmp_path)
    refused = {one.id: one.refused for one in done}
    assert refused["case00"] is None
    assert "every input is missing" in str(refused["case01"])


def torchvision_like(path: Path, change: dict[str, torch.Tensor] | None = None) -> Path:
    """A narrow ResNet of one block a stage with batch norm and a 7x7 stem, under torchvision's names."""
    torch.manual_seed(5)
    settings = {
        "stem": {"kernel": 7, "stride": [2, 2], "pool": True}, "widths": [4, 4, 8, 8], "blocks": [1, 1, 1, 1],
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2]], "norm": "batch", "block": "basic",
    }  # fmt: skip
    weights = dict(Trunk(2, 3, settings).state_dict()) | {"fc.weight": torch.zeros(10, 8)}
    bundle.save_weights(path, weights | (change or {}))
    return path


def start(table: Path, source: Path, out: Path, **more: Any) -> Any:
    how = {"inputs": ["image:image"], "targets": ["top:category"], "budget": "2steps", **more}
    return verbs.train(table, start_from=source, out=out, **how)


def test_weights_from_a_local_file_are_started_from(table: Path, tmp_path: Path) -> None:
    file = torchvision_like(tmp_path / "resnet.safetensors")
    start(table, file, tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    own = plan["network"]["settings"]
    assert (own["widths"], own["blocks"], own["norm"], own["stem"]["kernel"]) == ([4, 4, 8, 8], [1] * 4, "batch", 7)
    assert plan["reasons"]["network.norm"] == "as in the weights of resnet.safetensors"
    given, found = (bundle.load_weights(path) for path in (file, tmp_path / "out" / "weights.safetensors"))
    moved = (found["trunk.layer3.0.conv1.weight"] - given["layer3.0.conv1.weight"]).abs().max()
    assert 0 < moved < 0.01
    assert found["trunk.conv1.weight"].shape == (4, 1, 7, 7)


@pytest.mark.parametrize(
    ("name", "change", "more", "words"),
    [
        ("a.pth", {}, {}, "safetensors file"),
        ("a.safetensors", {}, {"network": "cnn"}, "cnn from the file"),
        ("a.safetensors", {"conv1.weight": torch.zeros(4, 3, 7, 7, 7)}, {}, "no ResNet's in 2D"),
    ],
)
def test_weights_that_do_not_fit_are_refused(table: Path, tmp_path: Path, name, change, more, words) -> None:
    with pytest.raises(InputError, match=words):
        start(table, torchvision_like(tmp_path / name, change), tmp_path / "out", **more)


@pytest.mark.parametrize(
    ("values", "titles"),
    [
        ([0.9, 0.1, 0.5], {"worst": 1, "median": 2, "best": 0}),
        ([0.9, 0.1, 0.2, 0.5], {"worst": 1, "second worst": 2, "median": 3, "best": 0}),
        ([float("nan"), 0.3], {"worst": 1}),
        ([], {}),
    ],
)
def test_no_case_is_picked_twice(values, titles) -> None:
    assert dict(pictures._picked(values)) == titles
