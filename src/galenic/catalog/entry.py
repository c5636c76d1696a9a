"""One public data set as its TOML says it, with its list of files."""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from galenic.core.errors import InputError, MissingFile, UnreadableFile

HERE = Path(__file__).parent


class ListedFile(NamedTuple):
    """A file of a set: its path below the set's folder, its size, and its SHA-256 ("" in a small manifest)."""

    path: str
    bytes: int
    sha256: str


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Strict):
    """A place on the web: a file at `under` + rest in the set's folder is at `base` + rest there."""

    base: Annotated[str, Field(pattern=r"^https?://[^/]+/.+")]
    under: str = ""


class Files(_Strict):
    """How many files, their bytes together, and `set_digest` over all of them.

    folder: the set's folder in the cache, where it is not the set's name; of several sets in one folder each has its
    own files, whose paths begin with `under`.
    """

    count: Annotated[int, Field(gt=0)]
    bytes: Annotated[int, Field(gt=0)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    folder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] | None = None
    under: str = ""
    sources: Annotated[list[Source], Field(min_length=1)]


class Package(_Strict):
    """An installed package that holds the set: its import name, its own name, and galenic's extra that brings it."""

    module: str
    name: str
    extra: str = ""


class Table(_Strict):
    """How the table of cases is made; see `galenic.catalog.table`.

    cases: pattern that a listed path must fit in whole to be a case; its named groups become columns.
    text: column -> template of the groups and earlier texts, such as "{patient}{eye}", or a constant.
    files: column -> template, of the same, of a file or folder of the set.
    rename: column -> {what the files say: what the table says}.
    numbers: columns that hold whole numbers.
    split: file in catalog/splits whose first column is a column of this table and whose second is `part`.
    function: name in `galenic.catalog.tables` of what can't be said here.
    """

    rows: Annotated[int, Field(gt=0)]
    cases: re.Pattern[str] | None = None
    text: dict[str, str] = {}
    files: dict[str, str] = {}
    rename: dict[str, dict[str, str]] = {}
    numbers: list[str] = []
    split: str | None = None
    function: str | None = None

    @model_validator(mode="after")
    def _makes_rows(self) -> Table:
        if self.cases is None and self.function is None:
            raise ValueError("a table needs `cases` or `function`")
        return self


class Entry(_Strict):
    """A catalogued data set. Exactly one of `files` (to be downloaded) and `package` (installed) is given.

    table: how its table of cases is made. tables: further ones by name, such as a row a nodule beside a row a slice.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    what: str
    modality: str
    licence: Annotated[str, Field(min_length=2)]
    licence_note: str
    citation: Annotated[list[str], Field(min_length=1)]
    origin: str
    reference: str = ""
    traps: list[str]
    files: Files | None = None
    package: Package | None = None
    table: Table | None = None
    tables: dict[str, Table] = {}
    _home: Path = PrivateAttr(default=HERE)

    @model_validator(mode="after")
    def _from_one_place(self) -> Entry:
        if (self.files is None) == (self.package is None):
            raise ValueError("exactly one of `files` and `package` must be given")
        return self

    def table_of(self, name: str | None) -> Table:
        """The table of cases, or the further one `name`; InputError lists what there is."""
        found = self.table if name is None else self.tables.get(name)
        if found is None:
            named = f"no table {name!r}" if name else f"no table of cases{' of its own' if self.tables else ''}"
            raise InputError(
                f"{self.name} has {named}",
                allowed=", ".join(self.tables),
                todo="name one as `table` of the task" if self.tables else f"see galenic data show {self.name}",
            )
        return found

    def manifest(self) -> tuple[ListedFile, ...]:
        """The set's files, sorted by path; empty for a set that a package holds."""
        if self.files is None:
            return ()
        return _manifest(self._home / "files" / f"{self.name}.tsv.gz", self.files.count, self.files.bytes)

    def url(self, path: str) -> str:
        """Where the listed file `path` is on the web."""
        sources = self.files.sources if self.files else []
        found = max((s for s in sources if path.startswith(s.under)), key=lambda s: len(s.under), default=None)
        if found is None:
            raise UnreadableFile(f"the catalogue tells no source of {path} in {self.name}", todo="reinstall galenic")
        return found.base + quote(path.removeprefix(found.under))

    def licence_text(self) -> str:
        """What a user must have read before a download: licence, its note, whom to cite, where from, how much."""
        where = [source.base for source in self.files.sources] if self.files else []
        held = f"inside the installed package {self.package.name}" if self.package else ""
        lines = [f"{self.title} ({self.name})", f"licence: {self.licence}"]
        if self.licence_note:
            lines.append(f"note:    {self.licence_note}")
        lines.append(f"origin:  {self.origin}")
        lines.extend(f"cite:    {citation}" for citation in self.citation)
        lines.extend(f"from:    {place}" for place in [*where, held] if place)
        if self.files:
            small = self.files.bytes < 1e5
            size = f"{self.files.bytes / 1e3:.0f} kB" if small else f"{self.files.bytes / 1e6:.1f} MB"
            lines.append(f"size:    {self.files.count} files, {size}")
        return "\n".join(lines)


def set_digest(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the lines `<sha256>  <path>` of all (path, sha256), sorted by path's UTF-8 bytes.

    The same as `LC_ALL=C sort` of the paths piped through sha256sum twice, so anyone can check it by hand.
    """
    ordered = sorted(digests, key=lambda pair: pair[0].encode())
    return hashlib.sha256("".join(f"{sha256}  {path}\n" for path, sha256 in ordered).encode()).hexdigest()


@cache
def _manifest(path: Path, count: int, total: int) -> tuple[ListedFile, ...]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
        listed = tuple(ListedFile(row[0], int(row[1]), row[2] if len(row) > 2 else "") for row in rows)
    except (OSError, EOFError, ValueError, IndexError, csv.Error) as error:
        raise UnreadableFile(f"the list of files {path} can't be read: {error}", todo="reinstall galenic") from error
    if (len(listed), sum(file.bytes for file in listed)) != (count, total):
        raise UnreadableFile(f"the list of files {path} is not the one its TOML counts", todo="reinstall galenic")
    return listed


def read_entry(path: Path) -> Entry:
    """Read and check one TOML; its list of files lies beside it under files/."""
    if not path.is_file():
        raise MissingFile(f"no catalogue entry {path}")
    try:
        entry = Entry.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(f"the catalogue entry {path} is not valid: {error}") from error
    if entry.name != path.stem:
        raise InputError(f"the catalogue entry {path} names itself {entry.name!r}", allowed=repr(path.stem))
    entry._home = path.parent
    return entry


def names() -> list[str]:
    """Names of all catalogued sets, sorted."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


@cache
def load(name: str) -> Entry:
    """The catalogued set `name`; InputError lists what there is."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        raise InputError(
            f"no public data set is named {name!r}",
            allowed=", ".join(names()),
            todo=f"did you mean {near[0]}?" if near else "see galenic data list",
        )
    return read_entry(HERE / f"{name}.toml")
