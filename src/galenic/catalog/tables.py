"""The table of cases of each public set; what a TOML can't declare is a small function here."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from galenic.catalog import recordings
from galenic.catalog.cache import absent, folder
from galenic.catalog.entry import HERE, load
from galenic.catalog.near import families, words
from galenic.catalog.table import declared, ordered, split_path, with_split
from galenic.core.errors import MissingFile, TableError, UnreadableFile

__all__ = ["cases", "split_path"]

EMPTY_MASK_BYTES = 95  # every empty 128x128 PNG mask of this set is the same file; any other is longer
RATERS = 4
ENOUGH_RATERS = 3
UNSURE_RATING = 3

HOSPITALS = {"cleveland": "cleveland", "budapest": "hungarian", "switzerland": "switzerland", "long-beach": "va"}
HEART_COLUMNS = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
    "num",
]  # fmt: skip
HEART_CODES = {
    "sex": {0: "female", 1: "male"},
    "cp": {1: "typical angina", 2: "atypical angina", 3: "non-anginal pain", 4: "asymptomatic"},
    "fbs": {0: "no", 1: "yes"},
    "restecg": {0: "normal", 1: "ST-T abnormality", 2: "left ventricular hypertrophy"},
    "exang": {0: "no", 1: "yes"},
    "slope": {1: "up", 2: "flat", 3: "down"},
    "thal": {3: "normal", 6: "fixed defect", 7: "reversible defect"},
}


def cases(name: str, home: Path | None = None, table: str | None = None) -> pd.DataFrame:
    """The table of cases of the set `name`, or its further one `table`; one row a case, files as absolute paths.

    Columns: id; patient, site and split where the set tells them; then its own. `split` is train, valid, calib or
    test, and absent (NaN) on a row that its split leaves out. `home` is the set's folder, by default in the cache.
    Raises MissingFile where files are missing, InputError for a set without a table.
    """
    entry = load(name)
    plan = entry.table_of(table)
    home = folder(name) if home is None else home.absolute()
    missing = absent(entry, home)
    if missing:
        raise MissingFile(
            f"{len(missing)} of {len(entry.manifest())} files of {name} are not in {home}, or not whole: "
            f"{', '.join(missing[:3])}",
            todo=f"galenic data get {name}",
        )
    frame = declared(entry, plan, home)
    if plan.function:
        frame = FUNCTIONS[plan.function](frame, home)
    if plan.split:
        frame = with_split(frame, plan.split)
    if len(frame) != plan.rows or not frame["id"].is_unique:
        raise TableError(f"the table of {name} came out with {len(frame)} rows", allowed=f"{plan.rows}")
    return ordered(frame)


def _nodule_slices(frame: pd.DataFrame, _home: Path) -> pd.DataFrame:
    """Count the raters whose mask of the slice is not empty; keep the slices that enough of them marked."""
    masks = frame[[f"mask_{rater}" for rater in range(RATERS)]]
    frame = frame.assign(raters=masks.map(_is_marked).sum(axis=1))
    return frame[frame["raters"] >= ENOUGH_RATERS]


def _nodules(frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """A row a nodule that is told benign or malignant: the slice on which it is largest, with its area there.

    meta_info.csv rates a nodule from 1 (highly unlikely to be malignant) to 5 (highly suspicious); 3 tells nothing.
    """
    areas = pd.read_csv(HERE / "facts" / "lidc-nodules.csv")
    rated = pd.read_csv(home / "meta_info.csv", dtype={"patient_id": str})
    rated = rated[~rated["is_clean"]].drop_duplicates(["patient_id", "nodule_no"])
    rated = rated.assign(
        patient="LIDC-IDRI-" + rated["patient_id"], nodule=rated["nodule_no"], rating=rated["malignancy"]
    )
    frame = frame.merge(areas, on=["patient", "nodule", "slice"], validate="one_to_one")
    frame = frame.merge(rated[["patient", "nodule", "rating"]], on=["patient", "nodule"], validate="one_to_one")
    frame = frame[frame["rating"] != UNSURE_RATING]
    return frame.assign(malignancy=np.where(frame["rating"] > UNSURE_RATING, "malignant", "benign"))


def _is_marked(mask: str) -> bool:
    return Path(mask).stat().st_size > EMPTY_MASK_BYTES


def _glioma_clinical(frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Join the patients' genomic clusters and clinical codes, whose numbers are codes and not amounts."""
    clinical = pd.read_csv(home / "data.csv").rename(columns={"Patient": "patient"})
    codes = clinical.columns.drop(["patient", "age_at_initial_pathologic"])
    clinical[codes] = clinical[codes].astype("Int64").astype("string")
    return frame.merge(clinical, on="patient", how="left", validate="many_to_one")


