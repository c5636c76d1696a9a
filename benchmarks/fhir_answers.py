"""Patients a second from a FHIR R4 bundle on disk to an answer, in one process; bar: 200.

Each stay of challenge2012-set-a is written as a Bundle of Observations (its real values, times and units). A model is
trained on such bundles; then bundles it has not seen are read, checked, prepared and answered, with refusals,
calibration and sets: one after the other, or with --at-once 64 as `galenic predict` does with a folder of bundles.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pandas as pd

import galenic
from galenic import sources
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.sources import Found
from records import keep, verdict

BAR = 200
TASK = "icu_mortality"
ROOT = Path(__file__).resolve().parent.parent


def entries_of(path: Path, units: dict[str, str], static: list[str], patient: str) -> list[dict[str, object]]:
    """A stay's file as the entries of a FHIR R4 Bundle of Observations."""
    start = datetime(2010, 1, 1, tzinfo=UTC)
    entries: list[dict[str, object]] = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        moment, name, value = line.split(",")
        if not name or name in static or float(value) == -1:
            continue
        hours, minutes = moment.split(":")
        when = start + timedelta(hours=int(hours), minutes=int(minutes))
        quantity = {"value": float(value), "unit": units.get(name, "")}
        entries.append({"resource": {
            "resourceType": "Observation", "status": "final", "code": {"text": name},
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": when.isoformat(),
            "valueQuantity": quantity,
        }})  # fmt: skip
    return entries


def lay_out(found: Found, series: Field, folder: Path, stays: int) -> list[int]:
    """Write bundles, their table and a task on them; how many observations each bundle holds."""
    folder.mkdir(parents=True, exist_ok=True)
    table = found.table.head(stays).reset_index(drop=True)
    cells, sizes = [], []
    for own, record in zip(table["id"], table["record"], strict=True):
        path = folder / f"{own}.json"
        options = series.options
        entries = entries_of(found.root / str(record), options["units"], options["static"], str(own))
        told = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        path.write_text(json.dumps(told), encoding="utf-8")
        cells.append(path.name)
        sizes.append(len(entries))
    table.assign(record=cells).to_csv(folder / "cases.csv", index=False)
    kept = {name: own for name, own in series.options.items() if name in ("until_hours", "units")}
    field = Field(name=series.name, kind="series", columns=["record"], options=kept)
    task = found.task.model_copy(update={
        "name": "icu_fhir", "data": None, "split": None, "table": "cases.csv", "folds": 0,
        "inputs": [field, *(one for one in found.task.inputs if one is not series)],
    })  # fmt: skip
    task.save(folder / "icu_fhir.toml")
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=1000)
    parser.add_argument("--timed", type=int, default=200, help="bundles that are answered a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1, help="bundles that are answered together")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--alone", action="store_true", help="the network alone")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "bench-fhir")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    found = sources.find(TASK)
    (series,) = (one for one in found.task.inputs if one.kind == "series")
    folder = given.out / "bundles"
    sizes = lay_out(found, series, folder, given.stays)
    out = given.out / ("alone" if given.alone else "model")
    if not (out / "provenance.json").is_file():
        galenic.train(folder / "icu_fhir.toml", out=out, budget=given.budget, alone=given.alone)
    model = galenic.load(out)
    held = set(pd.read_csv(out / "private" / "split.csv", dtype=str).query("part == 'test'")["id"])
    cases = open_cases(pd.read_csv(folder / "cases.csv"), folder, model.task)
    rows = ([row for row, own in enumerate(cases.ids) if own in held] * given.timed)[: given.timed]
    took, parts = [], {"read": 0.0, "prepare": 0.0, "answer": 0.0}
    for _ in range(given.rounds + 1):
        began = time.perf_counter()
        parts = dict.fromkeys(parts, 0.0)
        for at in range(0, len(rows), given.at_once):
            prepared = []
            for row in rows[at : at + given.at_once]:
                one = time.perf_counter()
                values = cases.values(row)
                two = time.perf_counter()
                prepared.append(model.prepare(values))
                parts["read"] += two - one
                parts["prepare"] += time.perf_counter() - two
            three = time.perf_counter()
            model.answer_many(prepared)
            parts["answer"] += time.perf_counter() - three
        took.append(time.perf_counter() - began)
    rate = len(rows) / median(took[1:])
    each = {name: round(1000 * own / len(rows), 2) for name, own in parts.items()}
    members = ", ".join(["network", *sorted(model.learners)])
    print(f"{len(rows)} bundles of {median(sizes):.0f} observations, {given.at_once} at a time, by {members}:")
    print(f"{rate:.0f} a second, bar {BAR}: {verdict(rate >= BAR)}; ms each: {each}")
    measured = {
        "alone": given.alone, "at_once": given.at_once, "learners": sorted(model.learners),
        "observations": median(sizes), "answered": len(rows),
        "a_second": round(rate, 1), "ms": each, "met": rate >= BAR,
    }  # fmt: skip
    keep("fhir_answers", measured, wanted=given.record)


if __name__ == "__main__":
    main()
