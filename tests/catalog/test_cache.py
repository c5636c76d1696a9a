"""Where data lie, and whether they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.catalog.cache import absent, cache_root, folder, present
from galenic.catalog.entry import load
from galenic.catalog.tables import cases
from galenic.core.errors import InputError, MissingFile, UnsafeFile


def test_the_environment_chooses_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GALENIC_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / "home/.cache/galenic"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg/galenic"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == tmp_path / "home/.cache/galenic"
    monkeypatch.setenv("GALENIC_DATA", "~/data")
    assert cache_root() == tmp_path / "home/data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALENIC_DATA", "here")
    assert cache_root() == tmp_path / "here"
    assert folder("chase-db1") == tmp_path / "here/chase-db1"


def test_a_name_can_t_leave_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path))
    with pytest.raises(UnsafeFile):
        folder("../elsewhere")


def test_present_means_every_file_with_its_size(make_entry, tmp_path):
    entry = make_entry({"a.bin": b"12", "b/c.bin": b"345"})
    home = tmp_path / "toy"
    assert not present(entry, home)
    (home / "b").mkdir(parents=True)
    (home / "a.bin").write_bytes(b"12")
    (home / "b/c.bin").write_bytes(b"34")
    assert absent(entry, home) == ["b/c.bin"]
    (home / "b/c.bin").write_bytes(b"345")
    assert present(entry, home)
    (home / "a.bin").unlink()
    (home / "a.bin").mkdir()
    assert absent(entry, home) == ["a.bin"]


def test_an_empty_cache_says_how_to_fill_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path / "none"))
    assert not present(load("chase-db1"))
    with pytest.raises(MissingFile, match="84 of 84") as caught:
        cases("chase-db1")
    assert caught.value.todo == "galenic data get chase-db1"
    assert not (tmp_path / "none").exists()


def test_a_set_without_a_table_says_so():
    with pytest.raises(InputError, match="no table"):
        cases("mni152")


def test_a_package_set_has_no_folder(monkeypatch):
    assert present(load("breast-cancer-wisconsin"))
    monkeypatch.setattr("galenic.catalog.cache.find_spec", lambda name: None)
    assert not present(load("breast-cancer-wisconsin"), Path("/nowhere"))
