"""What a word on the command line means: a shipped task, a task file, a table, a folder; and what bad ones get told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from galenic import sources
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.errors import InputError, MissingFile, TaskError
from galenic.core.task import Task
from galenic.formats import index, nifti
from galenic.formats.dicom import find_series
from galenic.values import Geometry, Image, Mask

IMAGE = [Field(name="image", kind="image", columns=["image"])]
LABEL = [Field(name="label", kind="mask", columns=["label"])]
NUMBERS = [Field(name="labs", kind="number", columns=["a", "b"])]
OUTCOME = [Field(name="ill", kind="category", columns=["ill"])]


def put(path: Path, *, mask: bool = False) -> Path:
    array = np.arange(64).reshape(8, 8)
    geometry = Geometry.plain(2, 1.0)
    if mask:
        nifti.write_mask(Mask((array > 40).astype(np.uint8), geometry), path)
    else:
        nifti.write_image(Image(array[np.newaxis].astype(np.float32), geometry), path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three pictures with masks, named by a CSV."""
    rows = []
    for at in range(3):
        put(tmp_path / "scans" / f"{at}.nii.gz")
        put(tmp_path / "scans" / f"{at}_mask.nii.gz", mask=True)
        rows.append({"id": f"c{at}", "image": f"scans/{at}.nii.gz", "label": f"scans/{at}_mask.nii.gz", "age": 40 + at})
    path = tmp_path / "cases.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_every_shipped_task_names_itself_and_checks() -> None:
    assert "hippocampus" in sources.shipped()
    for name in sources.shipped():
        task = sources.load_task(sources.SHIPPED / f"{name}.toml")
        assert task.name == name
        registry.checked(task)


def test_a_shipped_task_whose_data_a_package_holds() -> None:
    found = sources.find("breast_cancer")
    assert (found.task.name, len(found.table), found.split) == ("breast_cancer", 569, None)


def test_a_shipped_task_takes_other_targets() -> None:
    with pytest.raises(TaskError, match="COLUMN:KIND"):
        sources.find("breast_cancer", targets=["diagnosis"])
    found = sources.find("breast_cancer", targets=["diagnosis:category"])
    assert found.task.targets[0].options == {}


def test_a_table_with_a_target_guesses_its_pictures(table: Path) -> None:
    found = sources.find(table, targets=["label:mask"])
    assert [(one.name, one.kind) for one in found.task.inputs] == [("image", "image")]
    assert open_cases(found.table, found.root, registry.checked(found.task)).values(0)["image"].shape == (8, 8)


def test_a_table_with_inputs_named_guesses_nothing(table: Path) -> None:
    found = sources.find(table, inputs=["age:number"], targets=["label:mask"])
    assert [(one.name, one.kind) for one in found.task.inputs] == [("age", "number")]


def test_a_bare_table_finds_the_values_of_its_masks(table: Path) -> None:
    own = Geometry.plain(2, 1.0)
    nifti.write_mask(Mask(np.eye(8, dtype=np.uint8) * 7, own), table.parent / "scans" / "0_mask.nii.gz")
    found = sources.find(table, targets=["label:mask"]).task.targets[0]
    assert found.options["classes"] == {"1": "class 1", "7": "class 7"}
    assert registry.kind("mask").check(found).options["values"] == [1, 7]


def test_a_plain_table_guesses_numbers_and_categories(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"id": range(40), "patient": range(40), "a": rng.normal(size=40), "b": rng.normal(size=40),
         "sex": ["f", "m"] * 20, "smokes": [True, False] * 20, "remark": [f"text {at}" for at in range(40)],
         "ill": ["yes", "no"] * 20}
    )  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    inputs = sources.find(tmp_path / "t.csv", targets=["ill:category"]).task.inputs
    assert [(one.kind, one.columns) for one in inputs] == [
        ("number", ["a", "b"]), ("category", ["sex"]), ("category", ["smokes"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "targets", "message"),
    [
        ({"a": [1.0, 2.0]}, [], "comes with no target"),
        ({"ill": ["x", "y"]}, ["ill:category"], "no column of the table can serve as input"),
    ],
)
def test_a_table_that_makes_no_task_is_told(tmp_path: Path, columns, targets, message) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TaskError, match=message):
        sources.find(tmp_path / "t.csv", targets=targets)


def test_what_is_nothing_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="neither a shipped task nor a file or folder") as caught:
        sources.find("hippocampi")
    assert "hippocampus" in str(caught.value)
    with pytest.raises(MissingFile, match="no task file"):
        sources.find(tmp_path / "absent.toml")
    with pytest.raises(MissingFile, match="no table of cases"):
        sources.find(tmp_path / "absent.csv", targets=["a:category"])


