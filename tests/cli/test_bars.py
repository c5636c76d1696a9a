"""Progress as it is read: rate, time left, lines in a log, a bar on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.cli.bars import SECONDS_BETWEEN_LINES, Bars, Log, Nowhere, fitting
from galenic.cli.pace import Pace
from galenic.cli.plain import duration, printable, size


class Clock:
    """Time as told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_count_from_where_a_resumed_stage_began() -> None:
    pace = Pace("training", 500, "steps", 0.0)
    assert pace.words == "0/500 steps"
    pace.report(400, "", 10.0)
    assert pace.rate is None
    pace.report(420, "loss 0.41", 20.0)
    assert pace.rate == pytest.approx(2.0)
    assert pace.left == pytest.approx(40.0)
    assert pace.words == "420/500 steps, 2/s, 40 s left, loss 0.41"


def test_a_stage_in_seconds_has_no_rate_and_one_in_bytes_has_megabytes() -> None:
    clock, volume = Pace("training", 300, "s", 0.0), Pace("fetching", 4e9, "bytes", 0.0)
    for pace, first, then in ((clock, 0, 100), (volume, 0, 2.5e6 * 100)):
        pace.report(first, "", 0.0)
        pace.report(then, "", 100.0)
    assert clock.words == "100/300 s, 3:20 min left"
    assert volume.words == "250.0 MB of 4.00 GB, 2.5 MB/s, 25:00 min left"


def test_a_stage_of_unknown_length_counts_what_is_done() -> None:
    pace = Pace("reading", None, "files", 0.0)
    assert pace.words == ""
    pace.report(7, "a.dcm", 1.0)
    assert pace.words == "7 files, a.dcm"


@given(
    st.one_of(st.none(), st.floats(0, 1e9)),
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e5)), max_size=6),
)
def test_no_report_breaks_the_words(total: float | None, reports: list[tuple[float, float]]) -> None:
    pace = Pace("stage", total, "steps", 0.0)
    for done, now in reports:
        pace.report(done, "", now)
        assert "nan" not in pace.words
        assert pace.left is None or pace.left >= 0


def test_a_log_gets_a_line_now_and_then_and_one_at_each_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Bars(Log(), clock) as bars:
        bars.stage("preparing", 100, "cases")
        for case in range(1, 101):
            clock.now += 0.25
            bars.advance(case)
        bars.say("warning: one case is empty")
        bars.stage("training", 10, "steps")
        clock.now += 1
    lines = capsys.readouterr().err.splitlines()
    between = [line for line in lines if line.startswith("preparing: ") and "cases" in line]
    assert len(between) == int(25 // SECONDS_BETWEEN_LINES)
    assert between[0] == "preparing: 40/100 cases, 4/s, 15 s left"
    assert lines[len(between) :] == ["warning: one case is empty", "preparing: 25 s", "training: 1.0 s"]


def _interrupted(bars: Bars) -> None:
    bars.stage("training", 10, "steps")
    raise KeyboardInterrupt


def test_a_stage_that_an_error_ends_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars(Log())
    with pytest.raises(KeyboardInterrupt), bars:
        _interrupted(bars)
    assert capsys.readouterr().err == ""


def test_an_advance_before_any_stage_is_borne(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Log()) as bars:
        bars.advance(3)
    assert capsys.readouterr().err == ""


def test_only_the_first_of_several_processes_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert isinstance(fitting(), Nowhere)
    monkeypatch.setenv("RANK", "0")
    assert isinstance(fitting(), Log)


def test_on_a_terminal_a_bar_moves_and_leaves_a_line() -> None:
    code = (
        "import time\nfrom galenic.cli.bars import Bars\n"
        "with Bars() as bars:\n"
        "    bars.stage('training', 4, 'steps')\n"
        "    for step in range(1, 5):\n        time.sleep(0.15); bars.advance(step, '[red]loss')\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.Popen([sys.executable, "-c", code], stderr=slave, stdout=slave, env=environment)
    os.close(slave)
    said = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # the other end of a pseudo-terminal closes with an error
            break
        if not piece:
            break
        said += piece
    os.close(master)
    assert done.wait(timeout=30) == 0
    text = said.decode()
    assert "4 steps" in text
    assert "[red]loss" in text
    assert "training: 0." in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (187, "3:07 min"),
        (7500, "2:05 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(812, "812 bytes"), (3_400_000, "3.4 MB"), (1.2e9, "1.20 GB")])
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said


@given(st.text())
def test_printable_keeps_length_and_lets_no_control_character_through(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not {sign for sign in shown if ord(sign) < 32} - {"\n"}
    assert printable(shown) == shown
