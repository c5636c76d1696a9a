"""How the door opens, and what leaves through it when something goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import galenic
from galenic.cli.door import Door, app, explained
from galenic.core.errors import GalenicError, InputError, MissingExtra, NoSpaceError, StoppedEarly, TaskError

Run = Callable[..., Result]
COMMANDS = ["check", "data", "demo", "evaluate", "export", "predict", "report", "train"]
HEAVY = ["matplotlib", "numpy", "pandas", "pydantic", "scipy", "sklearn", "torch"]


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def broken(error: BaseException, *words: str) -> Result:
    """A command behind the same door that does nothing but fail."""
    own = typer.Typer(cls=Door, pretty_exceptions_enable=False)

    @own.callback()
    def top(debug: bool = False) -> None:
        return

    @own.command()
    def fail(word: str = "") -> None:
        raise error

    return CliRunner().invoke(own, [*words, "fail"])


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    command = [sys.executable, "-m", "galenic.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_the_door_opens_without_anything_heavy() -> None:
    code = f"import sys, galenic.cli.door; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_help_is_told_without_anything_heavy(words: list[str]) -> None:
    """Newer typers bring pydantic in themselves to read an option, 0.1 s that is theirs."""
    code = (
        "import sys\nfrom galenic.cli.door import main\n"
        f"sys.argv = ['galenic', *{words}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('status', end.code)\n"
        f"print('heavy', [name for name in {HEAVY} if name in sys.modules and name != 'pydantic'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Usage:" in done.stdout
    assert done.stdout.endswith("status 0\nheavy []\n")


def test_help_names_every_command(run: Run) -> None:
    said = run("--help").stdout
    assert all(f" {name} " in said for name in COMMANDS)


def test_each_command_says_what_it_does() -> None:
    top = typer.main.get_command(app)
    assert isinstance(top, Door)
    assert sorted(top.commands) == COMMANDS
    for name, command in top.commands.items():
        assert command.get_short_help_str(), name


def test_version() -> None:
    done = shell("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"galenic {galenic.__version__}")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TaskError("no such column 'x'", allowed="a, b", todo="name one of these"), 2),
        (MissingExtra("highdicom", "images", "DICOM SEG"), 2),
        (StoppedEarly("the clock ran out", todo="--resume"), 3),
        (GalenicError("something"), 1),
        (MemoryError(), 2),
        (OutOfMemoryError("CUDA out of memory"), 2),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 2),
        (ZeroDivisionError("division by zero"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_statuses(error: BaseException, status: int) -> None:
    result = broken(error)
    assert result.exit_code == status
    assert result.stderr.strip()
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_message_says_what_was_given_what_is_allowed_what_to_do() -> None:
    result = broken(TaskError("no such column 'x'", allowed="a, b", todo="name one of these"))
    assert result.stderr == "error: no such column 'x'\nallowed: a, b\nwhat to do: name one of these\n"


def test_what_stopped_early_is_not_called_an_error() -> None:
    assert broken(StoppedEarly("interrupted", todo="add --resume")).stderr.startswith(
        "stopped: interrupted\nwhat to do: "
    )


def test_a_fault_of_our_own_is_one_line_and_how_to_report_it() -> None:
    lines = broken(KeyError("weights\nand more")).stderr.splitlines()
    assert lines[0] == r"this is a fault of galenic's, please report it: KeyError: 'weights\nand more'"
    assert "--debug" in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize("error", [TaskError("wrong"), ZeroDivisionError("zero")])
def test_debug_shows_the_traceback_and_keeps_the_status(error: Exception) -> None:
    plain, shown = broken(error), broken(error, "--debug")
    assert shown.exit_code == plain.exit_code
    assert "Traceback (most recent call last)" in shown.stderr
    assert "raise error" in shown.stderr


def test_debug_may_stand_at_the_end(run: Run, tmp_path: Path) -> None:
    words = ("data", "show", "nothing-of-that-name")
    assert "Traceback" not in run(*words).stderr
    for shown in (run("--debug", *words), run(*words, "--debug")):
        assert shown.exit_code == 2
        assert "Traceback" in shown.stderr


def test_after_a_double_dash_debug_is_a_word(run: Run) -> None:
    result = run("data", "show", "--", "--debug")
    assert result.exit_code == 2
    assert "no public data set is named '--debug'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_name_can_not_steer_the_terminal() -> None:
    result = broken(InputError("the file \x1b[2J\x1b]0;owned\x07.dcm\u202e"))
    assert result.stderr == "error: the file ?[2J?]0;owned?.dcm?\n"


def test_a_full_disk_names_the_file_and_a_foreign_error_stays_foreign() -> None:
    found = explained(OSError(errno.ENOSPC, "No space left on device", "/x/y"))
    assert isinstance(found, NoSpaceError)
    assert "/x/y" in found.given
    assert explained(ValueError("x")) is None
    assert explained(OSError(errno.EIO, "Input/output error", "/x/y")) is None


def test_a_usage_error_keeps_the_shells_own_words(run: Run, tmp_path: Path) -> None:
    for words, said in (
        (["train", "hippocampus"], "--out"),
        (["trian"], "train"),
        (["train", "x", "-o", str(tmp_path), "--folds", "-1"], "--folds"),
        (["predict", str(tmp_path), "-o", str(tmp_path)], "INPUT"),
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "fault of galenic" not in result.stderr


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    piped = subprocess.run(
        f"'{sys.executable}' -m galenic.cli data list | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in piped.stderr
    assert "fault" not in piped.stderr


def test_a_wrong_task_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    result = run("train", "no-such-task", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "\nwhat to do: " in result.stderr
    assert not (tmp_path / "out").exists()
