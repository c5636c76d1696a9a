"""The scores of a round that left out one value at a time, as tables of cells and as Markdown."""

from __future__ import annotations

from typing import Any

from galenic.report.card import plain, table
from galenic.report.content import NOT_A_DEVICE
from galenic.report.reading import Estimate


def cells(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the value left out, cases learnt from and tested on, the model, the simple methods."""
    methods = list(dict.fromkeys(one["name"] for row in summary["rows"] for one in row["baselines"]))
    head = [f"{summary['by']} left out", "learnt from", "tested on", "this model", *methods]
    rows = []
    for row in summary["rows"]:
        simple = {one["name"]: Estimate.of(one).text for one in row["baselines"]}
        own = [str(row["left_out"]), str(row["learnt_from"]), str(row["cases"]), Estimate.of(row).text]
        rows.append(own + [simple.get(name, "") for name in methods])
    return head, rows


def said(summary: dict[str, Any]) -> str:
    """What the table's figures are, and the worst of them."""
    unit = f" [{summary['unit']}]" if summary["unit"] else ""
    better = "higher" if summary["higher_is_better"] else "lower"
    text = f"{summary['score'].replace('_', ' ')}{unit} of {summary['target']}, {better} is better"
    worst = next((row for row in summary["rows"] if row["left_out"] == summary["worst"]), None)
    if worst is None:
        return f"{text}; undefined wherever it was measured."
    return f"{text}. The worst {summary['by']}: {worst['left_out']}, {Estimate.of(worst).text}."


def markdown(summary: dict[str, Any]) -> str:
    """leave-out.md; names from data are escaped. It names no case."""
    head, rows = cells(summary)
    blocks = [
        f"# {plain(summary['task'])}, one {plain(summary['by'])} left out at a time",
        f"**{NOT_A_DEVICE}**",
        plain(said(summary)),
        table([plain(cell) for cell in head], [[plain(cell) for cell in row] for row in rows]),
        f"Value (interval); intervals: {plain(summary['interval'])}. {plain(summary['definition'])}.",
        *(f"- {plain(note)}" for note in summary["notes"]),
    ]
    return "\n\n".join(blocks) + "\n"
