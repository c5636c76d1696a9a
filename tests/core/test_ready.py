"""Prepared cases: held in memory or mapped from the cache, and never those of a file that has changed since."""

from __future__ import annotations

import numpy as np
from PIL import Image

from galenic.core import ready as under_test
from galenic.core.fit import open_job
from galenic.core.progress import Silent


def mapped(job, monkeypatch):
    """The job's prepared cases, none of which may stay in memory."""
    monkeypatch.setattr(under_test, "MEMORY_SHARE", 0.0)
    return open_job(job, Silent()).ready


def test_a_case_that_finds_no_room_is_mapped_and_equal(disc_job, tmp_path, monkeypatch):
    held = open_job(disc_job(tmp_path / "held"), Silent()).ready[0]
    first = mapped(disc_job(tmp_path / "run"), monkeypatch)[0]
    assert isinstance(first.arrays["image"], np.memmap)
    for name, array in held.arrays.items():
        np.testing.assert_array_equal(first.arrays[name], array)
    assert dict(first.facts) == dict(held.facts)


def test_a_file_that_changed_between_two_runs_is_prepared_anew(disc_job, tmp_path, monkeypatch):
    changed = disc_job(tmp_path / "run")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in changed.root.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    job = disc_job(tmp_path / "run2")
    job = type(job)(**{**job.__dict__, "root": folder})
    before = np.array(mapped(job, monkeypatch)[0].arrays["image"])
    picture = np.array(Image.open(folder / "00.png"))
    Image.fromarray(picture.T.copy()).save(folder / "00.png")
    after = mapped(job, monkeypatch)[0].arrays["image"]
    assert after.shape == before.shape
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(mapped(job, monkeypatch)[0].arrays["image"], after)
