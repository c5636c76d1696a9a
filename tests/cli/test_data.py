"""`galenic data`: what there is, and the licence before the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from galenic import catalog
from galenic.catalog import download
from galenic.catalog.entry import Entry

Run = Callable[..., Result]


def test_list_names_every_set_with_licence_and_presence(run: Run) -> None:
    result = run("data", "list")
    assert result.exit_code == 0
    for name in catalog.names():
        assert name in result.stdout
    row = next(line for line in result.stdout.splitlines() if "breast-cancer-wisconsin" in line)
    assert "CC BY 4.0" in row
    assert "yes" in row


def test_show_tells_licence_origin_citation_traps_and_place(run: Run, asked: list[str], tmp_path: Path) -> None:
    result = run("data", "show", "toy")
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0
    for text in ("A toy [bold]set[/bold]", "CC0", "made for a test", "nobody", "it is no data set", "2, 15 bytes"):
        assert text in said
    assert str(tmp_path / "cache" / "toy") in result.stdout.replace("\n", "").replace(" ", "")
    assert "no: galenic data get toy" in said
    assert not asked


def test_every_shipped_set_can_be_shown(run: Run) -> None:
    for name in catalog.names():
        result = run("data", "show", name)
        assert result.exit_code == 0, name
        assert catalog.load(name).title in result.stdout


def test_an_unknown_set_lists_what_there_is_and_the_nearest(run: Run) -> None:
    result = run("data", "show", "msd-hipocampus")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no public data set is named 'msd-hipocampus'")
    assert "allowed: bccd, brain-mri-dicom, " in result.stderr
    assert "what to do: did you mean msd-hippocampus?" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "perhaps\nno\n"])
def test_without_consent_nothing_is_fetched(run: Run, asked: list[str], tmp_path: Path, answer: str) -> None:
    result = run("data", "get", "toy", answer=answer)
    assert result.exit_code == 2
    assert "licence: CC0" in result.stdout
    assert "Do you accept this licence?" in result.stdout
    assert "not accepted, so nothing was fetched" in result.stderr
    assert not asked
    assert not (tmp_path / "cache").exists()


def test_the_licence_stands_before_the_question_and_the_files(run: Run, asked: list[str], tmp_path: Path) -> None:
    result = run("data", "get", "toy", answer="y\n")
    assert result.exit_code == 0, result.stderr
    order = [result.stdout.index(text) for text in ("licence: CC0", "Do you accept", "2 of 2 files fetched", "is here")]
    assert order == sorted(order)
    assert sorted(asked) == ["/pub/scans/a.bin", "/pub/scans/b.bin"]
    assert (tmp_path / "cache" / "toy" / "scans" / "b.bin").read_bytes() == b"second one"
    assert catalog.load("toy").files is not None
    assert catalog.load("toy").files.digest in result.stdout
    assert "fetching toy" in result.stderr


def test_a_set_that_is_here_is_checked_and_not_fetched_again(run: Run, asked: list[str]) -> None:
    assert run("data", "get", "toy", "--yes").exit_code == 0
    asked.clear()
    result = run("data", "get", "toy", "--yes")
    assert result.exit_code == 0
    assert "licence: CC0" in result.stdout
    assert "Do you accept" not in result.stdout
    assert "0 of 2 files fetched, all are right" in result.stdout
    assert not asked


def test_a_damaged_file_is_fetched_again(run: Run, asked: list[str], tmp_path: Path) -> None:
    run("data", "get", "toy", "--yes")
    asked.clear()
    held = tmp_path / "cache" / "toy" / "scans" / "a.bin"
    held.write_bytes(b"wrong")
    result = run("data", "get", "toy", "--yes")
    assert "1 of 2 files fetched" in result.stdout
    assert asked == ["/pub/scans/a.bin"]
    assert held.read_bytes() == b"first"


def test_a_public_copy_that_changed_is_refused(run: Run, asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "web" / "pub" / "scans" / "a.bin").write_bytes(b"FIRST")
    result = run("data", "get", "toy", "--yes")
    assert result.exit_code == 2
    assert "is not the file the catalogue knows" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "cache" / "toy" / "scans" / "a.bin").exists()


def test_a_set_inside_a_package_needs_no_download(run: Run) -> None:
    result = run("data", "get", "breast-cancer-wisconsin", "--yes")
    assert result.exit_code == 0
    assert result.stdout.index("licence: CC BY 4.0") < result.stdout.index("inside the installed package scikit-learn")
    assert "files fetched" not in result.stdout


def test_an_interrupted_fetch_can_be_taken_up(run: Run, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(entry: Entry, home: Path, **rest: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "fetch", interrupted)
        result = run("data", "get", "toy", "--yes")
    assert result.exit_code == 3
    assert "run the same command again" in result.stderr
    assert catalog.fetch is download.fetch
    assert run("data", "get", "toy", "--yes").exit_code == 0


@pytest.mark.shared
def test_a_real_set_in_the_cache_is_found_right(run: Run, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_DATA", str(shared_data))
    result = run("data", "get", "isbi2012-em", "--yes")
    assert result.exit_code == 0, result.stderr
    files = catalog.load("isbi2012-em").files
    assert files is not None
    assert f"0 of {files.count} files fetched" in result.stdout
