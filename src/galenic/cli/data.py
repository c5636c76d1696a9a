"""`galenic data`: the public data sets; the licence comes before the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.bars import Bars
from galenic.cli.plain import console, printable, size
from galenic.cli.tables import print_pairs
from galenic.core.errors import InputError, StoppedEarly

if TYPE_CHECKING:
    from galenic import catalog

app = typer.Typer(no_args_is_help=True, help="Public data sets: what there is, under which licence, and fetching it.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, as `galenic data list` names it.")]


@app.command("list")
def list_sets() -> None:
    """All catalogued data sets: what they hold, how large they are, and whether they are here."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from galenic import catalog

    table = Table("name", "what", "size", "licence", "here", box=box.SIMPLE_HEAD)
    for name in catalog.names():
        entry = catalog.load(name)
        cells = (name, entry.title, _size(entry), entry.licence, "yes" if catalog.present(entry) else "no")
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)


@app.command()
def show(name: Name) -> None:
    """One data set: what it is, licence, origin, whom to cite, its traps, where it lies or would lie."""
    from galenic import catalog

    entry = catalog.load(name)
    rows = [("name", entry.name), ("what", entry.what), ("modality", entry.modality), ("licence", entry.licence)]
    rows += [("note", entry.licence_note)] if entry.licence_note else []
    rows += [("origin", entry.origin), *(("cite", text) for text in entry.citation)]
    rows += [("reference", entry.reference)] if entry.reference else []
    rows += [("trap", text) for text in entry.traps]
    if entry.table is not None:
        rows.append(("cases", str(entry.table.rows)))
    rows += [(f"cases of {name}", str(table.rows)) for name, table in entry.tables.items()]
    if entry.files is not None:
        rows += [("files", f"{entry.files.count}, {_size(entry)}"), ("sha256", entry.files.digest)]
    rows += [("place", _place(entry)), ("here", "yes" if catalog.present(entry) else f"no: galenic data get {name}")]
    print_pairs(entry.title, rows, console())


@app.command()
def get(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licence without being asked.")] = False,
) -> None:
    """Show the licence, ask, then fetch what is missing and check every file by its digest; resumable."""
    from galenic import catalog

    entry = catalog.load(name)
    typer.echo(printable(entry.licence_text()))
    if not (yes or _agreed()):
        raise InputError(
            f"the licence of {name} was not accepted, so nothing was fetched",
            todo=f"galenic data get {name} --yes accepts it without asking",
        )
    try:
        with Bars() as bars:
            brought = _fetch(entry, bars)
    except KeyboardInterrupt:
        raise StoppedEarly(
            f"fetching {name} was interrupted", todo="run the same command again: it goes on where it stopped"
        ) from None
    page = console()
    if entry.files is not None:
        page.print(
            f"{brought} of {entry.files.count} files fetched, all are right: sha256 {entry.files.digest}",
            soft_wrap=True,
        )
    page.print(f"{name} is here: {_place(entry)}", soft_wrap=True)


def _agreed() -> bool:
    """Whether the user says yes; where nobody can answer, that is a no."""
    try:
        return typer.confirm("Do you accept this licence?", default=False)
    except typer.Abort:
        typer.echo()
        return False


def _fetch(entry: catalog.Entry, bars: Bars) -> int:
    from galenic import catalog

    home = catalog.folder(entry.name)
    begun = False

    def moved(now: catalog.Progress) -> None:
        nonlocal begun
        if not begun:
            bars.stage(f"fetching {entry.name}", now.bytes, "bytes")
            begun = True
        bars.advance(now.bytes_done, f"{now.files_done}/{now.files} files")

    bars.stage(f"checking what is here of {entry.name}")
    return catalog.fetch(entry, home, progress=moved)


def _size(entry: catalog.Entry) -> str:
    return size(entry.files.bytes) if entry.files is not None else "in a package"


def _place(entry: catalog.Entry) -> str:
    from galenic import catalog

    if entry.package is not None:
        return f"inside the installed package {entry.package.name}"
    return str(catalog.folder(entry.name))
