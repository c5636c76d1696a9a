"""What a report draws of a target, as plain data: a kind says what, a wing says how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.core.errors import ValueProblem

STYLES = ("line", "step", "dots", "guide")


@dataclass(frozen=True)
class Line:
    """Points (n,) and (n,) under a name. style: line; step (each y holds up to the next x); dots; guide (dashed)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "line"

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or self.style not in STYLES:
            raise ValueProblem(
                f"a line of {len(self.x)} and {len(self.y)} points, style {self.style!r}",
                allowed=f"as many x as y; {', '.join(STYLES)}",
            )


@dataclass(frozen=True)
class Figure:
    """Lines over two named axes. spoken: what a screen reader says, by default title and caption."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    caption: str = ""
    spoken: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    square: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table of words: a head and rows of as many cells."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
