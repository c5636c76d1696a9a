"""Bring a public data set here: only what is missing, checked by digest, resumable, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from galenic.catalog.cache import present
from galenic.catalog.entry import Entry, ListedFile, set_digest
from galenic.catalog.verified import Verified
from galenic.core.errors import DownloadError, MissingExtra, NoSpaceError
from galenic.core.files import inside

if TYPE_CHECKING:
    import httpx

    from galenic.catalog.transfer import Wanted

AT_ONCE = 8
_BLOCK = 4096
_SPARE = 1 << 20


@dataclass(frozen=True)
class Progress:
    """How far a download is; `path` is the file that moved last."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int
    path: str


def _silent(_progress: Progress) -> None:
    return None


def fetch(
    entry: Entry,
    home: Path,
    *,
    progress: Callable[[Progress], None] = _silent,
    client: httpx.Client | None = None,
) -> int:
    """Make the set's files present and right in the folder `home`; returns how many had to be brought.

    Show `entry.licence_text()` to the user first: this function asks nobody. Files that are already right stay; what
    was found right is not hashed again. `progress` is called from worker threads, one call at a time. Ctrl-C leaves
    whole files and .part files, from which the next call goes on.
    Raises DownloadError, NoSpaceError, UnsafeFile (a path or link that leaves `home`), MissingExtra (httpx, or the
    package that holds the set).
    """
    if entry.files is None:
        _need_package(entry)
        return 0
    home = home.absolute()
    try:
        verified = Verified(home)
        missing = [listed for listed in entry.manifest() if not _is_right(listed, home, verified)]
        if missing:
            _bring_all(entry, home, missing, progress=progress, client=client)
        _check_set(entry, home, verified, brought=missing)
    except OSError as error:
        raise DownloadError(
            f"{error.filename or home} can't be used: {error.strerror or error}",
            todo="choose a folder that you may write to, by the environment variable GALENIC_DATA",
        ) from error
    verified.save()
    return len(missing)


def _need_package(entry: Entry) -> None:
    if entry.package and not present(entry):
        raise MissingExtra(entry.package.name, entry.package.extra or "all", f"the data set {entry.name}")


def _is_right(listed: ListedFile, home: Path, verified: Verified) -> bool:
    path = inside(home, listed.path)
    if not path.is_file() or path.stat().st_size != listed.bytes:
        return False
    return not listed.sha256 or verified.digest(listed.path) == listed.sha256


def _bring_all(
    entry: Entry,
    home: Path,
    missing: list[ListedFile],
    *,
    progress: Callable[[Progress], None],
    client: httpx.Client | None,
) -> None:
    try:
        from galenic.catalog import transfer
    except ImportError as error:
        raise MissingExtra("httpx", "data", "a download") from error
    wanted = [_wanted(entry, home, listed, transfer.Wanted) for listed in missing]
    _check_space(entry, home, wanted)
    for parent in sorted({one.path.parent for one in wanted}):
        parent.mkdir(parents=True, exist_ok=True)
    tally = _Tally(wanted, entry, progress)
    own = client or transfer.open_client()
    stop = Event()
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="galenic-get")
    try:
        running = [
            pool.submit(transfer.bring, one, own, stop=stop, received=tally.counter(listed.path))
            for one, listed in zip(wanted, missing, strict=True)
        ]
        for future in as_completed(running):
            future.result()
            tally.file_done()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        if client is None:
            own.close()


def _wanted(entry: Entry, home: Path, listed: ListedFile, make: type[Wanted]) -> Wanted:
    one = make(entry.url(listed.path), home / listed.path, listed.bytes, listed.sha256)
    inside(home, f"{listed.path}.part")
    return one


def _check_space(entry: Entry, home: Path, wanted: list[Wanted]) -> None:
    here = sum(one.part.stat().st_size for one in wanted if one.part.is_file())
    needed = sum(one.bytes + _BLOCK for one in wanted) - here + _SPARE
    disk = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if free < needed:
        raise NoSpaceError(
            f"{entry.name} needs {needed / 1e6:.1f} MB more on the disk of {disk}, and {free / 1e6:.1f} MB are free",
            todo="free some space, or choose another disk by the environment variable GALENIC_DATA",
        )


class _Tally:
    """Adds up what the workers report and passes it on, one call at a time."""

    def __init__(self, wanted: list[Wanted], entry: Entry, progress: Callable[[Progress], None]) -> None:
        assert entry.files is not None
        self._files, self._bytes = entry.files.count, entry.files.bytes
        self._files_done = self._files - len(wanted)
        here = sum(one.part.stat().st_size for one in wanted if one.part.is_file())
        self._bytes_done = self._bytes - sum(one.bytes for one in wanted) + here
        self._progress, self._path, self._lock = progress, "", Lock()

    def counter(self, path: str) -> Callable[[int], None]:
        def received(count: int) -> None:
            with self._lock:
                self._bytes_done += count
                self._path = path
                self._tell()

        return received

    def file_done(self) -> None:
        with self._lock:
            self._files_done += 1
            self._tell()

    def _tell(self) -> None:
        self._progress(Progress(self._files_done, self._files, self._bytes_done, self._bytes, self._path))


def _check_set(entry: Entry, home: Path, verified: Verified, *, brought: list[ListedFile]) -> None:
    """Compare the digest over all files; a wrong one costs the files, as it does not tell which is wrong."""
    assert entry.files is not None
    found = set_digest((listed.path, verified.digest(listed.path)) for listed in entry.manifest())
    if found == entry.files.digest:
        return
    suspects = brought or list(entry.manifest())
    for listed in suspects:
        verified.forget(listed.path)
        (home / listed.path).unlink()
    verified.save()
    raise DownloadError(
        f"the files of {entry.name} in {home} have together the SHA-256 {found}; {len(suspects)} of them were removed",
        allowed=entry.files.digest,
        todo="run the same command again; if it comes again, the public copy has changed and must not be used",
    )
