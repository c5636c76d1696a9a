"""Text for a terminal or a log: how long, how much, and nothing that a file's name could slip in."""

from __future__ import annotations

import os
import sys
import unicodedata

from rich.console import Console

NARROWEST_LOG = 120  # characters a line where no terminal tells its width


def printable(text: str) -> str:
    """The text without control characters other than a new line, so that no name from a file steers the terminal."""
    return "".join(sign if sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cf") else "?" for sign in text)


def console(*, stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, and wide enough for a table where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    told = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, markup=False, width=None if told else NARROWEST_LOG)


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3:07 min`, `2:05 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    return f"{minutes}:{left:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def size(count: float) -> str:
    """Bytes as `812 bytes`, `3.4 MB` or `1.20 GB`."""
    if count < 10_000:
        return f"{count:.0f} bytes"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
