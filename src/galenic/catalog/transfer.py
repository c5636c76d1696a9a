"""One file over HTTP: resumed, bounded, checked, retried. Needs httpx (the extra `data`)."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx

from galenic.core.errors import DownloadError, NoSpaceError
from galenic.core.files import sha256

ATTEMPTS = 5
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LATER = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Wanted:
    """A file to bring: from where, to where, how long it is, and its SHA-256 ("" where only its set has one)."""

    url: str
    path: Path
    bytes: int
    sha256: str

    @property
    def part(self) -> Path:
        """Where what has come so far is kept."""
        return self.path.with_name(self.path.name + ".part")


class Interrupted(Exception):
    """The other side of Ctrl-C: a file was left as its .part."""


class _Again(Exception):
    """The attempt failed in a way that may pass."""

    def __init__(self, reason: str, pause_seconds: float = 0.0) -> None:
        self.pause_seconds = pause_seconds
        super().__init__(reason)


def open_client() -> httpx.Client:
    """A client that keeps connections and asks for the bytes as they are, since sizes and ranges are of those."""
    return httpx.Client(
        timeout=httpx.Timeout(20.0),
        follow_redirects=True,
        headers={"User-Agent": "galenic", "Accept-Encoding": "identity"},
    )


def bring(wanted: Wanted, client: httpx.Client, *, stop: Event, received: Callable[[int], None]) -> None:
    """Download one file; when this returns it is whole and, where its SHA-256 is known, right.

    received gets each number of bytes as it comes, and a negative one when bytes are thrown away.
    Raises DownloadError (the .part stays for the next try, unless its content is wrong), NoSpaceError (the .part
    is removed) and Interrupted when `stop` is set.
    """
    reason, pause = "", 0.0
    for attempt in range(ATTEMPTS):
        if stop.wait(pause):
            raise Interrupted
        try:
            _bring_once(wanted, client, stop=stop, received=received)
        except (httpx.TransportError, _Again) as error:
            reason = str(error) or type(error).__name__
            asked = error.pause_seconds if isinstance(error, _Again) else 0.0
            pause = min(max(PAUSE_SECONDS * 2**attempt, asked), LONGEST_PAUSE_SECONDS)
        except httpx.HTTPError as error:
            raise DownloadError(f"{wanted.url} can't be had: {error}", todo="try again later") from error
        else:
            return
    raise DownloadError(
        f"{wanted.url} broke off {ATTEMPTS} times, {_size(wanted.part)} of {wanted.bytes} bytes are here ({reason})",
        todo="check the connection and run the same command again: it goes on where it stopped",
    )


def _bring_once(wanted: Wanted, client: httpx.Client, *, stop: Event, received: Callable[[int], None]) -> None:
    have = _size(wanted.part)
    if have > wanted.bytes:
        _discard(wanted, received)
        have = 0
    if have < wanted.bytes:
        headers = {"Range": f"bytes={have}-"} if have else {}
        with client.stream("GET", wanted.url, headers=headers) as response:
            _accept(response, wanted, have, received)
            _store(response, wanted, stop=stop, received=received)
    _finish(wanted, resumed=have > 0, received=received)


def _accept(response: httpx.Response, wanted: Wanted, have: int, received: Callable[[int], None]) -> None:
    """Judge the answer's head; afterwards the .part holds exactly what comes before the body."""
    status = response.status_code
    if status == 206 and have:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == have and found[2] in (str(wanted.bytes), "*"):
            return
    if status in _LATER:
        asked = response.headers.get("Retry-After", "")
        raise _Again(f"the server answered {status}", float(asked) if asked.isdecimal() else 0.0)
    if status in (206, 416):
        _discard(wanted, received)
        raise _Again(f"the server answered {status} with another range than asked for")
    if status != 200:
        raise DownloadError(
            f"{wanted.url} answered {status} {response.reason_phrase}",
            todo="the public copy may have moved: see whether a newer galenic knows where to",
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{wanted.url} came encoded, which was not asked for", todo="try without a proxy")
    _discard(wanted, received)


def _store(response: httpx.Response, wanted: Wanted, *, stop: Event, received: Callable[[int], None]) -> None:
    have = _size(wanted.part)
    try:
        with wanted.part.open("ab") as file:
            for chunk in response.iter_raw():
                if have + len(chunk) > wanted.bytes:
                    break
                file.write(chunk)
                have += len(chunk)
                received(len(chunk))
                if stop.is_set():
                    raise Interrupted
            else:
                if have < wanted.bytes:
                    raise _Again("the server ended too early")
                return
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _discard(wanted, received)
        raise NoSpaceError(
            f"no space left while writing {wanted.path}", todo="free some space and run the same command again"
        ) from error
    _discard(wanted, received)
    raise DownloadError(
        f"{wanted.url} is longer than it should be", allowed=f"{wanted.bytes} bytes", todo="the public copy has changed"
    )


def _finish(wanted: Wanted, *, resumed: bool, received: Callable[[int], None]) -> None:
    found = sha256(wanted.part) if wanted.sha256 else ""
    if found != wanted.sha256:
        _discard(wanted, received)
        if resumed:
            raise _Again("what was here from before did not fit what came now")
        raise DownloadError(
            f"{wanted.url} has the SHA-256 {found}, so it is not the file the catalogue knows; it was removed",
            allowed=wanted.sha256,
            todo="try again; if it comes again, the public copy has changed and must not be used",
        )
    wanted.part.replace(wanted.path)


def _discard(wanted: Wanted, received: Callable[[int], None]) -> None:
    lost = _size(wanted.part)
    with suppress(FileNotFoundError):
        wanted.part.unlink()
        received(-lost)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
