"""`galenic train`: from a table of cases to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galenic.cli import options
from galenic.cli.bars import Bars, is_first
from galenic.cli.plain import console
from galenic.cli.tables import print_left_out, print_metrics
from galenic.core.errors import StoppedEarly


def train(  # noqa: PLR0913 - a parameter an option
    what: options.What,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the model folder is to be.")],
    inputs: options.Inputs = None,
    targets: options.Targets = None,
    network: options.Network = None,
    budget: options.Budget = "10m",
    split: options.Split = None,
    folds: options.Folds = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", metavar="DIR|FILE", help="Fine-tune a model folder, or a file of weights.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Repeat a run: obey its plan.json to the letter.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in DIR left off.")] = False,
    exact: options.Exact = False,
    alone: options.Alone = False,
    leave_out: Annotated[
        str | None,
        typer.Option("--leave-out", metavar="COLUMN", help="Train once a value of this column or role, left out."),
    ] = None,
) -> None:
    """Train a model, evaluate it beside the simple methods, and leave a model folder."""
    from galenic import verbs

    how: dict[str, Any] = {
        "inputs": inputs or (), "targets": targets or (), "network": network, "budget": budget, "split": split,
        "folds": folds, "start_from": start_from, "plan": plan, "seed": seed, "device": device, "exact": exact,
        "alone": alone, "out": out, "resume": resume,
    }  # fmt: skip
    try:
        with Bars() as bars:
            if leave_out is None:
                model = verbs.train(what, progress=bars, **how)
            else:
                summary = verbs.leave_out(what, by=leave_out, progress=bars, **how)
    except KeyboardInterrupt:
        raise StoppedEarly(
            f"training into {out} was interrupted", todo="continue with the same command and --resume"
        ) from None
    if leave_out is not None:
        print_left_out(summary, console())
        console().print(f"model folders: {out}", soft_wrap=True)
    elif is_first():
        print_metrics(model.metrics, console())
        console().print(f"model folder: {model.folder}", soft_wrap=True)
