"""The usual export of an archive: several DICOM series in one folder, of which a table names one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from galenic.core import registry
from galenic.core.cases import case_name, open_cases
from galenic.core.contract import Field
from galenic.core.errors import MissingFile, SeriesError, TableError, TaskError
from galenic.core.split import divide
from galenic.core.task import Task
from galenic.formats import index, nifti
from galenic.images.kinds import IMAGE

UIDS = ("1.2.840.5.11", "1.2.840.5.12")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """One folder with two series of three slices: everything is 1 in the first and 2 in the second, and one outlier."""
    folder = tmp_path / "export"
    folder.mkdir()
    for number, uid in enumerate(UIDS, start=1):
        for at in range(3):
            slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
            slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            slice_.SeriesInstanceUID, slice_.SeriesDescription = uid, f"phase {number}"
            slice_.ImagePositionPatient, slice_.Rows, slice_.Columns = [0, 0, at], 4, 4
            array = np.full((4, 4), number, np.int16)
            array[0, 0] = 9
            slice_.PixelData = array.tobytes()
            slice_.save_as(folder / f"IM{number}{at}")
    return folder


def task(columns=("image",), **options) -> Task:
    given = [Field(name="image", kind="image", columns=list(columns), options=options)]
    return registry.checked(
        Task(name="own", inputs=given, targets=[Field(name="ill", kind="category", columns=["ill"])])
    )


def seen(export: Path, own: Task, **columns) -> list[list[float]]:
    """The darkest value of each channel, of each row, less that of air."""
    table = pd.DataFrame({"ill": ["x", "y"], **columns})
    cases = open_cases(table, export.parent, own)
    return [[float(channel.min()) + 1024 for channel in cases.values(row)["image"].array] for row in range(2)]


def test_a_column_beside_the_image_names_the_series(export):
    assert seen(export, task(), image=["export"] * 2, series_uid=UIDS) == [[1], [2]]
    assert seen(export, task(), image=["export"] * 2, image_series_uid=UIDS) == [[1], [2]]
    assert seen(export, task(series_uid="which"), image=["export"] * 2, which=UIDS[::-1]) == [[2], [1]]


def test_a_cell_names_it_itself_or_both_say_the_same(export):
    cells = [f"export#{uid}" for uid in UIDS]
    assert seen(export, task(), image=cells) == [[1], [2]]
    assert seen(export, task(), image=cells, series_uid=[UIDS[0], None]) == [[1], [2]]


def test_beside_a_file_a_uid_only_says_where_it_came_from(export):
    image = index.read_image(f"{export}#{UIDS[0]}")
    nifti.write_image(image, export.parent / "a.nii.gz")
    assert seen(export, task(), image=["a.nii.gz", "export"], series_uid=["1.9.9", UIDS[1]]) == [[1], [2]]


def test_each_channel_its_own_series(export):
    own = task(("late", "early"))
    given = {"late": ["export", f"export#{UIDS[0]}"], "early": [f"export#{UIDS[0]}"] * 2}
    assert seen(export, own, **given, late_series_uid=[UIDS[1], None]) == [[2, 1], [1, 1]]


def test_a_file_that_is_so_called_is_that_file(tmp_path, export):
    (export / "IM10").rename(tmp_path / "a#1.2")
    table = pd.DataFrame({"image": ["a#1.2"]})
    assert IMAGE.open(task().inputs[0], table, tmp_path).read(0).shape == (4, 4)


def test_what_is_wrong_is_told(export):
    with pytest.raises(
        SeriesError, match=r"2 series: 1\.2\.840\.5\.11 \(CT phase 1, 3 files\); 1\.2\.840\.5\.12"
    ) as told:
        seen(export, task(), image=["export"] * 2)
    assert "export#UID or in a column series_uid" in told.value.todo
    with pytest.raises(SeriesError, match=r"holds no series 1\.9"):
        seen(export, task(), image=["export#1.9"] * 2)
    with pytest.raises(MissingFile, match=r"elsewhere#1\.2"):
        seen(export, task(), image=["elsewhere#1.2"] * 2)
    with pytest.raises(TableError, match="names the column 'which'"):
        seen(export, task(series_uid="which"), image=["export"] * 2)
    for wrong in (5, ""):
        with pytest.raises(TaskError, match="series_uid"):
            task(series_uid=wrong)
    with pytest.raises(TaskError, match="field of one column"):
        task(("a", "b"), series_uid="which")


def test_two_series_of_a_folder_are_two_inputs(export):
    """Not one input in two parts, though the folder is the same; and a changed file is noticed."""
    rows = 12
    table = pd.DataFrame({"id": range(rows), "patient": range(rows), "image": "export", "ill": ["x", "y"] * 6,
                          "series_uid": [f"1.2.{at}" for at in range(rows)]})  # fmt: skip
    cases = open_cases(table, export.parent, task())
    assert set(divide(cases, task(), seed=0, calib=False).parts) == {"train", "valid", "test"}
    before = cases.stamp(0)
    assert cases.stamp(0) == before
    assert cases.stamp(1) != before
    (export / "IM10").write_bytes(b"changed")
    assert cases.stamp(0) != before


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/export#1.2.840.5.11", "export-1-2-840-5-11"),
        ("x.y#1.2.840.113619.2.55.3", "x-2-55-3"),
        ("x#1.2.840.9.12345678", "x-9-12345678"),
        ("x#2.25.329800735698586629295641978511506172918", "x-511506172918"),
        ("scan.nii.gz", "scan"),
        ("a#b.png", "a#b"),
        ("#1.png", "#1"),
        ("#1", "#1"),
    ],
)
def test_cases_are_named_by_the_folder_and_the_end_of_the_uid(path, name):
    assert case_name(path) == name
