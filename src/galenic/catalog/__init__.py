"""Public data sets: where from, under which licence, checked by digest, and how each becomes a table of cases."""

from galenic.catalog.cache import cache_root, folder, present
from galenic.catalog.download import Progress, fetch
from galenic.catalog.entry import Entry, load, names
from galenic.catalog.tables import cases, split_path

__all__ = [
    "Entry",
    "Progress",
    "cache_root",
    "cases",
    "fetch",
    "folder",
    "load",
    "names",
    "present",
    "split_path",
]