def _breast_cancer(_frame: pd.DataFrame, _home: Path) -> pd.DataFrame:
    """scikit-learn's copy: 569 x 30 numbers, and the diagnosis by name, since its code 0 means malignant."""
    from sklearn.datasets import load_breast_cancer

    held = load_breast_cancer(as_frame=True)
    names = dict(enumerate(str(name) for name in held.target_names))
    table: pd.DataFrame = held.data.assign(diagnosis=held.target.map(names))
    table.insert(0, "id", [f"case-{row:03d}" for row in range(len(table))])
    return table


def _symptom_texts(_frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Each text once, with its disease and its family: the id of the first of the texts that are nearly the same."""
    told = pd.read_csv(home / "Symptom2Disease.csv", usecols=["label", "text"], dtype=str)
    told.insert(0, "id", [f"text-{row:04d}" for row in range(len(told))])
    told = told[~told["text"].map(words).duplicated()].reset_index(drop=True)
    told.insert(1, "family", told["id"].iloc[families(list(told["text"]))].to_numpy())
    return told.rename(columns={"label": "disease"})


PARTS = {"train": "train", "val": "valid", "test": "test"}  # as MedMNIST names them, and as we do


def _medmnist(file: Path, names: dict[int, str], column: str) -> pd.DataFrame:
    """A row a picture of one of MedMNIST's archives, in its official parts; the column holds the label's name."""
    rows = []
    try:
        with np.load(file, allow_pickle=False) as held:
            for part, ours in PARTS.items():
                for number, label in enumerate(held[f"{part}_labels"].ravel()):
                    place = f"{file}#{part}_images/{number}"
                    rows.append((f"{part}-{number:04d}", ours, place, names[int(label)]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"{file} is not the archive of the catalogue: {error}", todo="fetch it again") from error
    return pd.DataFrame(rows, columns=["id", "split", "image", column])


def _breastmnist(_frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """780 ultrasound pictures; its code 0 means malignant."""
    return _medmnist(home / "breastmnist.npz", {0: "malignant", 1: "normal or benign"}, "finding")


def _retinamnist(_frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """1,600 fundus photographs with the grade of diabetic retinopathy, 0 to 4."""
    return _medmnist(home / "retinamnist.npz", {grade: str(grade) for grade in range(5)}, "grade")


def _heart_disease(_frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """The rows of four hospitals, codes in words; a pressure or cholesterol of 0 is missing; two rows stand twice."""
    parts = []
    for site, file in HOSPITALS.items():
        own = pd.read_csv(home / "heart" / f"processed.{file}.data", header=None, names=HEART_COLUMNS, na_values="?")
        own.insert(0, "site", site)
        own.insert(0, "id", [f"{site}-{row:03d}" for row in range(len(own))])
        parts.append(own)
    table = pd.concat(parts, ignore_index=True)
    table = table[~table.drop(columns="id").duplicated()]
    measured = table[["trestbps", "chol"]].astype(float)
    diseased = table["num"].gt(0).map({True: "yes", False: "no"})
    coded = {column: table[column].map(words) for column, words in HEART_CODES.items()}
    return table.drop(columns="num").assign(**measured.where(measured > 0), **coded, disease=diseased)


FUNCTIONS: dict[str, Callable[[pd.DataFrame, Path], pd.DataFrame]] = {
    "beats": recordings.beats,
    "breast_cancer": _breast_cancer,
    "breastmnist": _breastmnist,
    "glioma_clinical": _glioma_clinical,
    "heart_disease": _heart_disease,
    "icu_stays": recordings.icu_stays,
    "nodule_slices": _nodule_slices,
    "nodules": _nodules,
    "retinamnist": _retinamnist,
    "rhythms": recordings.rhythms,
    "single_beats": recordings.single_beats,
    "symptom_texts": _symptom_texts,
}
