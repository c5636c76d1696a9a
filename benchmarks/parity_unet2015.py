"""Train the classic U-Net by galenic and show what its runtimes measured: seconds, and agreement with float32.

The model folder it leaves is what benchmarks/peers/ours_unet2015.py times. Parity is the rule for masks: Dice of the
two outputs of each compared case at least 0.995.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from galenic import verbs
from galenic.cli.bars import Bars
from galenic.core.model import runtime_folder
from galenic.core.runtime import Choice, read_choice
from records import keep


def table(choice: Choice) -> Table:
    """A row a candidate: seconds for all compared cases, times faster than torch in float32, lowest parity figure."""
    shown = Table(title=f"{choice.cases} validation cases, {choice.threads} threads")
    for heading in ("candidate", "seconds", "x torch f32", "lowest Dice with f32", "agreed", "note"):
        shown.add_column(heading)
    for one in choice.candidates:
        figures = [figure for own in one.parity.values() for figure in own if figure is not None]
        title = f"{one.title} (picked)" if one.title == choice.chosen.title else one.title
        shown.add_row(
            title, "-" if one.seconds is None else f"{one.seconds:.3f}", "-" if not one.faster else f"{one.faster:.2f}",
            f"{min(figures):.5f}" if figures else "-", "yes" if one.agreed else "no", one.note,
        )  # fmt: skip
    return shown


def measured(folder: Path, choice: Choice) -> dict[str, Any]:
    """What is recorded: the candidates, and how good the trained network is, so that parity can be weighed."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    main = metrics["main"]
    return {
        "task": metrics["task"], "cases": choice.cases, "picked": choice.chosen.title,
        "test": {main["score"]: metrics["targets"][main["target"]]["scores"][main["score"]]},
        "candidates": [one.model_dump() for one in choice.candidates],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="cxr_lungs", help="one class, one channel")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-unet2015"))
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    if not (given.out / "provenance.json").is_file():
        with Bars() as bars:
            verbs.train(given.task, network="unet2015", budget=given.budget, out=given.out, progress=bars)
    choice = read_choice(runtime_folder(given.out, 0, 1))
    if choice is None:
        raise SystemExit(f"{given.out} has no runtime/runtime.json")
    Console(width=140).print(table(choice))
    found = measured(given.out, choice)
    print(json.dumps(found["test"]))
    keep("parity_unet2015", found, wanted=given.record)


if __name__ == "__main__":
    main()
