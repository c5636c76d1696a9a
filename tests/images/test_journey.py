"""Pictures through the verbs: what is unlike the training is refused, and nothing of the user's is written over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import galenic
from galenic.core.errors import ValueProblem
from galenic.formats import nifti
from galenic.values import Geometry
from galenic.values import Image as Scan

CASES, SIDE = 12, 32


def picture(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    disc = ((np.indices((SIDE, SIDE)) - rng.uniform(12, 20, 2)[:, None, None]) ** 2).sum(0) < 40
    return np.clip(80 + 90 * disc + rng.normal(0, 15, disc.shape), 0, 255).astype(np.uint8), disc.astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A table of pictures and their masks, and a model of a few steps."""
    folder = tmp_path_factory.mktemp("home")
    rows = []
    for number in range(CASES):
        image, mask = picture(number)
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}.mask.png")
        rows.append({"id": f"p{number}", "image": f"{number}.png", "mask": f"{number}.mask.png"})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    galenic.train(folder / "cases.csv", targets=["mask:mask"], budget="4steps", out=folder / "model", seed=0)
    return folder


def test_what_is_unlike_the_training_is_refused_and_the_rest_goes_on(home, tmp_path):
    volume = Scan(np.arange(512, dtype=np.float32).reshape(1, 8, 8, 8), Geometry.plain(3, 1.0))
    nifti.write_image(volume, tmp_path / "volume.nii.gz")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / "colour.png")
    cells = ["volume.nii.gz", "colour.png", None, str(home / "0.png")]
    pd.DataFrame({"id": ["a", "b", "c", "d"], "image": cells}).to_csv(tmp_path / "new.csv", index=False)
    volume, colour, none, good = galenic.predict(home / "model", [tmp_path / "new.csv"], tmp_path / "out")
    assert "is a volume of shape [8, 8, 8]" in volume.refused
    assert "3 channels" in colour.refused
    assert "has no image" in none.refused
    assert good.refused is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["d.png"]


def test_an_answer_never_takes_the_place_of_a_scan(home, tmp_path):
    scan = tmp_path / "scan.png"
    scan.write_bytes((home / "0.png").read_bytes())
    before = scan.read_bytes()
    (written,) = galenic.predict(home / "model", [scan], tmp_path)
    assert "take the place of the input" in written.refused
    assert scan.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.png"]


def test_a_training_row_without_an_image_is_named(home, tmp_path):
    table = pd.read_csv(home / "cases.csv")
    table["split"] = ["test", "test", "valid", *["train"] * (CASES - 3)]
    table.loc[7, "image"] = None
    table[["image", "mask"]] = table[["image", "mask"]].map(lambda cell: cell if pd.isna(cell) else str(home / cell))
    table.to_csv(tmp_path / "cases.csv", index=False)
    how = {"inputs": ["image:image"], "targets": ["mask:mask"], "budget": "4steps"}
    with pytest.raises(ValueProblem, match=r"p7 .*no image"):
        galenic.train(tmp_path / "cases.csv", out=tmp_path / "out", **how)
