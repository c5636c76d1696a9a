"""The report: one HTML file with inline style and drawings, no script and nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from galenic.core.errors import MissingExtra, ValueProblem
from galenic.core.figures import Figure, Sheet
from galenic.core.files import write_text
from galenic.report.content import NOT_A_DEVICE, SMOKE, Content, Picture, decisions, facts, in_words
from galenic.report.curves import curves
from galenic.report.figures import Drawn, draw
from galenic.report.forest import forest
from galenic.report.reading import Reading, Row, number, readings, validated, validation_in_words
from galenic.report.repeat import commands

__all__ = ["Content", "Picture", "write_report"]


@dataclass(frozen=True)
class _Table:
    """Rows under columns; worst: the row that is named as such."""

    title: str
    columns: list[str]
    rows: list[Row]
    worst: Row | None = None

    @property
    def marked(self) -> str | None:
        return self.worst.name if self.worst else None

    @property
    def counted(self) -> bool:
        return any(row.cases is not None for row in self.rows)


@dataclass(frozen=True)
class _Target:
    reading: Reading
    against: str  # SVG: the model beside the simple methods
    tables: list[tuple[_Table, str]]  # with its SVG
    figures: list[Drawn]
    sheets: list[Sheet]


@dataclass(frozen=True)
class _Part:
    """A content as the template takes it."""

    anchor: str
    content: Content
    targets: list[_Target]
    validated: list[Reading]
    validation: str
    curves: list[Drawn]
    pictures: list[tuple[Picture, str]]  # with its data URI
    counts: list[tuple[str, dict[str, Any]]]
    data: list[tuple[str, str]]
    decisions: list[tuple[str, str, str]]
    provenance: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def write_report(path: Path, content: Content | Sequence[Content]) -> None:
    """Write the report of one model, or of several under each other, to `path` as HTML; whole or not at all.

    The same contents give the same bytes. It may show patients: it belongs under a model folder's `private/`.
    Raises ValueProblem for no content, MissingExtra where jinja2 or (with a history) matplotlib is not installed,
    NoSpaceError on a full disk.
    """
    contents = [content] if isinstance(content, Content) else list(content)
    if not contents:
        raise ValueProblem("a report of no model", allowed="one Content or more")
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtra("jinja2", "report", "the report") from error
    room = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters["number"] = number
    room.filters["plain"] = lambda name: str(name).replace("_", " ")
    template = room.from_string(files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        parts=[_part(own, f"model-{place}") for place, own in enumerate(contents, 1)],
        title=" and ".join(own.title for own in contents),
        smoke=SMOKE if any(own.smoke for own in contents) else "",
        device_note=NOT_A_DEVICE,
    )
    # A file name that is no Unicode reaches here as lone surrogates, which UTF-8 can't hold.
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def _part(content: Content, anchor: str) -> _Part:
    main = next((_curve_of(own) for own in readings(content)), "score")
    counts, known = _data(content.data)
    return _Part(
        anchor=anchor,
        content=content,
        targets=[_target(own, content, f"{anchor}-{at}-") for at, own in enumerate(readings(content), 1)],
        validated=validated(content),
        validation=validation_in_words(content),
        curves=curves(content.history, main, prefix=f"{anchor}-"),
        pictures=[(picture, _uri(picture.svg)) for picture in content.pictures],
        counts=counts,
        data=known,
        decisions=decisions(content.plan),
        provenance=list(_flat(content.provenance)),
        commands=commands(content),
    )


def _curve_of(reading: Reading) -> str:
    """What the validation score is called: training turns a score about that is better the lower it is."""
    return reading.main if reading.definition.higher_is_better else f"minus_{reading.main}"


def _target(reading: Reading, content: Content, prefix: str) -> _Target:
    label, ours = reading.main.replace("_", " "), reading.methods[0].estimates.get(reading.main)
    mark = ours.value if ours else None
    tables = []
    for title, rows in (("class", reading.classes), ("subgroup", reading.subgroups)):
        if rows:
            table = _Table(title, reading.columns(rows), rows, reading.worst(rows))
            tables.append((table, forest(rows, reading.main, title=f"{label} per {title}", mark=mark)))
    against = forest(reading.methods, reading.main, title=f"{label} beside the simple methods", mark=mark)
    more = content.figures.get(reading.target, [])
    figures = [draw(own, prefix=f"{prefix}{at}-") for at, own in enumerate(more, 1) if isinstance(own, Figure)]
    return _Target(reading, against, tables, figures, [own for own in more if isinstance(own, Sheet)])


def _uri(svg: str) -> str:
    """As an image, a drawing can run no script, fetch nothing and clash with no other's ids."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")


def _data(data: dict[str, Any]) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, str]]]:
    """Counts as tables (title, name -> count), the rest as (name, text)."""
    counts: list[tuple[str, dict[str, Any]]] = []
    plain: list[tuple[str, str]] = []
    for title, value in facts(data).items():
        if not isinstance(value, dict):
            plain.append((title, in_words(value, 2000)))
        elif value and all(isinstance(own, dict) for own in value.values()):
            counts += [(f"{title}: {name}", own) for name, own in value.items()]
        elif value:
            counts.append((title, value))
    return [(title, {str(k): in_words(v, 400) for k, v in own.items()}) for title, own in counts], plain


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    done: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key}".replace("_", " ")
        done += _flat(value, f"{name}: ") if isinstance(value, dict) else [(name, in_words(value, 400))]
    return done
