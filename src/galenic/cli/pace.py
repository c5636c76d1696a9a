"""How fast a stage goes and how long it will take, in words."""

from __future__ import annotations

from galenic.cli.plain import duration, size

TIME_UNITS = {"s", "seconds"}


class Pace:
    """How far a stage is: rate and time left count from its first report, as a resumed stage begins in its middle."""

    def __init__(self, title: str, total: float | None, unit: str, now: float) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.began, self.at = now, now
        self.done, self.note = 0.0, ""
        self._first: tuple[float, float] | None = None  # (time, done) of the first report

    def report(self, done: float, note: str, now: float) -> None:
        self._first = self._first or (now, done)
        self.done, self.at, self.note = done, now, note

    @property
    def rate(self) -> float | None:
        """Units a second; None until two reports lie apart in both time and amount."""
        if self._first is None:
            return None
        seconds, amount = self.at - self._first[0], self.done - self._first[1]
        return amount / seconds if seconds > 0 and amount > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds to go from the last report on; None where not known."""
        rate = self.rate
        return None if self.total is None or rate is None else max(0.0, (self.total - self.done) / rate)

    @property
    def words(self) -> str:
        """`120/500 steps, 12.3/s, 31 s left, loss 0.41`."""
        left = self.left
        remaining = f"{duration(left)} left" if left else ""
        return ", ".join(part for part in (self._amount(), self._speed(), remaining, self.note) if part)

    def _amount(self) -> str:
        if self.total is None and self._first is None:
            return ""
        if self.unit == "bytes":
            return size(self.done) + (f" of {size(self.total)}" if self.total is not None else "")
        of = f"/{self.total:.0f}" if self.total is not None else ""
        return f"{self.done:.0f}{of} {self.unit}".rstrip()

    def _speed(self) -> str:
        rate = self.rate
        if rate is None or self.unit in TIME_UNITS:
            return ""
        if self.unit == "bytes":
            return f"{size(rate)}/s"
        return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s"
