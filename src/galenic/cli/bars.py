"""How long work shows itself: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from galenic.cli.pace import Pace
from galenic.cli.plain import console, duration, printable

SECONDS_BETWEEN_LINES = 10.0


class Screen(Protocol):
    """Where progress is shown."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def begin(self, pace: Pace) -> None: ...

    def move(self, pace: Pace) -> None: ...

    def end(self) -> None: ...

    def line(self, text: str) -> None:
        """A line that stays."""
        ...


class Terminal:
    """One line that moves."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None

    def open(self) -> None:
        self._bars.start()

    def close(self) -> None:
        self._bars.stop()

    def begin(self, pace: Pace) -> None:
        self._task = self._bars.add_task(pace.title, total=pace.total, words=pace.words)

    def move(self, pace: Pace) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=pace.done, words=pace.words)

    def end(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


class Log:
    """Plain lines on stderr, at most one in `SECONDS_BETWEEN_LINES` while a stage runs."""

    def __init__(self) -> None:
        self._last = 0.0

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def begin(self, pace: Pace) -> None:
        self._last = pace.began

    def move(self, pace: Pace) -> None:
        if pace.at - self._last >= SECONDS_BETWEEN_LINES:
            self._last = pace.at
            self.line(f"{pace.title}: {pace.words}")

    def end(self) -> None:
        pass

    def line(self, text: str) -> None:
        typer.echo(text, err=True)


class Nowhere:
    """For all but the first of several processes."""

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def begin(self, pace: Pace) -> None:
        pass

    def move(self, pace: Pace) -> None:
        pass

    def end(self) -> None:
        pass

    def line(self, text: str) -> None:
        pass


class Bars:
    """A `galenic.core.progress.Progress` around a piece of work: `with Bars() as bars: verb(progress=bars)`.

    A stage that ends leaves a line with its duration; one that an error ends leaves none.
    """

    def __init__(self, screen: Screen | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen or fitting()
        self._clock = clock
        self._pace: Pace | None = None

    def __enter__(self) -> Bars:
        self._screen.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(finished=kind is None)
        self._screen.close()

    def stage(self, title: str, total: float | None = None, unit: str = "") -> None:
        self._end(finished=True)
        self._pace = Pace(printable(title), total, unit, self._clock())
        self._screen.begin(self._pace)

    def advance(self, done: float, note: str = "") -> None:
        if self._pace is not None:
            self._pace.report(done, printable(note), self._clock())
            self._screen.move(self._pace)

    def say(self, text: str) -> None:
        self._screen.line(printable(text))

    def _end(self, *, finished: bool) -> None:
        if self._pace is None:
            return
        self._screen.end()
        if finished:
            self._screen.line(f"{self._pace.title}: {duration(self._clock() - self._pace.began)}")
        self._pace = None


def is_first() -> bool:
    """Whether this process is the one that speaks; torchrun tells each its RANK before torch is imported."""
    return os.environ.get("RANK", "0") == "0"


def fitting() -> Screen:
    """The screen that fits where stderr goes."""
    if not is_first():
        return Nowhere()
    return Terminal() if sys.stderr.isatty() else Log()
