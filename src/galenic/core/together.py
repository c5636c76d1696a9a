"""Cases that come together say more than each by itself: a column in another unit, rows that are copies.

A frame may have `together(cases, fields, settings) -> (settings, warnings)`, for cases that a model is given, and
`doubts(sources, fields, ids, sites) -> warnings`, for the whole table that a model is to learn from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from galenic.core.cases import Cases, text_of
from galenic.core.errors import GalenicError
from galenic.core.frames import Frames

if TYPE_CHECKING:
    from galenic.core.model import Model


def looked_at(model: Model, cases: Cases) -> tuple[Model, list[str]]:
    """The model as it is to answer these cases, and warnings of what they show together.

    Its settings hold for these cases alone: they are never written.
    """
    told: list[str] = []
    changed = dict(model.plan.frames)
    for name, frame in model.frames.frames.items():
        look = getattr(frame, "together", None)
        fields = [one for one in model.frames.fields[name] if one.name in cases.opened]
        if look is None or not fields:
            continue
        names, values = [one.name for one in fields], []
        for row in range(len(cases)):
            try:
                values.append(cases.values(row, names))
            except GalenicError:  # a case that can't be read is told when it is answered
                continue
        changed[name], own = look(values, fields, changed[name])
        told += own
    return replace(model, plan=model.plan.model_copy(update={"frames": changed})), told


def doubts(cases: Cases, frames: Frames) -> list[str]:
    """What looks wrong in a table to learn from, though each cell can be read."""
    site = cases.role("site")
    sites = None if site is None else [text_of(value) or "" for value in site]
    told: list[str] = []
    for name, frame in frames.frames.items():
        look = getattr(frame, "doubts", None)
        fields = [one for one in frames.fields[name] if one.name in cases.opened]
        if look is not None and fields:
            told += look({one.name: cases.opened[one.name] for one in fields}, fields, cases.ids, sites)
    return told
