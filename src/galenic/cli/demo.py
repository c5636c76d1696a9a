"""`galenic demo`: the main job from end to end, on real data inside installed packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.bars import Bars
from galenic.cli.plain import console
from galenic.cli.tables import print_metrics


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the demo's folders are to be.")] = Path(
        "galenic-demo"
    ),
) -> None:
    """Train, evaluate and predict on real data that need no download: a smoke demo, no clinical claim."""
    from galenic import demonstration

    with Bars() as bars:
        written = demonstration.demo(out, progress=bars)
    page = console()
    for metrics in sorted(out.glob("*/metrics.json")):
        print_metrics(json.loads(metrics.read_text(encoding="utf-8")), page)
    page.print(f"report: {written}", soft_wrap=True)
