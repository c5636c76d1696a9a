"""Options that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

What = Annotated[
    str, typer.Argument(metavar="TASK|TABLE", help="A shipped task's name, a task file, a table of cases or a folder.")
]
ModelFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A model folder, as `galenic train` leaves it.")]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", metavar="FIELD:KIND", help="A column to learn from; may be repeated.")
]
Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="FIELD:KIND", help="A column to learn; may be repeated.")
]
Network = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="An architecture instead of the default.")
]
Budget = Annotated[
    str, typer.Option("--budget", help="How long training may take: such as 90s, 10m, 2h, 40epochs or 500steps.")
]
Split = Annotated[
    Path | None, typer.Option("--split", metavar="FILE", help="CSV that says the part of each case: id, part.")
]
Folds = Annotated[
    int | None,
    typer.Option("--folds", min=0, help="Cross-validate with so many folds; 0 is none. As the task says."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Fixes all that is left to chance; 0, or the seed of --plan.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Mirror = Annotated[bool, typer.Option("--mirror", help="Average over mirror images: better at times, and slower.")]
Alone = Annotated[bool, typer.Option("--alone", help="The network alone: no simple method is weighed with it.")]
Exact = Annotated[bool, typer.Option("--exact", help="Compute in 32-bit floats throughout: slower.")]
