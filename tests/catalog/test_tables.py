"""Each public set as a table of cases, on the real files."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from galenic.catalog import cases, folder, load, names, present, split_path
from galenic.catalog.entry import set_digest
from galenic.catalog.near import ALIKE, words
from galenic.catalog.tables import EMPTY_MASK_BYTES
from galenic.core.errors import InputError, MissingFile, UnreadableFile
from galenic.core.files import sha256
from galenic.formats import index

DOWNLOADED = [name for name in names() if load(name).files]
TABLES = [(name, None) for name in DOWNLOADED if load(name).table]
TABLES += [(name, table) for name in DOWNLOADED for table in load(name).tables]
HIPPOCAMPUS_TEST = (
    "003 019 024 036 051 064 065 067 070 075 087 089 091 095 096 102 105 107 123 127 145 148 154 157 160 162 170 189 "
    "205 219 228 235 259 261 263 276 279 282 289 290 301 335 349 355 361 363 366 368 373 374 393 394"
)
LEFT_OUT = {"cinc2017-af-subset": {"samples"}}  # files that must be there, of which the table needs no column
PARTS = {
    "bccd": {"train": 110, "valid": 35, "test": 45},
    "challenge2012-set-a": {"train": 3200, "test": 800},
    "cxr-lungs": {"train": 42, "test": 14},
    "chase-db1": {"train": 20, "test": 8},
    "dsb2018-nuclei": {"train": 49, "test": 17},
    "isbi2012-em": {"train": 18, "valid": 2, "test": 6},
    "lidc-nodule-slices": {"train": 469, "test": 73},
    "symptom-disease": {"train": 910, "test": 243},
    "mitdb-subset": {"train": 5958, "valid": 1987, "test": 7632},
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
@pytest.mark.parametrize(("name", "table"), TABLES)
def test_each_table_has_its_rows_and_files(cache, name, table):
    plan, frame = load(name).table_of(table), cases(name, table=table)
    assert len(frame) == plan.rows
    leading = [column for column in ("id", "patient", "site", "split") if column in frame]
    assert list(frame.columns[: len(leading)]) == leading
    assert frame["id"].is_unique
    stated = [*plan.files, *plan.text, *plan.rename, *plan.numbers]
    stated = [column for column in stated if column not in LEFT_OUT.get(name, ())]
    assert frame[stated].notna().all(axis=None)
    for column in (own for own in plan.files if own in stated):
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


def test_every_set_that_is_downloaded_has_a_table():
    assert {name for name, _ in TABLES} == set(DOWNLOADED)


@pytest.mark.parametrize("table", [None, "pathmnist"])
def test_a_set_of_several_tables_lists_them(table):
    with pytest.raises(InputError, match="name one as `table`") as caught:
        cases("medmnist", table=table)
    assert caught.value.allowed == "breastmnist, retinamnist"


@pytest.mark.shared
def test_medmnist_has_its_official_parts_and_says_in_words_which_code_is_malignant(cache):
    """Counts of the paper's table 2 (Yang et al. 2023), and the archive's own code: 0 is malignant."""
    breast, retina = (cases("medmnist", table=name) for name in ("breastmnist", "retinamnist"))
    assert breast["split"].value_counts().to_dict() == {"train": 546, "valid": 78, "test": 156}
    assert retina["split"].value_counts().to_dict() == {"train": 1080, "valid": 120, "test": 400}
    assert breast["finding"].value_counts().to_dict() == {"normal or benign": 570, "malignant": 210}
    with np.load(cache / "medmnist" / "breastmnist.npz", allow_pickle=False) as held:
        codes, picture = held["test_labels"].ravel(), held["test_images"][7]
    test = breast[breast["split"] == "test"]
    assert ((test["finding"] == "malignant").to_numpy() == (codes == 0)).all()
    read = index.read_image(test["image"].iloc[7])
    assert np.array_equal(read.array[0], picture)


@pytest.mark.shared
def test_a_damaged_archive_of_medmnist_is_told(cache, tmp_path):
    for file in load("medmnist").manifest():
        (tmp_path / file.path).write_bytes(bytes(file.bytes))
    with pytest.raises(UnreadableFile, match="archive of the catalogue"):
        cases("medmnist", tmp_path, "retinamnist")


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
def test_a_row_a_nodule_with_its_largest_slice_and_what_it_was_rated(cache):
    """92 nodules rated 1-2 or 4-5: 13 + 38 and 26 + 15; the area is counted anew for every eighth."""
    from PIL import Image

    frame = cases("lidc-nodule-slices", table="nodules")
    assert frame["rating"].value_counts().to_dict() == {2: 38, 4: 26, 5: 15, 1: 13}
    assert frame["malignancy"].value_counts().to_dict() == {"benign": 51, "malignant": 41}
    assert not frame.duplicated(["patient", "nodule"]).any()
    for image, slice_, area in frame.loc[::8, ["image", "slice", "area_px"]].itertuples(index=False):
        by_two, by_one = {}, {}
        for path in Path(image).parent.glob("*.png"):
            masks = [np.asarray(Image.open(path.parents[1] / f"mask-{rater}" / path.name)) > 0 for rater in range(4)]
            votes, number = np.sum(masks, axis=0), int(path.stem.split("-")[1])
            by_two[number], by_one[number] = int((votes >= 2).sum()), int((votes >= 1).sum())
        areas = by_two if any(by_two.values()) else by_one
        assert areas[slice_] == max(areas.values()) == area
    larger = frame.groupby("malignancy")["area_px"].median()
    assert larger["malignant"] > 2 * larger["benign"]


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
def test_symptom_texts_stand_once_and_near_duplicates_in_one_part(cache):
    frame = cases("symptom-disease")
    assert frame["disease"].nunique() == 24
    assert frame["text"].map(words).is_unique
    assert (frame.groupby("family")["disease"].nunique() == 1).all()
    assert (frame.groupby("family")["split"].nunique() == 1).all()
    assert frame.groupby("disease")["split"].agg(lambda part: (part == "test").mean()).between(0.15, 0.3).all()
    held = [set(words(text)) for text in frame["text"]]
    for one, other in combinations(range(len(held)), 2):
        alike = len(held[one] & held[other]) / len(held[one] | held[other])
        if alike >= ALIKE:
            assert frame["family"][one] == frame["family"][other]


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


@pytest.mark.shared
def test_blood_smears_have_a_file_of_boxes_each(cache):
    frame = cases("bccd")
    found = [ElementTree.parse(path).getroot() for path in frame["boxes"]]
    assert [root.findtext("filename") for root in found] == [Path(path).name for path in frame["image"]]
    names = [str(item.findtext("name")) for root in found for item in root.iter("object")]
    assert {name: names.count(name) for name in set(names)} == {"RBC": 2295, "WBC": 197, "Platelets": 215}
    near = frame.set_index("id").loc[["BloodImage_00037", "BloodImage_00038"], "split"]
    assert near.tolist() == ["valid", "train"]  # the trap that the catalogue names


def test_stays_have_their_descriptors_and_outcome(cache):
    import pandas as pd

    frame = cases("challenge2012-set-a").set_index("id")
    assert frame["death"].value_counts().to_dict() == {"survived": 3446, "died": 554}
    first = frame.loc["132540"]
    assert (first["age"], first["gender"], first["icu_type"]) == (76, "male", "cardiac surgery")
    assert (first["height"], first["weight"]) == (175.3, 76.0)
    assert np.isnan(frame.loc["132539", "height"])
    summary = pd.read_csv(cache / "challenge2012-set-a" / "PhysionetChallenge2012-set-a.csv.gz")
    theirs = summary.set_index(summary["recordid"].astype(str)).loc[frame.index]
    assert (theirs["Age"] == frame["age"]).all()


@pytest.mark.shared
def test_single_beats_have_their_official_parts_and_own_columns(cache):
    frame = cases("ucr-ecg")
    assert frame["split_ecg200"].value_counts().to_dict() == {"train": 100, "test": 100}
    assert frame["split_two_lead"].value_counts().to_dict() == {"train": 23, "test": 1139}
    samples = {name: [column for column in frame if column.startswith(f"{name}_")] for name in ("ecg200", "two_lead")}
    assert {name: len(own) for name, own in samples.items()} == {"ecg200": 96, "two_lead": 82}
    own = frame["split_ecg200"].notna()
    assert frame.loc[own, samples["ecg200"]].notna().all(axis=None)
    assert frame.loc[own, samples["two_lead"]].isna().all(axis=None)


@pytest.mark.shared
def test_beats_are_those_of_the_records_with_the_intervals_about_them(cache):
    frame = cases("mitdb-subset")
    counts = frame.groupby("patient")["beat"].value_counts()
    assert counts["208"].to_dict() == {"N": 1586, "V": 992, "F": 373, "S": 2}
    assert counts["232"].to_dict() == {"S": 1382, "N": 398}
    one = frame[frame["patient"] == "119"]
    np.testing.assert_allclose(one["rr_before"].iloc[1:], np.diff(one["seconds"]), atol=1e-9)
    np.testing.assert_allclose(one["rr_after"].iloc[:-1], np.diff(one["seconds"]), atol=1e-9)
    premature = frame.loc[frame["beat"] == "S", "rr_before_share"].median()
    assert premature < 0.95 < frame.loc[frame["beat"] == "N", "rr_before_share"].median()


@pytest.mark.shared
def test_rhythms_are_drawn_class_by_class(cache):
    assert cases("cinc2017-af-subset")["rhythm"].value_counts().to_dict() == {"N": 90, "A": 60, "O": 60, "~": 20}
