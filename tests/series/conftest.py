"""Small series and the frame settled on them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galenic.core.contract import Budget, Field, Settings
from galenic.series.kinds import SERIES
from galenic.series.prepare import CLOCK
from galenic.values import Series


def history(number: int, *, hours: float = 12.0, rows: int = 30, units: tuple[str, ...] = ("/min", "mg/dL")) -> Series:
    """A pulse about 80 and a glucose about 100 with gaps, at irregular times."""
    rng = np.random.default_rng(number)
    times = np.sort(rng.uniform(0, hours, rows))
    values = np.column_stack([rng.normal(80, 10, rows), rng.lognormal(np.log(100), 0.3, rows)])
    values[rng.random((rows, 2)) < 0.4] = np.nan
    values[0] = 80, 100
    return Series(times, values, ("pulse", "glucose"), units)


def wave(number: int, *, samples: int = 200, rate_hz: float = 100.0, channels: tuple[str, ...] = ("I", "II")) -> Series:
    """Sines with noise."""
    rng = np.random.default_rng(number)
    time = np.arange(samples) / rate_hz
    values = np.stack([np.sin(2 * np.pi * (1 + at) * time) for at in range(len(channels))], axis=1)
    return Series.waveform(values + rng.normal(0, 0.1, values.shape), rate_hz, channels, ("mV",) * len(channels))


def field_of(name: str = "stay", **options: Any) -> Field:
    return SERIES.check(Field(name=name, kind="series", columns=["record"], options=options))


@pytest.fixture(scope="session")
def settle() -> Callable[..., Settings]:
    """settle(field, values, seconds=60): the frame's settings from the summaries of these series."""

    def make(field: Field, values: list[Series | None], seconds: float = 60.0) -> Settings:
        total = reduce(CLOCK.merge, [CLOCK.summarise({field.name: value}, [field]) for value in values])
        return CLOCK.settle(total, [field], Budget(seconds=seconds))[0]

    return make


@pytest.fixture(scope="session")
def histories() -> list[Series]:
    return [history(number) for number in range(12)]


@pytest.fixture(scope="session")
def waves() -> list[Series]:
    return [wave(number) for number in range(8)]


@pytest.fixture
def make_history() -> Callable[..., Series]:
    return history


@pytest.fixture
def make_wave() -> Callable[..., Series]:
    return wave


@pytest.fixture
def make_field() -> Callable[..., Field]:
    return field_of


@pytest.fixture(scope="session")
def write_record() -> Callable[..., None]:
    """write_record(folder, name, rate, {channel: samples}, marks): a WFDB record in mV, with annotations if any."""

    def write(
        folder: Path, name: str, rate: float, channels: dict[str, Any], marks: list[tuple[int, str]] | None = None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package uses what pandas has deprecated
            wfdb = importlib.import_module("wfdb")
            wfdb.wrsamp(
                name, fs=rate, units=["mV"] * len(channels), sig_name=list(channels), write_dir=str(folder),
                p_signal=np.stack(list(channels.values()), axis=1), fmt=["16"] * len(channels),
            )  # fmt: skip
            if marks:
                samples, symbols = zip(*marks, strict=True)
                wfdb.wrann(name, "atr", np.array(samples), symbol=list(symbols), write_dir=str(folder))

    return write
