"""One JSON line a measurement, in docs/reference/measured/NAME.jsonl: figures, date, machine, versions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peers.machine import describe, usable_cpus, versions
from turns import RECORDS, append

PACKAGES = ("galenic", "torch", "numpy", "openvino", "onnxruntime")


def figures(name: str, measured: Mapping[str, Any], packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """The record of a measurement made in this process."""
    return {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": usable_cpus(),
        "machine": describe(),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(packages),
        **measured,
    }


def keep(name: str, measured: Mapping[str, Any], *, wanted: bool, folder: Path = RECORDS) -> None:
    """Append the record if it is wanted."""
    if wanted:
        append(figures(name, measured), folder)
        print(f"added to {(folder / f'{name}.jsonl').name}")


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"
