"""What every reader needs: optional packages, errors that are only ours, and sizes checked before memory is taken."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from galenic.core.errors import GalenicError, MissingExtra, MissingFile, UnreadableFile, UnsafeFile, UnsupportedFile

# Deflate can't shrink by more than 1032 to 1 (zlib's technical details); a file that claims more is lying.
DEFLATE_RATIO = 1100
_SLACK_BYTES = 1 << 20
_MEMORY_SHARE = 0.8


def need(module: str, package: str, needed_for: str, extra: str = "images") -> Any:
    """The imported module, or MissingExtra naming the extra that brings `package`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(package, extra, needed_for) from error


def hush(package: str) -> None:
    """Keep a package's remarks about odd files from the screen, unless the program has set up logging itself."""
    logger = logging.getLogger(package)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def existing(path: Path | str) -> Path:
    """`path` as a Path, or MissingFile."""
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"{path} does not exist", todo="check the name; relative paths start at the working folder")
    return path


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Let only galenic's errors out of a block that parses a user's file, and keep odd but readable files quiet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except GalenicError:
            raise
        except FileNotFoundError as error:
            raise MissingFile(f"{path}: {error}") from error
        except RecursionError as error:
            raise UnsafeFile(f"{path} is nested too deep to be a sane {what} file") from error
        except MemoryError as error:
            raise UnsafeFile(f"{path} asks for more memory than there is") from error
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UnreadableFile(
                f"{path} can't be read as {what}: {reason}",
                todo="the file is damaged or cut short: copy or export it again",
            ) from error


def check_claim(path: Path, claimed: int, stored: int, *, ratio: float = 10) -> None:
    """Refuse, before any allocation, a header that claims more bytes than the file can hold or the machine can bear.

    claimed: bytes the array would take; stored: bytes there are in the file; ratio: the most that the file's
    coding could unfold them by (10 where nothing is compressed, to tell a lie from a file cut short).
    """
    if claimed > stored * ratio + _SLACK_BYTES:
        raise UnsafeFile(
            f"{path} holds {stored:,} bytes but claims an image of {claimed:,} bytes",
            todo="the header is damaged or hostile: get the file again from its source",
        )
    check_memory(path, claimed)


def check_memory(path: Path, claimed: int) -> None:
    """UnsupportedFile when an array of `claimed` bytes would not fit into the memory that is free now."""
    free = int(psutil.virtual_memory().available * _MEMORY_SHARE)
    if claimed > free:
        raise UnsupportedFile(
            f"{path} would take {claimed / 1e9:.1f} GB in memory",
            allowed=f"at most {free / 1e9:.1f} GB on this machine now",
            todo="crop or split the image, or use a machine with more memory",
        )