def test_a_task_file_finds_its_table_and_split_beside_it(table: Path) -> None:
    (table.parent / "split.csv").write_text("id,part\nc0,train\n", encoding="utf-8")
    task = Task(name="own", table="cases.csv", split="split.csv", inputs=IMAGE, targets=LABEL)
    task.save(table.parent / "own.toml")
    found = sources.find(table.parent / "own.toml")
    assert found.split == table.parent.resolve() / "split.csv"
    assert open_cases(found.table, found.root, registry.checked(found.task)).ids == ["c0", "c1", "c2"]


def test_a_task_without_data_is_told() -> None:
    with pytest.raises(TaskError, match="neither `data` nor `table`"):
        sources.of_task(Task(name="own", inputs=IMAGE, targets=LABEL))


def test_a_task_file_may_name_a_folder_of_known_layout(table: Path) -> None:
    """The folder's own paths start at the folder, not at the task file."""
    targets = [Field(name="mask", kind="mask", columns=["mask"])]
    Task(name="own", table="scans", inputs=IMAGE, targets=targets).save(table.parent / "own.toml")
    found = sources.find(table.parent / "own.toml")
    values = open_cases(found.table, found.root, registry.checked(found.task)).values(1)
    assert values["image"].source == (table.parent / "scans" / "1.nii.gz").resolve()


def test_a_model_finds_its_folder_of_known_layout_again(table: Path, tmp_path: Path) -> None:
    found = sources.find(table.parent / "scans")
    kept = tmp_path / "model" / "private" / "task.toml"
    found.task.model_copy(update={"table": str(found.place)}).save(kept)
    again = sources.of_model(tmp_path / "model", found.task)
    assert again.root == found.root
    assert again.table.equals(found.table)


def test_a_folder_is_read_by_the_layout_that_knows_it(table: Path) -> None:
    found = sources.find(table.parent / "scans")
    assert found.table["id"].tolist() == ["0", "1", "2"]
    assert found.root == (table.parent / "scans").resolve()
    assert found.warnings
    assert [one.kind for one in found.task.targets] == ["mask"]


def test_a_folder_of_no_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layout that is known here"):
        sources.find(tmp_path)


def test_every_layout_answers_the_three_questions(tmp_path: Path) -> None:
    assert registry.names("layouts")
    for name in registry.names("layouts"):
        layout = registry.get("layouts", name)
        assert layout.recognises(tmp_path) is False
        assert callable(layout.read)
        assert callable(layout.warnings)


def test_files_and_folders_to_predict_are_cases(table: Path) -> None:
    task = registry.checked(Task(name="own", inputs=IMAGE, targets=LABEL))
    scans = table.parent / "scans"
    one = sources.to_predict(task, [scans / "0.nii.gz"])
    assert one.ids == ["0"]
    assert set(one.values(0)) == {"image"}
    both = sources.to_predict(task, [scans, scans / "0.nii.gz"])
    assert len(both) == 7
    assert len(set(both.ids)) == 7  # a name met twice gets a number


def test_a_table_to_predict_needs_no_truth(tmp_path: Path, table: Path) -> None:
    task = registry.checked(Task(name="own", inputs=IMAGE, targets=LABEL))
    pd.read_csv(table).drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    assert sources.to_predict(task, [tmp_path / "new.csv"]).ids == ["c0", "c1", "c2"]


def test_what_cannot_be_predicted_is_told(tmp_path: Path) -> None:
    task = registry.checked(Task(name="own", inputs=IMAGE, targets=LABEL))
    with pytest.raises(MissingFile, match="no file or folder"):
        sources.to_predict(task, [tmp_path / "absent.nii.gz"])
    with pytest.raises(InputError, match="holds nothing that can be read"):
        sources.to_predict(task, [tmp_path])
    plain = Task(name="labs", inputs=NUMBERS, targets=OUTCOME)
    with pytest.raises(InputError, match="one table of cases"):
        sources.to_predict(plain, [tmp_path])


def dicom_scan(folder: Path, at: int) -> None:
    """Three slices of a random CT, 6 x 5."""
    folder.mkdir(parents=True)
    series = pydicom.uid.generate_uid()
    for k in range(3):
        slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        slice_.SeriesInstanceUID, slice_.Rows, slice_.Columns = series, 6, 5
        slice_.ImagePositionPatient = [0, 0, 2.0 * k]
        slice_.PixelData = np.random.default_rng([at, k]).integers(0, 900, (6, 5), np.int16).tobytes()
        slice_.save_as(folder / f"{k}.dcm")


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """The DICOM table of the tutorial: an image cell is the folder of a series, its mask a NIfTI on that grid."""
    rows = []
    for at in range(3):
        dicom_scan(tmp_path / "dicom" / f"p{at}" / "ct", at)
        image = index.read_image(tmp_path / "dicom" / f"p{at}" / "ct")
        for name in ("masks", "second"):
            array = (image.array[0] > -500).astype(np.uint8)
            nifti.write_mask(Mask(array, image.geometry), tmp_path / name / f"p{at}.nii.gz")
        rows.append({"id": f"ct{at}", "patient": f"p{at}", "image": f"dicom/p{at}/ct", "mask": f"masks/p{at}.nii.gz",
                     "other": f"second/p{at}.nii.gz"})  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    return tmp_path / "cases.csv"


