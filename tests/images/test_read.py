"""Cells to images and masks: what is read, and what each bad input is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from galenic.core.contract import Field
from galenic.core.errors import (
    GeometryError,
    MissingFile,
    Refused,
    TableError,
    UnsupportedFile,
    ValueProblem,
)
from galenic.formats import nifti, png_tiff
from galenic.images.kinds import IMAGE, MASK
from galenic.images.read import find_classes, locate, same_grid
from galenic.values import Geometry, Image, Mask


def image_field(columns=("image",), **options) -> Field:
    return IMAGE.check(Field(name="scan", kind="image", columns=list(columns), options=options))


def mask_field(columns=("label",), **options) -> Field:
    return MASK.check(Field(name="lesion", kind="mask", columns=list(columns), options=options))


def volume(shape=(4, 5, 6), seed=0, spacing=1.0) -> Image:
    array = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return Image(array, Geometry.plain(len(shape), spacing))


def write_png(path, array) -> None:
    pil = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pil.fromarray(np.asarray(array, np.uint8)).save(path)


def rows(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def read_mask(tmp_path, field, **columns) -> Mask | None:
    return MASK.open(field, rows(**columns), tmp_path).read(0)


def test_relative_and_absolute_paths(tmp_path):
    nifti.write_image(volume(), tmp_path / "a.nii.gz")
    (tmp_path / "far").mkdir()
    nifti.write_image(volume(seed=1), tmp_path / "far" / "b.nii")
    source = IMAGE.open(image_field(), rows(image=["a.nii.gz", str(tmp_path / "far" / "b.nii"), None, " "]), tmp_path)
    assert np.allclose(source.read(0).array, volume().array)
    assert np.allclose(source.read(1).array, volume(seed=1).array)
    assert source.read(2) is None
    assert source.read(3) is None


def test_missing_files_are_counted_and_five_are_named(tmp_path):
    table = rows(id=[f"case{n}" for n in range(8)], image=[f"none{n}.nii" for n in range(8)])
    with pytest.raises(MissingFile) as caught:
        IMAGE.open(image_field(), table, tmp_path)
    told = str(caught.value)
    assert "8 file(s)" in told
    assert "row 5 (case4), column 'image'" in told
    assert str(tmp_path / "none4.nii") in told
    assert "none5" not in told
    assert "3 more" in told


def test_unknown_column_and_patterns(tmp_path):
    for name in ("t1", "t2"):
        nifti.write_image(volume(), tmp_path / f"{name}.nii")
    table = rows(mr_t1=["t1.nii"], mr_t2=["t2.nii"], age=[3])
    with pytest.raises(TableError, match="mr_t1, mr_t2, age"):
        IMAGE.open(image_field(["ct"]), table, tmp_path)
    assert locate(image_field(["mr_*"]), table, tmp_path) == [(tmp_path / "t1.nii", tmp_path / "t2.nii")]


def test_columns_are_channels_on_one_grid(tmp_path):
    nifti.write_image(volume(seed=1), tmp_path / "t1.nii")
    nifti.write_image(volume(seed=2), tmp_path / "t2.nii")
    nifti.write_image(volume((4, 5, 7)), tmp_path / "other.nii")
    nifti.write_image(volume(spacing=2.0), tmp_path / "wide.nii")
    table = rows(t1=["t1.nii"] * 4, t2=["t2.nii", "other.nii", "wide.nii", None])
    field = image_field(["t1", "t2"])
    with pytest.raises(TableError, match="row 4"):
        IMAGE.open(field, table, tmp_path)
    source = IMAGE.open(field, table[:3], tmp_path)
    both = source.read(0)
    assert both.channels == ("t1", "t2")
    assert np.allclose(both.array, np.concatenate([volume(seed=1).array, volume(seed=2).array]))
    with pytest.raises(GeometryError, match=r"\[4, 5, 6\].*\[4, 5, 7\]"):
        source.read(1)
    with pytest.raises(GeometryError, match=r"spacing \[1.0, 1.0, 1.0\] mm.*spacing \[2.0, 2.0, 2.0\] mm"):
        source.read(2)
    with pytest.raises(ValueProblem, match="2 channels"):
        IMAGE.open(image_field(["t1", "t2"], channels=["a", "b", "c"]), table[:1], tmp_path).read(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, bad):
    array = volume().array.copy()
    array[0, 1, 2, 3] = bad
    nifti.write_image(Image(array, Geometry.plain(3, 1.0)), tmp_path / "a.nii")
    with pytest.raises(ValueProblem, match="1 values that are NaN or infinite"):
        IMAGE.open(image_field(), rows(image=["a.nii"]), tmp_path).read(0)


def test_constant_images(tmp_path):
    write_png(tmp_path / "a.png", np.full((9, 9), 7))
    with pytest.raises(ValueProblem, match="constant: every value is 7"):
        IMAGE.open(image_field(), rows(image=["a.png"]), tmp_path).read(0)


def test_four_axes_need_named_channels(tmp_path):
    nib = pytest.importorskip("nibabel")
    array = np.random.default_rng(0).normal(size=(5, 6, 7, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    table = rows(image=["a.nii"])
    with pytest.raises(UnsupportedFile):
        IMAGE.open(image_field(), table, tmp_path).read(0)
    both = IMAGE.open(image_field(channels=["t1", "t2"]), table, tmp_path).read(0)
    assert both.shape == (7, 6, 5)
    assert both.channels == ("t1", "t2")


def test_window_and_modality(tmp_path):
    nifti.write_image(volume(), tmp_path / "a.nii")
    table = rows(image=["a.nii"])
    seen = IMAGE.open(image_field(window=[-0.5, 0.5], modality="ct"), table, tmp_path).read(0)
    assert (seen.modality, seen.unit) == ("CT", "HU")
    assert np.array_equal(seen.array, volume().array.clip(-0.5, 0.5))
    with pytest.raises(ValueProblem, match="within the window"):
        IMAGE.open(image_field(window=[50, 90]), table, tmp_path).read(0)


def test_another_modality_is_refused(tmp_path):
    data = pytest.importorskip("pydicom.data")
    path = data.get_testdata_file("CT_small.dcm", download=False)
    table = rows(image=[path])
    assert IMAGE.open(image_field(modality="CT"), table, tmp_path).read(0).modality == "CT"
    with pytest.raises(Refused, match="modality CT"):
        IMAGE.open(image_field(modality="MR"), table, tmp_path).read(0)


def test_mask_values_become_numbers_in_the_order_of_the_classes(tmp_path):
    array = np.array([[0, 7, 7], [200, 0, 200]], np.uint8)
    write_png(tmp_path / "a.png", array)
    field = mask_field(classes={"200": "tumour", "7": "organ"})
    assert field.options["classes"] == {"1": "organ", "2": "tumour"}
    assert field.options["values"] == [7, 200]
    mask = read_mask(tmp_path, field, label=["a.png"])
    assert mask.array.tolist() == [[0, 1, 1], [2, 0, 2]]
    assert mask.names == {1: "organ", 2: "tumour"}
    assert mask.array.dtype == np.uint8


def test_values_above_a_byte(tmp_path):
    array = np.zeros((3, 4, 5), np.uint32)
    array[0], array[1] = 1035, 70000
    nifti.write_mask(Mask(array, Geometry.plain(3, 1.0)), tmp_path / "a.nii")
    mask = read_mask(tmp_path, mask_field(classes={"1035": "insula", "70000": "rest"}), label=["a.nii"])
    assert np.array_equal(mask.array, np.where(array == 1035, 1, np.where(array == 70000, 2, 0)))


def test_values_not_named_are_listed_with_their_counts(tmp_path):
    write_png(tmp_path / "a.png", [[0, 1, 2], [2, 2, 9]])
    with pytest.raises(ValueProblem) as caught:
        read_mask(tmp_path, mask_field(), label=["a.png"])
    assert "2 (3 voxels), 9 (1 voxels)" in str(caught.value)
    assert "1 (lesion)" in str(caught.value)
    assert "nonzero" in str(caught.value)


def test_nonzero(tmp_path):
    write_png(tmp_path / "a.png", [[0, 1, 2], [0, 255, 9]])
    write_png(tmp_path / "colour.png", np.array([[[0, 0, 0], [0, 9, 0]]]))
    mask = read_mask(tmp_path, mask_field(nonzero=True), label=["a.png"])
    assert mask.array.tolist() == [[0, 1, 1], [0, 1, 1]]
    assert read_mask(tmp_path, mask_field(nonzero=True), label=["colour.png"]).array.tolist() == [[0, 1]]


def test_agreed_counts_raters(tmp_path):
    rng = np.random.default_rng(0)
    raters = [rng.integers(0, 2, (6, 7)) for _ in range(4)]
    for number, own in enumerate(raters):
        write_png(tmp_path / f"r{number}.png", own * 255)
    columns = [f"mask{number}" for number in range(4)]
    cells = {column: [f"r{number}.png"] for number, column in enumerate(columns)}
    votes = sum(raters)
    for least in (1, 2, 4):
        mask = read_mask(tmp_path, mask_field(columns, agreed=least), **cells)
        assert np.array_equal(mask.array, votes >= least)
    by_pattern = read_mask(tmp_path, mask_field(["mask?"], agreed=2), **cells)
    assert np.array_equal(by_pattern.array, votes >= 2)
    cells["mask3"] = [None]
    three = read_mask(tmp_path, mask_field(columns, agreed=2), **cells)
    assert np.array_equal(three.array, sum(raters[:3]) >= 2)
    one = {**cells, "mask1": [None], "mask2": [None]}
    assert read_mask(tmp_path, mask_field(columns, agreed=2), **one) is None
    write_png(tmp_path / "r0.png", np.ones((5, 7)))
    with pytest.raises(GeometryError, match="two grids"):
        read_mask(tmp_path, mask_field(columns, agreed=2), **cells)


def test_union_joins_a_folder_of_objects(tmp_path):
    whole = np.zeros((9, 9), np.uint8)
    for number in range(5):
        own = np.zeros((9, 9), np.uint8)
        own[number, 2 * number : 2 * number + 2] = 255
        whole |= own
        write_png(tmp_path / "objects" / f"{number}.png", own)
    (tmp_path / "objects" / ".hidden").write_text("no mask")
    mask = read_mask(tmp_path, mask_field(union=True), label=["objects"])
    assert np.array_equal(mask.array, whole > 0)
    assert mask.source == tmp_path / "objects"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFile, match="holds no mask"):
        read_mask(tmp_path, mask_field(union=True), label=["empty"])
    write_png(tmp_path / "a.png", whole)
    with pytest.raises(UnsupportedFile, match="no folder"):
        read_mask(tmp_path, mask_field(union=True), label=["a.png"])


def test_same_grid_names_both(tmp_path):
    image = volume()
    same_grid(image, Mask(np.zeros((4, 5, 6), np.uint8), Geometry.plain(3, 1.0)), "a and b")
    same_grid(image, Mask(np.zeros((4, 5, 6), np.uint8), Geometry.plain(3)), "a and b")  # its spacing is unknown
    with pytest.raises(GeometryError, match=r"a and b .*shape \[4, 5, 6\].*shape \[4, 5, 7\], spacing unknown"):
        same_grid(image, Mask(np.zeros((4, 5, 7), np.uint8), Geometry.plain(3)), "a and b")
    moved = Geometry(np.ones(3), np.array([0, 0, 5.0]), image.geometry.direction)
    with pytest.raises(GeometryError, match="origin"):
        same_grid(image, Mask(np.zeros((4, 5, 6), np.uint8), moved), "a and b")


def test_find_classes(tmp_path):
    write_png(tmp_path / "a.png", [[0, 4]])
    write_png(tmp_path / "b.png", [[0, 2]])
    write_png(tmp_path / "none.png", [[0, 0]])
    field = Field(name="lesion", kind="mask", columns=["label"])
    assert find_classes(field, rows(label=["a.png", "b.png", None]), tmp_path) == {"2": "class 2", "4": "class 4"}
    assert find_classes(field, rows(label=["a.png"]), tmp_path) == {"4": "lesion"}
    with pytest.raises(ValueProblem, match="empty"):
        find_classes(field, rows(label=["none.png"]), tmp_path)


def test_pictures_keep_colour(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (6, 7, 3))
    write_png(tmp_path / "a.png", array)
    image = IMAGE.open(image_field(), rows(image=["a.png"]), tmp_path).read(0)
    assert np.array_equal(np.moveaxis(image.array, 0, -1), array)
    assert np.array_equal(image.array, png_tiff.read_image(tmp_path / "a.png").array)


@pytest.mark.shared
def test_public_sets_are_read(shared_data):
    root = shared_data / "lidc-nodule-slices" / "LIDC-IDRI-slices"
    nodule = sorted(root.glob("*/nodule-1"))[0]
    name = sorted(path.name for path in (nodule / "mask-0").iterdir())[0]
    columns = [f"mask-{number}" for number in range(4)]
    cells = {column: [str(nodule / column / name)] for column in columns}
    mask = read_mask(root, mask_field(columns, agreed=2), **cells)
    image = IMAGE.open(image_field(), rows(image=[str(nodule / "images" / name)]), root).read(0)
    same_grid(image, mask, name)
    assert 0 < mask.array.mean() < 0.5
    root = shared_data / "dsb2018-nuclei" / "stage1_train"
    case = sorted(root.iterdir())[0].name
    nuclei = read_mask(root, mask_field(union=True), label=[f"{case}/masks"])
    assert nuclei.array.any()
    root = shared_data / "msd-hippocampus"
    name = sorted(path.name for path in (root / "labelsTr").glob("h*.nii.gz"))[0]
    hippo = read_mask(root / "labelsTr", mask_field(classes=["anterior", "posterior"]), label=[name])
    scan = IMAGE.open(image_field(), rows(image=[name]), root / "imagesTr").read(0)
    same_grid(scan, hippo, name)
    assert set(np.unique(hippo.array)) == {0, 1, 2}
