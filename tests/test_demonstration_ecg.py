"""The demo's ECG: parts that share no moment, and answers row by row that end where the whole window's do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import galenic
from galenic import demonstration_ecg
from galenic.core.errors import MissingExtra
from galenic.demonstration_ecg import PARTS, SECONDS, live, load_ecg, windows, write_windows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_windows(tmp_path_factory.mktemp("ecg")).parent


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> galenic.Model:
    out = tmp_path_factory.mktemp("models") / "ecg"
    return galenic.train(data / "task.toml", budget="150steps", out=out, network="gru", alone=True, device="cpu")


def test_the_recording_is_twelve_leads_that_obey_einthoven() -> None:
    samples, leads = load_ecg()
    assert leads == ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    of = dict(zip(leads, samples.T, strict=True))
    np.testing.assert_allclose(of["III"], of["II"] - of["I"], atol=3.0)
    np.testing.assert_allclose(of["aVR"], -(of["I"] + of["II"]) / 2, atol=3.0)


def test_no_moment_lies_in_two_parts() -> None:
    found = list(windows())
    for part, start in found:
        begin, end = PARTS[part]
        assert begin <= start
        assert start + SECONDS <= end + 1e-9
    assert {part for part, _ in found} == set(PARTS)
    ends = sorted(PARTS.values())
    assert all(one[1] <= other[0] for one, other in pairwise(ends))


def test_the_table_holds_each_window_once(data: Path) -> None:
    table = pd.read_csv(data / "cases.csv")
    samples = pd.read_csv(data / "samples.csv")
    assert table["id"].is_unique
    assert len(table) == 12 * len(list(windows()))
    assert (table["lead"].value_counts() == len(table) / 2).all()
    assert (samples.groupby("window").size() == 50).all()
    ecg, leads = load_ecg()
    own = samples[samples["window"] == "V2-7.6"]["ecg"].to_numpy()
    np.testing.assert_allclose(own, ecg[7600:8600, leads.index("V2")].reshape(-1, 20).mean(axis=1), atol=0.006)


def test_fed_row_by_row_it_ends_where_the_whole_window_does(model: galenic.Model, data: Path) -> None:
    table, apart = live(model.folder, data)
    assert apart <= 1e-5
    assert len(table) == 12 * sum(part == "test" for part, _ in windows())
    chances = table.filter(like="p(chest)").to_numpy()
    assert chances.shape[1] == 50
    assert ((chances >= 0) & (chances <= 1)).all()
    right = ((chances > 0.5) == (table["truth"] == "chest").to_numpy()[:, None]).mean(axis=0)
    assert right[-1] > 0.75 > right[0]
    auroc = model.metrics["targets"]["lead"]["scores"]["auroc"]["value"]
    assert auroc > 0.8


def test_without_pydicom_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demonstration_ecg, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"galenic\[demo\]"):
        write_windows(tmp_path / "ecg")
    assert not (tmp_path / "ecg").exists()