def test_a_folder_of_dicom_slices_is_a_picture(hospital: Path) -> None:
    found = sources.find(hospital, targets=["mask:mask"])
    assert [(one.name, one.kind) for one in found.task.inputs] == [("image", "image")]
    cases = open_cases(found.table, found.root, registry.checked(found.task))
    assert cases.values(0)["image"].shape == cases.values(0)["mask"].shape == (3, 6, 5)


def test_what_was_guessed_and_what_was_left_out_is_told(hospital: Path) -> None:
    """A second rater's masks tell the truth: by their content they are no input, whatever their column is called."""
    told = sources.find(hospital, targets=["mask:mask"]).warnings
    assert any("guessed as image input: image" in text for text in told)
    assert any("column other was not taken as an input" in text and "as masks do" in text for text in told)
    named = sources.find(hospital, inputs=["image:image", "other:image"], targets=["mask:mask"])
    assert len(named.task.inputs) == 2
    assert named.warnings == []


@pytest.mark.parametrize("name", ["rater2_mask", "Segmentation", "secondReader", "gt", "annotator_b", "lungLabel"])
def test_a_column_called_like_a_mask_is_no_input(table: Path, name: str) -> None:
    """Here its files are pictures like all others, as a probability map is."""
    frame = pd.read_csv(table)
    frame[name] = frame["image"]
    frame.to_csv(table, index=False)
    found = sources.find(table, targets=["label:mask"])
    assert [one.name for one in found.task.inputs] == ["image"]
    assert any(f"column {name} was not taken" in text for text in found.warnings)


def test_masks_alone_make_no_input(table: Path) -> None:
    frame = pd.read_csv(table).drop(columns=["image", "age"])
    frame["outline"] = frame["label"]
    frame.to_csv(table, index=False)
    with pytest.raises(TaskError, match="no column of the table can serve as input; the column outline was not taken"):
        sources.find(table, targets=["label:mask"])


@pytest.mark.parametrize("name", ["a.nhdr", "a.ima", "a.dicom", "a.mhd", "a.nii.gz", "a.tiff"])
def test_a_file_that_is_not_there_counts_by_its_name(tmp_path: Path, name: str) -> None:
    """So that what is told is the missing file, not a table without inputs."""
    pd.DataFrame({"scan": [name, name], "ill": ["x", "y"]}).to_csv(tmp_path / "t.csv", index=False)
    found = sources.find(tmp_path / "t.csv", targets=["ill:category"])
    assert [(one.name, one.kind) for one in found.task.inputs] == [("scan", "image")]
    with pytest.raises(MissingFile, match="2 file"):
        open_cases(found.table, found.root, registry.checked(found.task))


def test_text_that_is_no_path_is_no_picture(tmp_path: Path) -> None:
    texts = [f"{'cough and fever ' * 400}{at}" for at in range(8)]
    frame = pd.DataFrame({"remark": texts, "folder": ["."] * 8, "a": range(8), "ill": ["x", "y"] * 4})
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = sources.find(tmp_path / "t.csv", targets=["ill:category"])
    assert [(one.name, one.columns) for one in found.task.inputs] == [("numbers", ["a"])]
    assert any("guessed as number input: a" in text for text in found.warnings)


def test_an_export_of_mixed_series_is_a_case_a_series(tmp_path: Path) -> None:
    task = registry.checked(Task(name="own", inputs=IMAGE, targets=LABEL))
    (tmp_path / "export").mkdir()
    for at in range(2):
        dicom_scan(tmp_path / str(at), at)
        for file in (tmp_path / str(at)).iterdir():
            file.rename(tmp_path / "export" / f"{at}{file.name}")
    uids = sorted(series.uid for series in find_series(tmp_path / "export"))
    cases = sources.to_predict(task, [tmp_path / "export"])
    assert cases.ids == [f"export-{uid[-12:].replace('.', '-')}" for uid in uids]
    assert [cases.values(row)["image"].series_uid for row in range(2)] == uids
    one = sources.to_predict(task, [Path(f"{tmp_path / 'export'}#{uids[1]}")])
    assert one.values(0)["image"].series_uid == uids[1]
