"""`galenic predict`: files, folders or tables in; the target's own formats out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli import options
from galenic.cli.bars import Bars
from galenic.cli.plain import console, printable
from galenic.cli.tables import answer_in_words
from galenic.core.errors import Refused

if TYPE_CHECKING:
    from galenic.verbs import Written


def predict(
    folder: options.ModelFolder,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Files, folders or tables of cases.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder for the answers.")],
    form: Annotated[
        str, typer.Option("--format", help="A file format of the target, or auto: the input's own.")
    ] = "auto",
    *,
    device: options.Device = "auto",
    exact: options.Exact = False,
    mirror: options.Mirror = False,
) -> None:
    """Answer each input; one that can't be judged is refused with its reason, and the others go on."""
    from galenic import verbs

    with Bars() as bars:
        written = verbs.predict(
            folder, inputs, out, form=form, device=device, exact=exact, mirror=mirror, progress=bars
        )
    _print_answered([case for case in written if case.refused is None])
    refused = [case for case in written if case.refused is not None]
    if refused:
        lines = "".join(f"\n  {case.id}: " + str(case.refused).replace("\n", "\n    ") for case in refused)
        raise Refused(f"{len(refused)} of {len(written)} inputs got no answer:{lines}")


def _print_answered(cases: list[Written]) -> None:
    page = console()
    for case in cases:
        said = answer_in_words(case.answer) if case.answer is not None else ""
        files = ", ".join(str(path) for path in case.paths)
        page.print(printable(": ".join(part for part in (case.id, said, files) if part)), soft_wrap=True)
