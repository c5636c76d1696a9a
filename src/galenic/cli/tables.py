"""metrics.json as tables on the terminal: each score [low, high] beside the simple methods, classes, subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from galenic.cli.plain import printable
from galenic.report import left_out
from galenic.report.content import Content
from galenic.report.reading import Estimate, Reading, Row, number, readings, validated, validation_in_words

if TYPE_CHECKING:
    from galenic.core.contract import Answer

_OURS = 3  # the model's column where one value is left out at a time
MOST_COLUMNS = 3  # scores a table of classes shows; all are in metrics.json


def print_metrics(metrics: dict[str, Any], page: Console) -> None:
    """What the content of a metrics.json says, in tables; its warnings in red, last, where they are seen."""
    content = Content(task={}, plan={}, metrics=metrics)
    cases = metrics.get("cases")
    head = f"{metrics.get('task', 'model')}, {metrics.get('part', 'test')} part"
    page.print(_text(f"\n{head}{f', {cases} cases' if cases is not None else ''}", "bold"))
    for reading in readings(content):
        _print_reading(reading, page)
    held = validated(content)
    if held:
        page.print(_text(f"cross-validated: {validation_in_words(content)}", "bold"))
    for reading in held:
        page.print(methods_table(reading))
    for warning in content.warnings:
        page.print(_text(f"warning: {warning}", "bold red"))


def _print_reading(reading: Reading, page: Console) -> None:
    page.print(methods_table(reading))
    if reading.classes:
        page.print(_rows_table("class", reading, reading.classes))
    if len(reading.subgroups) > 1:
        page.print(_rows_table("subgroup", reading, reading.subgroups))
    worst = reading.worst(reading.subgroups)
    if worst is not None:
        cases = f", {worst.cases} cases" if worst.cases is not None else ""
        found = interval(worst.estimates[reading.main])
        page.print(_text(f"worst subgroup: {worst.name}{cases}: {_said(reading.main)} {found}"))
    page.print(_text(reading.verdict, "bold red" if reading.beaten else ""))
    if reading.call:
        page.print(_text(f"{reading.call}."))


def methods_table(reading: Reading) -> Table:
    """A line a score, the main one first; a column a method, the model first."""
    table = _table(reading.target, "score")
    for method in reading.methods:
        table.add_column(_text(method.name, "bold" if method.ours else ""))
    for score in reading.columns(reading.methods):
        unit = next((own.unit for own in reading.scores if own.name == score), "")
        name = _said(score) + (f" ({unit})" if unit else "")
        cells = [
            _text(interval(method.estimates.get(score)), "bold" if method.ours else "") for method in reading.methods
        ]
        table.add_row(_text(name, "bold" if score == reading.main else ""), *cells)
    return table


def _rows_table(what: str, reading: Reading, rows: list[Row]) -> Table:
    columns = reading.columns(rows)
    shown = columns[:MOST_COLUMNS]
    table = _table(f"{reading.target}, by {what}", what)
    counted = any(row.cases is not None for row in rows)
    for name in [*(["cases"] if counted else []), *shown]:
        table.add_column(_text(_said(name)))
    for row in rows:
        count = [_text("-" if row.cases is None else str(row.cases))] if counted else []
        table.add_row(_text(row.name), *count, *(_text(interval(row.estimates.get(name))) for name in shown))
    if len(columns) > len(shown):
        table.caption = _text(f"further scores by --json: {', '.join(_said(name) for name in columns[MOST_COLUMNS:])}")
    return table


def print_left_out(summary: dict[str, Any], page: Console) -> None:
    """The content of a leave-out.json as a table, and the worst row in words."""
    head, rows = left_out.cells(summary)
    table = _table(f"{summary['task']}, one {summary['by']} left out at a time", head[0])
    for at, name in enumerate(head[1:], start=1):
        table.add_column(_text(name, "bold" if at == _OURS else ""))
    for row in rows:
        table.add_row(*(_text(cell, "bold" if at == _OURS else "") for at, cell in enumerate(row)))
    page.print(table)
    page.print(_text(left_out.said(summary)))


def print_pairs(title: str, rows: list[tuple[str, str]], page: Console) -> None:
    """Names and what they are, under a title."""
    page.print(_text(title, "bold"))
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in rows:
        table.add_row(_text(name), _text(said))
    page.print(table)


def _table(title: str, first: str) -> Table:
    table = Table(title=_text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first)
    return table


def interval(estimate: Estimate | None) -> str:
    """`0.880 [0.870, 0.890]`; a dash where a method has no such score."""
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def answer_in_words(answer: Answer) -> str:
    """An answer in a line: the value with its unit and interval, what else it may be, volumes; or the refusal."""
    if answer.refused is not None:
        return _noted(f"no answer: {answer.refused}", answer)
    parts = [_value(answer)] if isinstance(answer.value, str | int | float) else []
    parts += [f"{label} called from {_chance(least)} on" for label, least in _called_from(answer)]
    if len(answer.among) > 1:
        parts.append(f"among {', '.join(answer.among)}")
    volumes = answer.facts.get("volumes_ml")
    if isinstance(volumes, dict):
        parts += [f"{name} {number(float(ml))} ml" for name, ml in volumes.items()]
    return _noted(", ".join(parts), answer)


def _noted(said: str, answer: Answer) -> str:
    return "; ".join([said, *(f"note: {text}" for text in answer.notes)])


def _chance(p: float) -> str:
    """A probability in three digits, and never as certainty."""
    return "> 0.999" if 0.9995 <= p < 1 else "< 0.001" if 0 < p < 0.0005 else number(p)


def _called_from(answer: Answer) -> list[tuple[str, float]]:
    given = answer.facts.get("called_from")
    return [(str(label), float(least)) for label, least in given.items()] if isinstance(given, dict) else []


def _value(answer: Answer) -> str:
    value = answer.value
    said = value if isinstance(value, str) else number(value)
    if answer.unit:
        said += f" {answer.unit}"
    if answer.low is not None and answer.high is not None:
        said += f" [{number(answer.low)}, {number(answer.high)}]"
    probability = answer.probabilities.get(str(value))
    return said if probability is None else f"{said} (probability {number(probability)})"


def _said(name: str) -> str:
    return name.replace("_", " ")


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)
