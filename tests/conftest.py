"""What every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_terminal() -> None:
    """Tables are as wide as in a log, whoever runs the tests: workers of pytest-xdist are told a terminal's width."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets: GALENIC_DATA, else ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GALENIC_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no public data sets at {folder}: set GALENIC_DATA")
    return folder
