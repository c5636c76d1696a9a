"""DICOM all the way: a scan and its outlines in, a SEG out, and that SEG as the truth of the next evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import galenic
from galenic import sources
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.errors import GeometryError, ValueProblem
from galenic.core.task import Task
from galenic.formats import dicom, nifti
from galenic.formats.dicom_seg import write_seg
from galenic.values import Mask

SIDE, SLICES, CASES = 32, 8, 6


def put_scan(folder: Path, seed: int) -> None:
    """A bright ball in noise, as a CT series."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    where = np.indices((SLICES, SIDE, SIDE)) - np.array([4, *rng.uniform(12, 20, 2)])[:, None, None, None]
    array = rng.normal(1000, 30, where.shape[1:]) + 200 * ((where**2 * [[[[4]]], [[[1]]], [[[1]]]]).sum(0) < 50)
    series, frame = generate_uid(), generate_uid()
    for k in range(SLICES):
        slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID, slice_.InstanceNumber = series, frame, k + 1
        slice_.PatientID, slice_.Rows, slice_.Columns = f"p{seed}", SIDE, SIDE
        slice_.ImagePositionPatient, slice_.PixelSpacing, slice_.SliceThickness = [0, 0, 2.0 * k], [1, 1], 2
        slice_.PixelData = array[k].astype(np.int16).tobytes()
        slice_.save_as(folder / f"{k}.dcm")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans, the first three with SEGs and the others with NIfTI masks as truth."""
    home = tmp_path_factory.mktemp("home")
    rows = []
    for at in range(CASES):
        put_scan(home / f"ct{at}", at)
        image = dicom.read_image(home / f"ct{at}")
        mask = Mask((image.array[0] > 100).astype(np.uint8), image.geometry, {1: "ball"})
        name = f"ball{at}.dcm" if at < 3 else f"ball{at}.nii.gz"
        if at < 3:
            write_seg(mask, home / f"ct{at}", home / name, algorithm="reader", version="1")
        else:
            nifti.write_mask(mask, home / name)
        rows.append({"id": f"c{at}", "patient": f"p{at}", "image": f"ct{at}", "ball": name})
    pd.DataFrame(rows).to_csv(home / "cases.csv", index=False)
    Task(
        name="ball", table="cases.csv", inputs=[Field(name="image", kind="image", columns=["image"])],
        targets=[Field(name="ball", kind="mask", columns=["ball"], options={"classes": ["ball"]})],
    ).save(home / "ball.toml")  # fmt: skip
    return home


def test_seg_and_nifti_truths_stand_in_one_column(home: Path) -> None:
    found = sources.find(home / "ball.toml")
    cases = open_cases(found.table, found.root, registry.checked(found.task))
    for row in range(CASES):
        values = cases.values(row)
        assert dict(values["ball"].names) == {1: "ball"}
        np.testing.assert_array_equal(values["ball"].array, values["image"].array[0] > 100)


def test_evaluate_against_its_own_segs_gives_one(home: Path) -> None:
    model = galenic.train(home / "ball.toml", budget="30steps", out=home / "model")
    written = galenic.predict(model.folder, [home / f"ct{at}" for at in range(CASES)], home / "answers")
    table = pd.read_csv(home / "cases.csv")
    table["ball"] = [str(next(path for path in one.paths if path.name.endswith(".seg.dcm"))) for one in written]
    table["id"] = [f"again-{own}" for own in table["id"]]  # else they are known as those it was made with, and left out
    table.to_csv(home / "own.csv", index=False)
    scores = galenic.evaluate(model.folder, home / "own.csv")["targets"]["ball"]["scores"]
    assert scores["dice"]["value"] == 1.0
    assert scores["dice"]["low"] == 1.0
    there = sources.find(home / "own.csv", targets=["ball:mask"])
    assert there.task.targets[0].options["classes"] == {"1": "ball"}
    assert [one.name for one in there.task.inputs] == ["image"]


def test_names_and_images_that_lack_are_told(home: Path) -> None:
    own = [Field(name="other", kind="mask", columns=["ball"], options={"classes": ["spleen"]})]
    image = [Field(name="image", kind="image", columns=["image"])]
    table = pd.read_csv(home / "cases.csv").head(3)
    cases = open_cases(table, home, registry.checked(Task(name="x", inputs=image, targets=own)))
    with pytest.raises(ValueProblem, match="outlines nothing called 'spleen'"):
        cases.values(0)
    age = [Field(name="age", kind="number", columns=["age"])]
    lone = Task(name="x", inputs=age, targets=[own[0].model_copy(update={"options": {}})])
    with pytest.raises(GeometryError, match="none beside it"):
        open_cases(table.assign(age=1.0), home, registry.checked(lone)).values(0)
