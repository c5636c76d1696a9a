"""Cases made ready once: read, summarised, prepared, and kept in memory or in a memory-mapped cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from galenic.core.cases import Cases
from galenic.core.contract import Prepared, Settings, Summary
from galenic.core.errors import GalenicError, TableError
from galenic.core.files import write_aside, write_json
from galenic.core.frames import Frames, Stack
from galenic.core.progress import Progress

MEMORY_SHARE = 0.3  # of what is free: below it prepared cases stay in memory, above it they are mapped from disk


def in_case(cases: Cases, row: int, error: GalenicError) -> GalenicError:
    """The same error, saying in which row it arose."""
    done = type(error).__new__(type(error))
    GalenicError.__init__(
        done, f"case {cases.ids[row]} (row {row + 1}): {error.given}", allowed=error.allowed, todo=error.todo
    )
    return done


def summarise(frames: Frames, cases: Cases, rows: Sequence[int], progress: Progress) -> dict[str, Summary]:
    """The merged summary of the training rows; only this ever needs to leave a site."""
    if not rows:
        raise TableError("no training case to look at")
    progress.stage("looking at the training cases", len(rows), "cases")
    total: dict[str, Summary] | None = None
    with ThreadPoolExecutor(2) as pool:
        for done, own in enumerate(pool.map(lambda row: _summary_of(frames, cases, row), rows), start=1):
            total = own if total is None else frames.merge(total, own)
            progress.advance(done)
    assert total is not None
    return total


def _summary_of(frames: Frames, cases: Cases, row: int) -> dict[str, Summary]:
    try:
        return frames.summarise(cases.values(row))
    except GalenicError as error:
        raise in_case(cases, row, error) from error


class Ready:
    """Prepared cases by row, made on first use; in memory while they fit, else memory-mapped under `cache`."""

    def __init__(
        self, frames: Frames, cases: Cases, settings: Mapping[str, Settings], cache: Path | None = None
    ) -> None:
        self.frames, self.cases, self.settings = frames, cases, settings
        self._held: dict[int, Prepared] = {}
        self._stack: tuple[tuple[int, ...], Stack | None] | None = None
        self._room = MEMORY_SHARE * psutil.virtual_memory().available
        key = json.dumps(settings, sort_keys=True) + json.dumps(sorted(cases.roles.items()))
        self._cache = None if cache is None else cache / hashlib.sha256(key.encode()).hexdigest()[:16]

    def __getitem__(self, row: int) -> Prepared:
        held = self._held.get(row)
        if held is not None:
            return held
        prepared = self._mapped(row) or self._make(row)
        size = sum(array.nbytes for array in prepared.arrays.values())
        if size <= self._room:
            self._room -= size
            self._held[row] = prepared
        elif self._cache is not None and self._mapped(row) is None:
            prepared = self._store(row, prepared)
        return prepared

    def stacked(self, rows: Sequence[int]) -> Stack | None:
        """The rows as ready tensors, made once; None where their shapes differ or memory would not bear them twice."""
        key = tuple(rows)
        if self._stack is None or self._stack[0] != key:
            self._stack = (key, self._stack_of(rows))
        return self._stack[1]

    def _stack_of(self, rows: Sequence[int]) -> Stack | None:
        if not rows or not Stack.fits(self.frames):
            return None
        size = len(rows) * sum(array.nbytes for array in self[rows[0]].arrays.values())
        if size > self._room:
            return None
        return Stack(self.frames, {row: self[row] for row in rows}, self.settings)

    def load(self, rows: Sequence[int], progress: Progress, title: str) -> None:
        """Make all `rows` ready, two at a time."""
        progress.stage(title, len(rows), "cases")
        with ThreadPoolExecutor(2) as pool:
            for done, _ in enumerate(pool.map(self.__getitem__, rows), start=1):
                progress.advance(done)

    def _make(self, row: int) -> Prepared:
        try:
            return self.frames.prepare(self.cases.values(row), self.settings)
        except GalenicError as error:
            raise in_case(self.cases, row, error) from error

    def _folder(self, row: int) -> Path | None:
        if self._cache is None:
            return None
        return self._cache / hashlib.sha256(f"{self.cases.ids[row]} {self.cases.stamp(row)}".encode()).hexdigest()[:16]

    def _store(self, row: int, prepared: Prepared) -> Prepared:
        folder = self._folder(row)
        assert folder is not None
        for name, array in prepared.arrays.items():
            with write_aside(folder / f"{name}.npy") as aside, aside.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        write_json(folder / "facts.json", {"facts": prepared.facts, "fields": sorted(prepared.arrays)})
        return self._mapped(row) or prepared

    def _mapped(self, row: int) -> Prepared | None:
        folder = self._folder(row)
        if folder is None or not (folder / "facts.json").is_file():
            return None
        kept: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        # copy-on-write: torch wants writable memory, the file stays as it is
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in kept["fields"]}
        return Prepared(arrays, kept["facts"])
