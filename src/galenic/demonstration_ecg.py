"""The demo's diagnosis over time: limb or chest lead, from a second of an ECG, fed row by row as at a bedside.

The recording is the one inside pydicom (twelve leads, ten seconds, one person). It shows that the engine learns from
signals and answers while they come in; which lead is which is no diagnosis, and one person proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from galenic.core import calibrate
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.errors import MissingExtra, UnsupportedFile
from galenic.core.files import write_aside
from galenic.core.model import load_model, load_networks
from galenic.core.task import Task
from galenic.formats.dicom_waveform import read_waveform
from galenic.series.step import Stepper
from galenic.sources import read_cases

RATE, THINNED = 1000, 50  # samples a second in the file, and in the windows
SECONDS, EVERY = 1.0, 0.2  # length of a window, and from one's start to the next's
PARTS = {"train": (0.0, 5.0), "valid": (5.0, 6.2), "calib": (6.2, 7.6), "test": (7.6, 10.0)}  # windows lie within one
SAMPLES, TABLE = "samples.csv", "cases.csv"
_FILE = ("data", "test_files", "waveform_ecg.dcm")
_LEADS = 12
_LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")


def load_ecg() -> tuple[NDArray[np.float64], list[str]]:
    """Samples [10 s, lead] in microvolts, and the leads' names; MissingExtra without pydicom's file."""
    found = find_spec("pydicom")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("pydicom", "demo", "the demo")
    ecg = read_waveform(Path(found.submodule_search_locations[0]).joinpath(*_FILE))
    if ecg.values.shape != (10 * RATE, _LEADS) or ecg.rate_hz != RATE:
        raise UnsupportedFile(
            f"{ecg.source} holds samples of shape {ecg.values.shape}",
            allowed=f"{10 * RATE} x {_LEADS} at {RATE} Hz",
            todo="install a pydicom that galenic[demo] allows",
        )
    return np.asarray(ecg.values, np.float64), list(ecg.variables)


def windows() -> Iterator[tuple[str, float]]:
    """(part, start in seconds) of every window; none reaches over the end of its part."""
    for part, (begin, end) in PARTS.items():
        for at in range(1 + int((end - begin - SECONDS) / EVERY + 1e-9)):
            yield part, round(begin + at * EVERY, 3)


def write_windows(folder: Path) -> Path:
    """Write the table of cases, the side table of samples, and task.toml; the path of the task."""
    samples, leads = load_ecg()
    step = RATE // THINNED
    thinned = samples.reshape(-1, step, len(leads)).mean(axis=1)
    rows, parts = [], []
    for part, start in windows():
        first = round(start * THINNED)
        for at, lead in enumerate(leads):
            own = f"{lead}-{start:.1f}"
            rows.append({"id": own, "split": part, "window": own, "lead": "limb" if lead in _LIMB else "chest"})
            values = thinned[first : first + round(SECONDS * THINNED), at]
            seconds = np.arange(len(values)) / THINNED
            parts.append(pd.DataFrame({"window": own, "time": seconds.round(3), "ecg": values.round(2)}))
    for name, table in ((TABLE, pd.DataFrame(rows)), (SAMPLES, pd.concat(parts))):
        with write_aside(folder / name) as aside:
            table.to_csv(aside, index=False)
    _task((folder / TABLE).resolve()).save(folder / "task.toml")
    return folder / "task.toml"


def _task(table: Path) -> Task:
    options = {"table": SAMPLES, "key": "window", "time_unit": "seconds", "units": {"ecg": "uV"}}
    return Task(
        name="ecg_lead",
        title="Limb or chest lead, from a second of one person's ECG",
        table=str(table),
        within_one_subject=True,
        notes=[
            "One recording of ten seconds (in pydicom): a smoke test of the tool. Which lead is which is no diagnosis.",
            f"Windows of {SECONDS:g} s at {THINNED} Hz, one every {EVERY:g} s; each part is a stretch of time: "
            + ", ".join(f"{name} {begin:g} to {end:g} s" for name, (begin, end) in PARTS.items()) + ".",
        ],
        inputs=[Field(name="ecg", kind="series", columns=["window"], options=options)],
        targets=[Field(name="lead", kind="category", columns=["lead"], options={"labels": ["limb", "chest"]})],
    )  # fmt: skip


def live(folder: Path, data: Path) -> tuple[pd.DataFrame, float]:
    """The test windows fed row by row: id, truth, and the probability of "chest" after each row.

    Also the greatest difference between the last row's raw output and that of the whole-sequence run.
    """
    model = load_model(folder)
    cases = open_cases(read_cases(data / TABLE), data, model.task)
    rows = [row for row, part in enumerate(cases.table["split"]) if part == "test"]
    prepared = [model.prepare(cases.values(row)) for row in rows]
    stepper = Stepper(load_networks(folder, model.task, model.plan)[0])
    given = stepper.rows(torch.from_numpy(np.stack([one.arrays["ecg"] for one in prepared])))
    state, chances = stepper.start(len(rows)), []
    for at in range(given.shape[1]):
        state, outputs = stepper.step(state, given[:, at])
        chances.append(calibrate.apply(model.fitted["lead"], outputs["lead"].numpy())[:, 1])
    with torch.inference_mode():
        whole = stepper.network(torch.from_numpy(np.stack([one.arrays["ecg"] for one in prepared])))[0]
    apart = float((whole - outputs["lead"]).abs().max())
    table = pd.DataFrame({"id": [cases.ids[row] for row in rows], "truth": list(cases.table["lead"].iloc[rows])})
    seconds = [f"p(chest) after {(at + 1) / THINNED:.2f} s" for at in range(len(chances))]
    return pd.concat([table, pd.DataFrame(np.stack(chances, axis=1).round(4), columns=seconds)], axis=1), apart
