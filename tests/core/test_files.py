"""Nothing half-written, whatever happens while writing; nothing outside the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.core.errors import NoSpaceError, UnreadableFile, UnsafeFile
from galenic.core.files import inside, read_json, sha256, write_aside, write_json, write_text

WRITERS = {
    "a.txt": "aside.write_text('x' * 100_000)",
    "a.npy": "np.save(aside.open('wb'), np.zeros(5000), allow_pickle=False)",
    "a.safetensors": "save_file({'a': np.zeros(5000)}, aside)",
}
LIMITED = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    from safetensors.numpy import save_file
    from galenic.core.errors import NoSpaceError
    from galenic.core.files import write_aside

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        with write_aside(Path(sys.argv[1])) as aside:
            {writer}
    except NoSpaceError as told:
        print(told.given)
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWriting:
    def test_it_appears_whole_with_its_suffixes(self, tmp_path):
        with write_aside(tmp_path / "deep" / "mask.nii.gz") as aside:
            assert aside.name.endswith(".nii.gz")
            assert not (tmp_path / "deep" / "mask.nii.gz").exists()
            aside.write_bytes(b"all")
        assert names(tmp_path / "deep") == ["mask.nii.gz"]
        assert (tmp_path / "deep" / "mask.nii.gz").read_bytes() == b"all"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_an_error_leaves_what_was_there(self, tmp_path, error):
        write_text(tmp_path / "a.txt", "before")

        def half() -> None:
            with write_aside(tmp_path / "a.txt") as aside:
                aside.write_text("half")
                raise error

        with pytest.raises(error):
            half()
        assert names(tmp_path) == ["a.txt"]
        assert (tmp_path / "a.txt").read_text() == "before"

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_no_space_is_told_and_leaves_nothing(self, tmp_path, number):
        def full() -> None:
            with write_aside(tmp_path / "a.txt"):
                raise OSError(number, os.strerror(number))

        with pytest.raises(NoSpaceError, match=r"a\.txt") as told:
            full()
        assert names(tmp_path) == []
        assert told.value.exit_status == 2

    def test_other_errors_of_the_system_stay_what_they_are(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OSError, match="file"):
            write_text(tmp_path / "file" / "a.txt", "x")

    @pytest.mark.parametrize("error", [
        OSError("5000 requested and 109 requested"), OSError(errno.EIO, "5000 requested and 109 written"),
        ValueError("5000 requested and 109 written"), ValueError("I/O error: Permission denied (os error 13)"),
    ])  # fmt: skip
    def test_what_only_sounds_like_it_stays_what_it_is(self, tmp_path, error):
        def other() -> None:
            with write_aside(tmp_path / "a.npy"):
                raise error

        with pytest.raises(type(error)) as told:
            other()
        assert told.value is error
        assert names(tmp_path) == []

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
    @pytest.mark.parametrize("name", sorted(WRITERS))
    def test_a_real_limit_on_the_size_of_files(self, tmp_path, name):
        """EFBIG stands in for a full disk: the system itself refuses to write on."""
        run = [sys.executable, "-c", textwrap.dedent(LIMITED).format(writer=WRITERS[name]), str(tmp_path / name)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.stdout == f"no space left while writing {tmp_path / name}\n", done.stderr
        assert names(tmp_path) == []

    def test_across_a_link_the_target_folder_is_written(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
        (tmp_path / "real").mkdir()
        write_text(tmp_path / "link" / "a.txt", "x")
        assert names(tmp_path / "real") == ["a.txt"]

    def test_json_is_readable_and_refuses_nan(self, tmp_path):
        write_json(tmp_path / "a.json", {"name": "é", "list": [1, 2]})
        assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
        assert read_json(tmp_path / "a.json") == {"name": "é", "list": [1, 2]}
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "b.json", {"x": float("nan")})
        assert names(tmp_path) == ["a.json"]

    @pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
    def test_what_is_no_json_object(self, tmp_path, text):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UnreadableFile, match=r"a\.json"):
            read_json(tmp_path / "a.json")


def test_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"x" * 1_000_000).hexdigest()


class TestInside:
    @pytest.mark.parametrize("name", ["a", "a/b", "a/../b", "."])
    def test_what_lies_below(self, tmp_path, name):
        assert inside(tmp_path, name).is_relative_to(tmp_path.resolve())

    @pytest.mark.parametrize("name", ["..", "a/../../b", "/etc/passwd", "link/x", "a\0b"])
    def test_what_does_not(self, tmp_path, name):
        outside = tmp_path.parent / f"{tmp_path.name}-outside"
        outside.mkdir()
        (tmp_path / "link").symlink_to(outside)
        with pytest.raises(UnsafeFile, match="outside"):
            inside(tmp_path, name)
        shutil.rmtree(outside)

    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(max_size=30))
    def test_any_name(self, tmp_path, name):
        try:
            assert inside(tmp_path, name).is_relative_to(tmp_path.resolve())
        except UnsafeFile:
            assert name.startswith("/") or ".." in name or "\0" in name
