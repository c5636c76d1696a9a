"""How long work tells where it is; the shell draws it, tests record it, and by default nothing is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One stage at a time: begun with its length in `unit`, advanced, ended by the next."""

    def stage(self, title: str, total: float | None = None, unit: str = "") -> None: ...

    def advance(self, done: float, note: str = "") -> None:
        """`done` is the whole so far, not the step."""
        ...

    def say(self, text: str) -> None:
        """A line that stays."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, title: str, total: float | None = None, unit: str = "") -> None:
        pass

    def advance(self, done: float, note: str = "") -> None:
        pass

    def say(self, text: str) -> None:
        pass
