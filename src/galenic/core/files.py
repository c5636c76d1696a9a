"""Writing that is never half done: aside first, then renamed; and digests of what was written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galenic.core.errors import NoSpaceError, UnreadableFile, UnsafeFile

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OF_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors tells the system's number
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")  # how ndarray.tofile tells it, without the number


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there only if the block succeeds. NoSpaceError on a full disk.

    The temporary file keeps the suffixes of `path`, as many writers choose their format by it.
    """
    aside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".aside-", suffix="".join(path.suffixes[-2:]), dir=path.parent)
        os.close(handle)
        aside = Path(name)
        yield aside
        aside.chmod(0o644)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except Exception as error:
        if is_full(error):
            raise NoSpaceError(
                f"no space left while writing {path}", todo="free some space and run the same command again"
            ) from error
        raise
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Whether a full disk, a used up quota or a limit on the size of files is what stopped a writer."""
    if isinstance(error, OSError):
        return error.errno in _FULL or (error.errno is None and _OF_NUMPY.fullmatch(str(error)) is not None)
    told = _OF_RUST.search(str(error))
    return told is not None and int(told[1]) in _FULL


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that galenic wrote; UnreadableFile if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path} holds no JSON object")
    return found


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_file(path: Path) -> tuple[Path, str]:
    """A path and ""; or the two of PATH#PART, which names a part of what lies at PATH.

    Such as a DICOM series in a folder, or a place (ARRAY/NUMBER) in a file.
    """
    whole, _, part = str(path).rpartition("#")
    if not whole or not part or path.exists():
        return path, ""
    known = (Path(whole).exists() and "/" not in part) or Path(whole).is_file()
    return (Path(whole), part) if known else (path, "")


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, refused when it would lie outside `folder` (by .., a link or an absolute path)."""
    path = (folder / name.replace("\0", "?")).resolve()
    if "\0" in name or not path.is_relative_to(folder.resolve()):
        raise UnsafeFile(
            f"{name!r} points outside its folder {folder}", todo="only paths below the folder are followed"
        )
    return path
