"""`galenic export`: a model folder as one file, without what may identify a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.cli import options
from galenic.cli.plain import console


def export(
    folder: options.ModelFolder,
    file: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
) -> None:
    """Pack a model to be handed on; what lies under private/ is left out."""
    from galenic import verbs

    console().print(f"written: {verbs.export(folder, file)}", soft_wrap=True)
