"""Where public data lie on this machine, and whether a set is there."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from galenic.catalog.entry import Entry, load, names
from galenic.core.files import inside


def cache_root() -> Path:
    """GALENIC_DATA, else galenic's folder in the user's cache (XDG_CACHE_HOME where it is absolute, else ~/.cache)."""
    given = os.environ.get("GALENIC_DATA")
    if given:
        return Path(given).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "galenic"


def folder(name: str) -> Path:
    """Where the set `name` lies, or would lie; several sets may share a folder."""
    files = load(name).files if name in names() else None
    return inside(cache_root(), (files.folder if files else None) or name)


def present(entry: Entry, where: Path | None = None) -> bool:
    """Whether all files of the set are in its folder with their right sizes; nothing is written.

    A set that a package holds is present when that package is installed.
    """
    if entry.package:
        return find_spec(entry.package.module) is not None
    home = where or folder(entry.name)
    return not absent(entry, home)


def absent(entry: Entry, home: Path) -> list[str]:
    """Paths of the files that are not in `home` or are there with another size."""
    return [listed.path for listed in entry.manifest() if _size(home / listed.path) != listed.bytes]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
