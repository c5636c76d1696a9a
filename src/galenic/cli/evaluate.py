"""`galenic evaluate`: scores with intervals, subgroups and baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from galenic.cli import options
from galenic.cli.bars import Bars
from galenic.cli.plain import console
from galenic.cli.tables import print_metrics


def evaluate(
    folder: options.ModelFolder,
    table: Annotated[Path | None, typer.Argument(metavar="[TABLE]", help="Other cases than the model's own.")] = None,
    part: Annotated[
        str, typer.Option("--part", help="Which of the model's own cases: train, valid, calib or test.")
    ] = "test",
    device: options.Device = "auto",
    mirror: options.Mirror = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json's content instead of tables.")] = False,
) -> None:
    """Score a model with intervals, per class and subgroup, beside the simple methods on the same cases."""
    from galenic import verbs

    with Bars() as bars:
        metrics = verbs.evaluate(folder, table, part=part, device=device, mirror=mirror, progress=bars)
    if as_json:
        typer.echo(json.dumps(metrics, indent=1, allow_nan=False))
    else:
        print_metrics(metrics, console())
