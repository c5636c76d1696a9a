"""Folders of known layout become tables and tasks, and bad ones get told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.errors import (
    MissingFile,
    TableError,
    TaskError,
    UnreadableFile,
    UnsupportedFile,
    ValueProblem,
)
from galenic.formats import nifti, png_tiff
from galenic.images.layouts import CLASS_FOLDERS, NNUNET, PAIRS, stem
from galenic.values import Geometry, Image, Mask

SIDE = 6


def put_image(path: Path, *, channels: int = 1, seed: int = 0) -> Path:
    array = np.random.default_rng(seed).normal(size=(channels, SIDE, SIDE, SIDE)).astype(np.float32)
    nifti.write_image(Image(array, Geometry.plain(3, 1.0)), path)
    return path


def put_mask(path: Path, *values: int) -> Path:
    array = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    for at, value in enumerate(values):
        array[at] = value
    nifti.write_mask(Mask(array, Geometry.plain(3, 1.0)), path)
    return path


def put_picture(path: Path, *, seed: int = 0) -> Path:
    array = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
    png_tiff.write_mask(Mask(array, Geometry.plain(2)), path)
    return path


Build = Callable[..., Path]


@pytest.fixture
def decathlon(tmp_path: Path) -> Build:
    """A folder as nnU-Net wants it; `names` are the image files of each case, {} for its number."""

    def build(told: dict[str, Any] | None = None, names: tuple[str, ...] = ("case_{}_0000",), cases: int = 3) -> Path:
        folder = tmp_path / "Task99_thing"
        for case in range(cases):
            for at, name in enumerate(names):
                put_image(folder / "imagesTr" / f"{name.format(case)}.nii.gz", seed=10 * case + at)
            put_mask(folder / "labelsTr" / f"case_{case}.nii.gz", 1, 2)
        if told is not None:
            (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
        return folder

    return build


V1 = {"labels": {"0": "background", "1": "front", "2": "back"}, "modality": {"0": "MRI"}}
V2 = {"labels": {"background": 0, "front": 1, "back": 2}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}


@pytest.mark.parametrize(("told", "modality"), [(V1, "MR"), (V2, "CT")])
@pytest.mark.parametrize("name", ["case_{}_0000", "case_{}"])
def test_both_versions_and_both_ways_to_name_give_one_task(decathlon: Build, told, modality, name) -> None:
    folder = decathlon(told, (name,))
    assert [layout.recognises(folder) for layout in (NNUNET, PAIRS, CLASS_FOLDERS)] == [True, False, False]
    table, task = NNUNET.read(folder)
    assert table["id"].tolist() == ["case_0", "case_1", "case_2"]
    task = registry.checked(task)
    assert task.targets[0].options["classes"] == {"1": "front", "2": "back"}
    assert task.inputs[0].options["modality"] == modality
    cases = open_cases(table, folder, task)
    for row in range(3):
        values = cases.values(row)
        assert values["image"].shape == values["label"].shape == (SIDE,) * 3
        expected = nifti.read_image(folder / "imagesTr" / f"{name.format(row)}.nii.gz").array
        np.testing.assert_array_equal(values["image"].array, expected)
    assert set(np.unique(cases.values(0)["label"].array)) == {0, 1, 2}


def test_channels_in_files_of_their_own(decathlon: Build) -> None:
    told = V2 | {"channel_names": {"1": "FLAIR", "0": "T1"}}
    folder = decathlon(told, ("case_{}_0000", "case_{}_0001"))
    table, task = NNUNET.read(folder)
    assert task.inputs[0].columns == ["image_0000", "image_0001"]
    image = open_cases(table, folder, registry.checked(task)).values(1)["image"]
    assert image.channels == ("T1", "FLAIR")
    assert image.modality == "MR"
    second = nifti.read_image(folder / "imagesTr" / "case_1_0001.nii.gz").array[0]
    np.testing.assert_array_equal(image.array[1], second)


def test_channels_in_the_fourth_axis_of_one_file(decathlon: Build) -> None:
    told = V1 | {"modality": {"0": "CT", "1": "PET"}}
    folder = decathlon(told, ())
    for case in range(3):
        put_image(folder / "imagesTr" / f"case_{case}.nii.gz", channels=2)
    table, task = NNUNET.read(folder)
    image = open_cases(table, folder, registry.checked(task)).values(0)["image"]
    assert image.array.shape == (2, SIDE, SIDE, SIDE)
    assert task.inputs[0].options == {"channels": ["CT", "PET"]}  # two modalities are none


def test_a_name_that_ends_in_four_digits_is_no_channel(tmp_path: Path) -> None:
    for case in ("scan_0001", "scan_0002"):
        put_image(tmp_path / "imagesTr" / f"{case}.nii.gz")
        put_mask(tmp_path / "labelsTr" / f"{case}.nii.gz", 1)
    table, task = NNUNET.read(tmp_path)
    assert table["id"].tolist() == ["scan_0001", "scan_0002"]
    assert task.inputs[0].columns == ["image"]


def test_without_dataset_json_the_values_name_the_classes(decathlon: Build) -> None:
    folder = decathlon(None)
    assert NNUNET.read(folder)[1].targets[0].options == {"classes": {"1": "class 1", "2": "class 2"}}
    assert any("no dataset.json" in text for text in NNUNET.warnings(folder))


def test_images_without_masks_are_not_used_and_that_is_said(decathlon: Build) -> None:
    folder = decathlon(V2)
    assert NNUNET.warnings(folder) == []
    put_image(folder / "imagesTs" / "case_9_0000.nii.gz")
    assert "the 1 files in imagesTs are not used" in NNUNET.warnings(folder)[0]
    assert len(NNUNET.read(folder)[0]) == 3


def test_hidden_files_are_left_out(decathlon: Build) -> None:
    folder = decathlon(V1, ("case_{}",))
    (folder / "imagesTr" / "._case_0.nii.gz").write_bytes(b"what a Mac leaves")
    (folder / "labelsTr" / "._case_0.nii.gz").write_bytes(b"what a Mac leaves")
    assert len(NNUNET.read(folder)[0]) == 3


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("labelsTr/case_1.nii.gz", "1 images have no mask"),
        ("imagesTr/case_2_0000.nii.gz", "1 masks have no image"),
    ],
)
def test_half_a_case_is_told_by_name(decathlon: Build, remove, message) -> None:
    folder = decathlon(V2)
    (folder / remove).unlink()
    with pytest.raises(MissingFile, match=message) as caught:
        NNUNET.read(folder)
    assert Path(remove).name.split(".")[0].removesuffix("_0000") in str(caught.value)


def test_a_missing_channel_is_told(decathlon: Build) -> None:
    folder = decathlon(V2 | {"channel_names": {"0": "T1", "1": "T2"}}, ("case_{}_0000", "case_{}_0001"))
    (folder / "imagesTr" / "case_1_0001.nii.gz").unlink()
    with pytest.raises(TableError, match="case_1"):
        NNUNET.read(folder)


def test_channels_named_and_files_must_agree(decathlon: Build) -> None:
    folder = decathlon(V2 | {"channel_names": {"0": "a", "1": "b", "2": "c"}}, ("case_{}_0000", "case_{}_0001"))
    with pytest.raises(TableError, match="names 3 channels, and the cases have 2 files"):
        NNUNET.read(folder)


def test_an_empty_folder_has_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    with pytest.raises(MissingFile, match="no image to learn from"):
        NNUNET.read(tmp_path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (V2 | {"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "is a region"),
        (V2 | {"labels": {"background": 0, "front": 1, "ignore": 2}}, "to be ignored"),
        (V2 | {"labels": {"background": 0, "front": 1, "back": 1}}, "each value once"),
        (V2 | {"labels": {"background": 0, "front": "one"}}, "each value once"),
        (V2 | {"labels": {"background": 0}}, "background alone"),
        (V2 | {"labels": None}, "names no labels"),
        (V2 | {"channel_names": {"first": "CT"}}, "channels"),
        (V2 | {"channel_names": ["CT"]}, "channels"),
        (V2 | {"dataset": {"case_0": {"images": ["/elsewhere/a.nii"], "label": "b.nii"}}}, "under 'dataset'"),
    ],
)
def test_what_is_not_learnt_from_dataset_json_is_refused_clearly(decathlon: Build, told, message) -> None:
    with pytest.raises(TaskError, match=message):
        NNUNET.read(decathlon(told))


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\udcff", "[" * 100_000])
def test_a_broken_dataset_json_is_our_error(decathlon: Build, text) -> None:
    folder = decathlon(V2)
    (folder / "dataset.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UnreadableFile, match=r"dataset\.json"):
        NNUNET.read(folder)


def test_a_value_that_dataset_json_does_not_name_is_found_when_read(decathlon: Build) -> None:
    folder = decathlon(V2 | {"labels": {"background": 0, "front": 1}})
    table, task = NNUNET.read(folder)
    with pytest.raises(ValueProblem, match="does not name: 2"):
        open_cases(table, folder, registry.checked(task)).values(0)


@pytest.mark.shared
def test_the_decathlons_own_folder(shared_data: Path) -> None:
    folder = next((shared_data / "msd-hippocampus").rglob("imagesTr")).parent
    assert NNUNET.recognises(folder)
    table, task = NNUNET.read(folder)
    assert len(table) == 260
    assert list(task.targets[0].options["classes"]) == ["1", "2"]
    values = open_cases(table.head(1), folder, registry.checked(task)).values(0)
    assert values["image"].shape == values["label"].shape


@pytest.mark.parametrize("ending", ["_mask", "_seg", "_label", "-label", "_MASK"])
def test_pairs_side_by_side(tmp_path: Path, ending) -> None:
    for case in "abc":
        put_image(tmp_path / f"{case}.nii.gz", seed=ord(case))
        put_mask(tmp_path / f"{case}{ending}.nii.gz", 1, 4)
    assert [layout.recognises(tmp_path) for layout in (NNUNET, PAIRS, CLASS_FOLDERS)] == [False, True, False]
    table, task = PAIRS.read(tmp_path)
    assert table["id"].tolist() == ["a", "b", "c"]
    assert task.targets[0].options["classes"] == {"1": "class 1", "4": "class 4"}
    values = open_cases(table, tmp_path, registry.checked(task)).values(2)
    assert values["mask"].array[1].max() == 2  # the second class, whatever the file's value
    np.testing.assert_array_equal(values["image"].array, nifti.read_image(tmp_path / "c.nii.gz").array)
    assert PAIRS.warnings(tmp_path)


def test_a_pairs_image_and_mask_may_be_of_two_formats(tmp_path: Path) -> None:
    for case in range(2):
        put_picture(tmp_path / f"{case}.tif")
        array = np.full((SIDE, SIDE), 0, np.uint8)
        array[2:4] = 255
        png_tiff.write_mask(Mask(array, Geometry.plain(2)), tmp_path / f"{case}_mask.png")
    table, task = PAIRS.read(tmp_path)
    assert task.targets[0].options["classes"] == {"255": "mask"}
    assert open_cases(table, tmp_path, registry.checked(task)).values(0)["mask"].array.sum() == 2 * SIDE


def test_pairs_that_are_not_whole_are_told(tmp_path: Path) -> None:
    put_image(tmp_path / "a.nii.gz")
    put_mask(tmp_path / "a_mask.nii.gz", 1)
    put_image(tmp_path / "b.nii.gz")
    with pytest.raises(MissingFile, match=r"1 images have no mask .*: b"):
        PAIRS.read(tmp_path)
    (tmp_path / "b.nii.gz").unlink()
    put_mask(tmp_path / "c_mask.nii.gz", 1)
    with pytest.raises(MissingFile, match=r"1 masks have no image .*: c"):
        PAIRS.read(tmp_path)
    (tmp_path / "c_mask.nii.gz").unlink()
    put_mask(tmp_path / "a_seg.nii.gz", 1)
    with pytest.raises(TableError, match="both the mask of a"):
        PAIRS.read(tmp_path)


def test_a_mask_as_jpeg_is_refused(tmp_path: Path) -> None:
    put_picture(tmp_path / "a.png")
    (tmp_path / "a_mask.jpg").write_bytes(b"\xff\xd8\xff")
    assert PAIRS.recognises(tmp_path)
    with pytest.raises(UnsupportedFile, match="JPEG"):
        PAIRS.read(tmp_path)


def test_empty_masks_alone_name_no_class(tmp_path: Path) -> None:
    put_image(tmp_path / "a.nii.gz")
    put_mask(tmp_path / "a_mask.nii.gz")
    with pytest.raises(ValueProblem, match="every mask of mask is empty"):
        PAIRS.read(tmp_path)


def test_a_folder_a_class_becomes_rows_that_a_network_learns(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        for at in range(2):
            put_picture(tmp_path / name / f"{at}.png", seed=at)
    assert [layout.recognises(tmp_path) for layout in (NNUNET, PAIRS, CLASS_FOLDERS)] == [False, False, True]
    table, task = CLASS_FOLDERS.read(tmp_path)
    assert registry.choose_network(registry.checked(task), None)[0] == "resnet"
    assert table["id"].tolist() == ["benign/0.png", "benign/1.png", "malignant/0.png", "malignant/1.png"]
    assert task.targets[0].options == {"labels": ["benign", "malignant"]}
    values = open_cases(table, tmp_path, registry.checked(task)).values(3)
    assert (values["category"], values["image"].shape) == ("malignant", (SIDE, SIDE))


@pytest.mark.parametrize("names", [("images", "masks"), ("train", "test"), ("imagesTr", "imagesTs"), ("only",), ()])
def test_folders_that_name_no_classes_are_not_taken_for_classes(tmp_path: Path, names) -> None:
    for name in names:
        for at in range(2):
            put_picture(tmp_path / name / f"{at}.png", seed=at)
    assert not CLASS_FOLDERS.recognises(tmp_path)


def test_patients_with_image_and_mask_are_no_classes(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        put_picture(tmp_path / patient / "scan.png")
        put_picture(tmp_path / patient / "scan_mask.png")
    assert not CLASS_FOLDERS.recognises(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", "a"), ("a.b.nii", "a.b"), ("A.PNG", "A"), ("a.txt", ""), ("a", ""), ("a.gz", "")],
)
def test_stems(name, expected) -> None:
    assert stem(Path(name)) == expected
