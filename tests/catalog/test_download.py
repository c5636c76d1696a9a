"""Downloads, against a real server on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from galenic.catalog import download, transfer
from galenic.catalog.cache import present
from galenic.catalog.download import Progress, fetch
from galenic.catalog.entry import load
from galenic.catalog.verified import RECORD
from galenic.core.errors import DownloadError, MissingExtra, NoSpaceError, UnsafeFile

BIG = os.urandom(300_000)
FILES = {"a/one (1).bin": b"one" * 1000, "a/two.bin": b"two" * 2000, "b/three.bin": BIG}


def parts(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*.part"))


@pytest.mark.parametrize("digests", [True, False])
def test_brings_all_and_the_second_time_asks_nothing(site, make_entry, tmp_path, digests):
    entry = make_entry(FILES, digests=digests)
    home = tmp_path / "toy"
    seen: list[Progress] = []
    assert fetch(entry, home, progress=seen.append) == 3
    assert {path: (home / path).read_bytes() for path in FILES} == FILES
    assert present(entry, home)
    assert parts(home) == []
    assert seen[-1].files_done == seen[-1].files == 3
    assert seen[-1].bytes_done == seen[-1].bytes == sum(map(len, FILES.values()))
    site.asked.clear()
    assert fetch(entry, home) == 0
    assert site.asked == []


def test_what_was_verified_is_not_read_again(make_entry, tmp_path, monkeypatch):
    entry = make_entry(FILES)
    fetch(entry, tmp_path / "toy")
    read: list[Path] = []
    monkeypatch.setattr("galenic.catalog.verified.sha256", lambda path: read.append(path) or "")
    fetch(entry, tmp_path / "toy")
    assert read == []


def test_a_damaged_record_is_an_empty_one(make_entry, tmp_path):
    entry = make_entry(FILES)
    home = tmp_path / "toy"
    fetch(entry, home)
    for damage in ("{", "[]", '{"a/two.bin": 3}', '{"a/two.bin": [1, 2, "x"]}'):
        (home / RECORD).write_text(damage)
        assert fetch(entry, home) == 0


def test_a_file_changed_later_is_brought_again(site, make_entry, tmp_path):
    entry = make_entry(FILES)
    home = tmp_path / "toy"
    fetch(entry, home)
    (home / "a/two.bin").write_bytes(b"TWO" * 2000)
    site.asked.clear()
    assert fetch(entry, home) == 1
    assert site.asked == [("pub/a/two.bin", "")]
    assert (home / "a/two.bin").read_bytes() == FILES["a/two.bin"]


def test_wrong_digest_is_refused_and_removed(site, make_entry, tmp_path):
    entry = make_entry(FILES)
    site.content["pub/b/three.bin"] = bytes(len(BIG))
    with pytest.raises(DownloadError, match="SHA-256") as caught:
        fetch(entry, tmp_path / "toy")
    assert caught.value.allowed == next(f.sha256 for f in entry.manifest() if f.path == "b/three.bin")
    assert caught.value.todo
    assert caught.value.exit_status == 2
    assert not (tmp_path / "toy/b/three.bin").exists()
    assert "three.bin.part" not in parts(tmp_path / "toy")


def test_wrong_digest_of_a_large_set_costs_what_was_brought(site, make_entry, tmp_path):
    entry = make_entry(FILES, digests=False)
    site.content["pub/b/three.bin"] = bytes(len(BIG))
    home = tmp_path / "toy"
    with pytest.raises(DownloadError, match="3 of them were removed"):
        fetch(entry, home)
    assert [path for path in home.rglob("*") if path.is_file() and path.name != RECORD] == []
    site.content["pub/b/three.bin"] = BIG
    assert fetch(entry, home) == 3


def test_a_file_longer_than_listed_is_refused(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": b"12345"})
    site.content["pub/x.bin"] = b"12345" * 100_000
    with pytest.raises(DownloadError, match="longer"):
        fetch(entry, tmp_path / "toy")
    assert parts(tmp_path / "toy") == []


def test_a_cut_connection_goes_on_with_only_the_rest(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    site.cut_after = [100_000]
    fetch(entry, tmp_path / "toy")
    assert [path for path, _ in site.asked] == ["pub/x.bin"] * 2
    start = int(site.asked[1][1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 100_000
    assert (tmp_path / "toy/x.bin").read_bytes() == BIG


def test_a_connection_cut_for_good_can_be_resumed_later(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    home = tmp_path / "toy"
    site.cut_after = [150_000] + [0] * (transfer.ATTEMPTS - 1)
    with pytest.raises(DownloadError, match=r"150000 of 300000") as caught:
        fetch(entry, home)
    assert "goes on where it stopped" in caught.value.todo
    assert len(site.asked) == transfer.ATTEMPTS
    assert (home / "x.bin.part").stat().st_size == 150_000
    assert not (home / "x.bin").exists()
    site.asked.clear()
    seen: list[Progress] = []
    fetch(entry, home, progress=seen.append)
    assert site.asked == [("pub/x.bin", "bytes=150000-")]
    assert seen[0].bytes_done > 150_000
    assert (home / "x.bin").read_bytes() == BIG


def test_a_server_without_ranges_starts_again(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    site.cut_after, site.ranges = [100_000], False
    seen: list[Progress] = []
    fetch(entry, tmp_path / "toy", progress=seen.append)
    assert (tmp_path / "toy/x.bin").read_bytes() == BIG
    assert seen[-1].bytes_done == len(BIG)


def test_another_range_than_asked_for_is_not_trusted(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    site.cut_after, site.shift_range = [100_000], 7
    fetch(entry, tmp_path / "toy")
    assert (tmp_path / "toy/x.bin").read_bytes() == BIG
    assert site.asked[-1] == ("pub/x.bin", "")


@pytest.mark.parametrize("left", [b"\0" * 1000, b"\0" * 300_000, b"\0" * 300_001])
def test_a_foreign_part_file_is_thrown_away(make_entry, tmp_path, left):
    entry = make_entry({"x.bin": BIG})
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/x.bin.part").write_bytes(left)
    fetch(entry, tmp_path / "toy")
    assert (tmp_path / "toy/x.bin").read_bytes() == BIG


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(site, make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    site.statuses = [503, 429]
    fetch(entry, tmp_path / "toy")
    assert len(site.asked) == 3
    site.content.clear()
    site.asked.clear()
    with pytest.raises(DownloadError, match="404"):
        fetch(entry, tmp_path / "other")
    assert len(site.asked) == 1


def test_no_server_at_all(make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    assert entry.files is not None
    entry.files.sources[0] = entry.files.sources[0].model_copy(update={"base": "http://127.0.0.1:9/pub/"})
    with pytest.raises(DownloadError, match="broke off"):
        fetch(entry, tmp_path / "toy")


def test_too_little_space_is_told_before_anything_is_asked(site, make_entry, tmp_path, monkeypatch):
    entry = make_entry(FILES)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(NoSpaceError, match="needs") as caught:
        fetch(entry, tmp_path / "toy")
    assert caught.value.todo
    assert site.asked == []
    assert not (tmp_path / "toy").exists()


def test_a_disk_that_fills_up_keeps_nothing_half_written(make_entry, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.decode().strip()}")
    try:
        entry = make_entry({"x.bin": BIG})
        plenty = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(download.shutil, "disk_usage", lambda path: plenty)
        with pytest.raises(NoSpaceError, match=r"x\.bin"):
            fetch(entry, disk / "toy")
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("path", ["../out.bin", "/tmp/galenic-out.bin", "a/../../out.bin"])
def test_a_path_outside_the_folder_is_refused(site, make_entry, tmp_path, path):
    entry = make_entry({path: b"x"})
    with pytest.raises(UnsafeFile):
        fetch(entry, tmp_path / "toy")
    assert site.asked == []
    assert not (tmp_path / "out.bin").exists()


@pytest.mark.parametrize("name", ["x.bin", "x.bin.part"])
def test_a_link_out_of_the_folder_is_refused(make_entry, tmp_path, name):
    entry = make_entry({"x.bin": BIG})
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"mine")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / name).symlink_to(outside)
    with pytest.raises(UnsafeFile):
        fetch(entry, tmp_path / "toy")
    assert outside.read_bytes() == b"mine"


def test_a_folder_in_a_file_s_place_is_told(make_entry, tmp_path):
    entry = make_entry({"x.bin": BIG})
    (tmp_path / "toy/x.bin/y").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"x\.bin"):
        fetch(entry, tmp_path / "toy")


@pytest.fixture
def listening():
    """Ctrl-C raises, also where a shell that runs the tests in its background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_leaves_whole_files_and_part_files_only(site, make_entry, tmp_path):
    entry = make_entry({"a.bin": b"a" * 5000, "x.bin": BIG})
    home = tmp_path / "toy"
    site.gate = threading.Event()

    def press(progress: Progress) -> None:
        if progress.path == "x.bin" and not pressed.is_set():
            pressed.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            threading.Timer(0.1, site.gate.set).start()

    pressed = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        fetch(entry, home, progress=press)
    left = sorted(path.name for path in home.rglob("*") if path.is_file())
    assert "x.bin.part" in left
    assert set(left) <= {"a.bin", "a.bin.part", "x.bin.part"}
    site.gate = None
    site.asked.clear()
    fetch(entry, home)
    assert (home / "x.bin").read_bytes() == BIG
    assert all(asked.startswith("bytes=") for path, asked in site.asked if path == "pub/x.bin")


def test_without_httpx_the_extra_is_named(make_entry, tmp_path):
    make_entry(FILES)
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from pathlib import Path\n"
        "from galenic.catalog.entry import read_entry\n"
        "from galenic.catalog.download import fetch\n"
        f"fetch(read_entry(Path({str(tmp_path / 'catalogue/toy.toml')!r})), Path({str(tmp_path / 'toy')!r}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "galenic[data]" in ran.stderr


def test_a_set_inside_a_package_needs_only_the_package(tmp_path, monkeypatch):
    entry = load("breast-cancer-wisconsin")
    assert fetch(entry, tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("galenic.catalog.cache.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        fetch(entry, tmp_path / "none")


@pytest.mark.shared
def test_a_cache_that_can_t_be_written_still_verifies(shared_data):
    assert fetch(load("chase-db1"), shared_data / "chase-db1") == 0
