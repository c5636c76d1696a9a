"""Each public set as a table of cases, on the real files."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from galenic.catalog import cases, folder, load, names, present, split_path
from galenic.catalog.entry import set_digest
from galenic.catalog.tables import EMPTY_MASK_BYTES
from galenic.core.errors import MissingFile
from galenic.core.files import sha256

DOWNLOADED = [name for name in names() if load(name).files]
HIPPOCAMPUS_TEST = (
    "003 019 024 036 051 064 065 067 070 075 087 089 091 095 096 102 105 107 123 127 145 148 154 157 160 162 170 189 "
    "205 219 228 235 259 261 263 276 279 282 289 290 301 335 349 355 361 363 366 368 373 374 393 394"
)
PARTS = {
    "cxr-lungs": {"train": 42, "test": 14},
    "chase-db1": {"train": 20, "test": 8},
    "dsb2018-nuclei": {"train": 49, "test": 17},
    "isbi2012-em": {"train": 18, "valid": 2, "test": 6},
    "lidc-nodule-slices": {"train": 469, "test": 73},
    "tcga-lgg-mri": {"train": 46, "test": 16},
}


@pytest.fixture
def cache(shared_data, monkeypatch):
    monkeypatch.setenv("GALENIC_DATA", str(shared_data))
    return shared_data


@pytest.mark.shared
@pytest.mark.parametrize("name", DOWNLOADED)
def test_the_files_have_the_digests_of_the_catalogue(cache, name):
    entry = load(name)
    assert entry.files is not None
    assert present(entry)
    found = {file.path: sha256(folder(name) / file.path) for file in entry.manifest()}
    assert set_digest(found.items()) == entry.files.digest
    assert all(file.sha256 in ("", found[file.path]) for file in entry.manifest())


@pytest.mark.shared
def test_the_catalogue_is_what_its_script_would_write(cache):
    script = Path(__file__).parents[2] / "benchmarks" / "make_catalog.py"
    ran = subprocess.run([sys.executable, str(script), str(cache), "--check"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


@pytest.mark.shared
@pytest.mark.parametrize("name", DOWNLOADED)
def test_each_table_has_its_rows_and_files(cache, name):
    entry, frame = load(name), cases(name)
    assert entry.table is not None
    assert len(frame) == entry.table.rows
    leading = [column for column in ("id", "patient", "site", "split") if column in frame]
    assert list(frame.columns[: len(leading)]) == leading
    assert frame["id"].is_unique
    stated = [*entry.table.files, *entry.table.text, *entry.table.rename, *entry.table.numbers]
    assert frame[stated].notna().all(axis=None)
    for column in entry.table.files:
        paths = [Path(path) for path in frame[column]]
        assert all(path.is_absolute() and path.exists() for path in paths)
        assert all(path.is_relative_to((cache / name).resolve()) for path in paths)


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(PARTS))
def test_each_split_has_its_parts_and_no_patient_in_two(cache, name):
    frame = cases(name)
    assert frame["split"].value_counts().to_dict() == PARTS[name]
    if "patient" in frame:
        assert frame["patient"].notna().all()
        assert (frame.groupby("patient")["split"].nunique() == 1).all()


@pytest.mark.shared
def test_only_the_membrane_split_leaves_rows_out_and_it_leaves_gaps(cache):
    for name in sorted(PARTS.keys() - {"isbi2012-em"}):
        assert cases(name)["split"].notna().all()
    frame = cases("isbi2012-em")
    assert list(frame["slice"]) == list(range(30))
    assert list(frame.loc[frame["split"].isna(), "slice"]) == [18, 19, 22, 23]
    parts = dict(zip(frame["slice"], frame["split"], strict=True))
    for step in (1, 2):
        assert all(len({parts[k], parts[k + step]} & {"train", "valid", "test"}) < 2 for k in range(30 - step))


def test_the_hippocampus_split_is_the_one_of_the_comparison():
    lines = split_path("hippocampus.csv").read_text().splitlines()
    assert lines[0] == "id,part"
    parts = dict(line.split(",") for line in lines[1:])
    test = [name for name, part in parts.items() if part == "test"]
    assert test == [f"hippocampus_{number}" for number in HIPPOCAMPUS_TEST.split()]
    assert len(parts) == 260
    assert set(parts.values()) == {"train", "test"}
    listed = {Path(file.path).name.removesuffix(".nii.gz") for file in load("msd-hippocampus").manifest()}
    assert set(parts) == listed


def test_an_unknown_split_lists_what_there_is():
    with pytest.raises(MissingFile, match=r"hippocampus\.csv"):
        split_path("none.csv")


@pytest.mark.shared
def test_nodule_slices_are_those_of_the_published_disc(cache):
    """The Dice of a fixed disc and of the raters among themselves, known from another tool: 0.527 and 0.796."""
    from PIL import Image

    frame = cases("lidc-nodule-slices")
    columns = [f"mask_{rater}" for rater in range(4)]
    row, column = np.ogrid[:128, :128]
    disc = (row - 64) ** 2 + (column - 64) ** 2 <= 36
    by_disc, by_raters = [], []
    for masks, raters in zip(frame[columns].to_numpy(), frame["raters"], strict=True):
        drawn = np.stack([np.asarray(Image.open(path)) > 0 for path in masks])  # [rater, row, column]
        marked = drawn[drawn.any(axis=(1, 2))]
        assert len(marked) == raters >= 3
        by_disc.append(_dice(disc, drawn.sum(axis=0) >= 2))
        by_raters.append(np.mean([_dice(a, b) for a, b in combinations(marked, 2)]))
    assert np.mean(by_disc) == pytest.approx(0.527, abs=0.001)
    assert np.mean(by_raters) == pytest.approx(0.796, abs=0.001)
    test = frame["split"].to_numpy() == "test"
    assert np.mean(np.array(by_disc)[test]) == pytest.approx(0.581, abs=0.001)
    assert np.mean(np.array(by_raters)[test]) == pytest.approx(0.773, abs=0.001)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.shared
def test_empty_nodule_masks_are_told_by_their_size(cache):
    from PIL import Image

    listed = load("lidc-nodule-slices").manifest()
    for file in [file for file in listed if "/mask-" in file.path][::7]:
        empty = Image.open(cache / "lidc-nodule-slices" / file.path).getbbox() is None
        assert empty == (file.bytes == EMPTY_MASK_BYTES)


@pytest.mark.shared
def test_columns_say_in_words_what_the_files_say_in_codes(cache):
    lungs = cases("cxr-lungs").set_index("id")
    assert lungs["site"].value_counts().to_dict() == {"montgomery": 32, "shenzhen": 24}
    assert lungs.loc["CHNCXR_0327_1", "tuberculosis"] == "yes"
    assert lungs.loc["MCUCXR_0001_0", "tuberculosis"] == "no"
    retina = cases("chase-db1").set_index("id")
    assert retina.loc["01L", "eye"] == "left"
    assert sorted(set(retina["patient"])) == [f"{child:02d}" for child in range(1, 15)]
    assert cases("busi-ultrasound")["class"].value_counts().to_dict() == {"malignant": 24, "benign": 18, "normal": 5}


@pytest.mark.shared
def test_glioma_has_its_clinical_codes_by_patient(cache):
    frame = cases("tcga-lgg-mri").set_index("patient")
    first = frame.loc["TCGA_CS_4941"]
    assert (first["RNASeqCluster"], first["age_at_initial_pathologic"], first["death01"]) == ("2", 67.0, "1")
    assert frame["RPPACluster"].isna().any()
    assert frame["site"].isin(["CS", "DU", "EZ", "FG", "HT"]).all()


@pytest.mark.shared
def test_brain_series_belong_to_the_patients_their_headers_name(cache):
    import pydicom

    for _, row in cases("brain-mri-dicom").iterrows():
        header = pydicom.dcmread(Path(row["image"]) / "1.dcm", stop_before_pixels=True)
        assert header.PatientID == row["patient"]


@pytest.mark.shared
def test_each_nucleus_has_its_file(cache):
    counts = [len(list(Path(masks).glob("*.png"))) for masks in cases("dsb2018-nuclei")["masks"]]
    assert sum(counts) == 1386
    assert min(counts) >= 1


@pytest.mark.shared
def test_heart_disease_is_the_four_hospitals_with_their_known_counts(cache):
    """Rows and shares of disease as the repository's description gives them, but for two rows that stand twice."""
    frame = cases("heart-disease")
    counts = {"cleveland": (303, 139), "budapest": (293, 106), "switzerland": (123, 115), "long-beach": (199, 148)}
    assert frame["site"].value_counts().to_dict() == {site: rows for site, (rows, _) in counts.items()}
    ill = frame[frame["disease"] == "yes"]["site"].value_counts().to_dict()
    assert ill == {site: diseased for site, (_, diseased) in counts.items()}
    assert not frame.drop(columns="id").duplicated().any()
    assert frame[["trestbps", "chol"]].min().min() > 50
    swiss = frame[frame["site"] == "switzerland"]
    assert swiss["chol"].isna().all()
    assert frame.loc[frame["id"] == "cleveland-000", ["age", "sex", "cp", "thal"]].iloc[0].tolist() == [
        63.0, "male", "typical angina", "fixed defect",
    ]  # fmt: skip
    for column in ("cp", "sex"):
        assert frame[column].notna().all()
    assert set(frame["thal"].dropna()) == {"normal", "fixed defect", "reversible defect"}


def test_sets_may_share_a_folder_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path))
    assert folder("heart-disease") == tmp_path / "flamby"
    assert folder("msd-hippocampus") == tmp_path / "msd-hippocampus"
    assert folder("toy") == tmp_path / "toy"
    assert all(file.path.startswith("heart/") for file in load("heart-disease").manifest())


def test_breast_cancer_comes_from_its_package():
    frame = cases("breast-cancer-wisconsin")
    assert frame["diagnosis"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    numbers = frame.drop(columns=["id", "diagnosis"])
    assert numbers.shape == (569, 30)
    assert np.isfinite(numbers.to_numpy()).all()
    malignant = frame.loc[frame["diagnosis"] == "malignant", "mean radius"]
    assert malignant.mean() > 15 > frame.loc[frame["diagnosis"] == "benign", "mean radius"].mean()
