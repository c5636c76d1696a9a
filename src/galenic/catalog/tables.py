"""The table of cases of each public set; what a TOML can't declare is a small function here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from galenic.catalog.cache import absent, folder
from galenic.catalog.entry import load
from galenic.catalog.table import declared, ordered, split_path, with_split
from galenic.core.errors import InputError, MissingFile, TableError

__all__ = ["cases", "split_path"]

EMPTY_MASK_BYTES = 95  # every empty 128x128 PNG mask of this set is the same file; any other is longer
RATERS = 4
ENOUGH_RATERS = 3

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


def cases(name: str, home: Path | None = None) -> pd.DataFrame:
    """The table of cases of the set `name`, one row a case; file columns hold absolute paths.

    Columns: id; patient, site and split where the set tells them; then its own. `split` is train, valid, calib or
    test, and absent (NaN) on a row that its split leaves out. `home` is the set's folder, by default in the cache.
    Raises MissingFile where files are missing, InputError for a set without a table.
    """
    entry = load(name)
    if entry.table is None:
        raise InputError(f"{name} has no table of cases", todo=f"see galenic data show {name}")
    home = folder(name) if home is None else home.absolute()
    missing = absent(entry, home)
    if missing:
        raise MissingFile(
            f"{len(missing)} of {len(entry.manifest())} files of {name} are not in {home}, or not whole: "
            f"{', '.join(missing[:3])}",
            todo=f"galenic data get {name}",
        )
    frame = declared(entry, home)
    if entry.table.function:
        frame = FUNCTIONS[entry.table.function](frame, home)
    if entry.table.split:
        frame = with_split(frame, entry.table.split)
    if len(frame) != entry.table.rows or not frame["id"].is_unique:
        raise TableError(f"the table of {name} came out with {len(frame)} rows", allowed=f"{entry.table.rows}")
    return ordered(frame)


def _nodule_slices(frame: pd.DataFrame, _home: Path) -> pd.DataFrame:
    """Count the raters whose mask of the slice is not empty; keep the slices that enough of them marked."""
    masks = frame[[f"mask_{rater}" for rater in range(RATERS)]]
    frame = frame.assign(raters=masks.map(_is_marked).sum(axis=1))
    return frame[frame["raters"] >= ENOUGH_RATERS]


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
    "breast_cancer": _breast_cancer,
    "glioma_clinical": _glioma_clinical,
    "heart_disease": _heart_disease,
    "nodule_slices": _nodule_slices,
}
