"""Tables of cases of the sets that hold series: what is told beside the recordings, joined to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from galenic.core.errors import TableError
from galenic.formats import wfdb

# ANSI/AAMI EC57: which annotation symbols make a class; Q (paced, unclassifiable) is none of them.
AAMI = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F"}
_BEATS = "".join(AAMI.values()) + "/fQ"  # what marks a heartbeat at all
_LOCAL = 10  # beats about one, whose mean interval stands for the rhythm
_DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")
_GENDERS = {0: "female", 1: "male"}
_UNITS = {1: "coronary", 2: "cardiac surgery", 3: "medical", 4: "surgical"}


def icu_stays(frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """The descriptors at 00:00 and whether the patient died in hospital, by stay; -1 is missing."""
    outcomes = pd.read_csv(home / "Outcomes-a.txt").set_index("RecordID")["In-hospital_death"]
    told = pd.DataFrame([_descriptors(Path(path)) for path in frame["record"]], index=frame.index)
    died = outcomes.loc[frame["id"].astype(int)].to_numpy()
    return frame.assign(
        age=told["Age"], gender=told["Gender"].map(_GENDERS), height=told["Height"],
        icu_type=told["ICUType"].map(_UNITS), weight=told["Weight"], death=np.where(died == 1, "died", "survived"),
    )  # fmt: skip


def _descriptors(path: Path) -> dict[str, float]:
    """The first value of each descriptor at 00:00, NaN where there is none or it is -1."""
    found = dict.fromkeys(_DESCRIPTORS, float("nan"))
    with path.open(encoding="utf-8") as file:
        for line in list(file)[1:]:
            time, name, value = line.strip().split(",")
            if time != "00:00":
                break
            if name in found and np.isnan(found[name]) and float(value) != -1:
                found[name] = float(value)
    return found


def single_beats(_frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """A row a beat of either set: its samples and class in columns of its own set, and the official part of each."""
    tables = []
    for folder, name in (("ECG200", "ecg200"), ("TwoLeadECG", "two_lead")):
        for part in ("train", "test"):
            rows = pd.read_csv(home / folder / f"{folder}_{part.upper()}.tsv", sep="\t", header=None)
            samples = rows.iloc[:, 1:]
            samples.columns = [f"{name}_{at:02d}" for at in range(samples.shape[1])]
            told = {"id": [f"{name}-{part}-{at:04d}" for at in range(len(rows))], f"split_{name}": part}
            classes = rows[0].astype(int).astype(str)
            tables.append(pd.DataFrame(told).assign(**{f"label_{name}": classes}).join(samples))
    return pd.concat(tables, ignore_index=True)


def rhythms(frame: pd.DataFrame, home: Path) -> pd.DataFrame:
    """The rhythm of each recording, from the list of the whole training set."""
    told = pd.read_csv(home / "REFERENCE.csv").set_index("data_source")["class"]
    return frame.drop(columns=["samples"]).assign(rhythm=told.loc[frame["id"]].to_numpy())


def beats(frame: pd.DataFrame, _home: Path) -> pd.DataFrame:
    """A row a beat of the classes N, S, V and F: its record, its moment, and the intervals about it in seconds.

    rr_before, rr_after: to the beat before and to the next. rr_local: mean of the ten intervals about the beat.
    rr_before_share, rr_after_share: of that mean.
    """
    pairs = zip(frame["patient"], frame["record"], strict=True)
    tables = [_beats_of(str(patient), Path(str(record))) for patient, record in pairs]
    return pd.concat(tables, ignore_index=True)


def _beats_of(patient: str, record: Path) -> pd.DataFrame:
    marked = wfdb.read_annotations(record)
    rate = wfdb.rate_of(record)
    symbols = np.array(marked.symbols)
    beat = np.isin(symbols, list(_BEATS))
    moments, symbols = marked.samples[beat] / rate, symbols[beat]
    if len(moments) < 2:
        raise TableError(f"{record} has {len(moments)} beats", allowed="two or more")
    gaps = np.diff(moments)
    before, after = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
    local = pd.Series(before).rolling(_LOCAL, center=True, min_periods=1).mean().to_numpy()
    kind = {symbol: name for name, own in AAMI.items() for symbol in own}
    table = pd.DataFrame(
        {
            "id": [f"{patient}-{at:04d}" for at in range(len(moments))],
            "patient": patient, "record": str(record), "seconds": moments,
            "beat": [kind.get(symbol) for symbol in symbols],
            "rr_before": before, "rr_after": after, "rr_local": local,
            "rr_before_share": before / local, "rr_after_share": after / local,
        }
    )  # fmt: skip
    return table[table["beat"].notna()]
