"""`galenic check`: what training would do, before anything runs."""

from __future__ import annotations

from galenic.cli import options
from galenic.cli.bars import Bars
from galenic.cli.plain import console


def check(  # noqa: PLR0913 - a parameter an option
    what: options.What,
    inputs: options.Inputs = None,
    targets: options.Targets = None,
    network: options.Network = None,
    budget: options.Budget = "10m",
    split: options.Split = None,
    folds: options.Folds = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
) -> None:
    """Say what training would do: fields, parts, problems found, the plan, the time it will take."""
    from galenic import verbs
    from galenic.cli.plans import print_check

    with Bars() as bars:
        found = verbs.check(
            what,
            inputs=inputs or (),
            targets=targets or (),
            network=network,
            budget=budget,
            split=split,
            folds=folds,
            seed=seed,
            device=device,
            progress=bars,
        )
    print_check(found, console())
