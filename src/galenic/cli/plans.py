"""What `galenic check` found, printed: fields, parts, plan, time, and warnings in red."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galenic.cli.plain import duration, printable
from galenic.cli.tables import print_pairs
from galenic.report.content import decisions, in_words

if TYPE_CHECKING:
    from galenic.verbs import Check


def print_check(found: Check, page: Console) -> None:
    """Fields and kinds, cases and patients a part, the plan with reasons, seconds a stage, problems."""
    task = found.task
    page.print(Text(printable(f"\n{task.name}{f': {task.title}' if task.title else ''}"), style="bold"))
    page.print(_fields(found))
    page.print(_parts(found))
    page.print(_plan(found))
    times = [(stage, duration(seconds)) for stage, seconds in found.seconds.items()]
    times.append(("in all", duration(sum(found.seconds.values()))))
    print_pairs("expected time on this machine", times, page)
    for warning in dict.fromkeys(found.warnings):
        page.print(Text(printable(f"warning: {warning}"), style="bold red"))


def _fields(found: Check) -> Table:
    table = Table("field", "kind", "columns", "options", box=box.SIMPLE_HEAD)
    for role, fields in (("input", found.task.inputs), ("target", found.task.targets)):
        for field in fields:
            said = {key: value for key, value in field.options.items() if value not in (None, [], {})}
            cells = (f"{role} {field.name}", field.kind, ", ".join(field.columns), in_words(said) if said else "")
            table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _parts(found: Check) -> Table:
    unknown = any(text.startswith("patient unknown") for text in found.warnings)
    table = Table("part", "cases", "patients", box=box.SIMPLE_HEAD)
    for part, cases in found.counts.items():
        table.add_row(part, str(cases), "unknown" if unknown else str(found.patients.get(part, "unknown")))
    return table


def _plan(found: Check) -> Table:
    plan = {**found.plan.model_dump(), "reasons": found.reasons}
    table = Table("decision", "what", "why", box=box.SIMPLE_HEAD)
    for decision, what, why in decisions(plan):
        shown = what.removesuffix(", see plan.json")  # which only a training leaves behind
        table.add_row(*(Text(printable(cell)) for cell in (decision, shown, why)))
    return table
