"""Kinds, frames, networks, learners and runtimes by name, found by entry points and imported when first used.

galenic's own rooms are plugged in the same way as an outside package's: by an entry point in the group
`galenic.kinds`, `galenic.frames`, `galenic.networks`, `galenic.learners` or `galenic.runtimes`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from galenic.core.contract import Field, Frame, Kind, Learner, NetworkPlug, Target
from galenic.core.errors import MissingExtra, TaskError
from galenic.core.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_EXTRAS = {
    "SimpleITK": "images", "PIL": "images", "nibabel": "images", "pydicom": "images", "tifffile": "images",
    "highdicom": "images", "onnx": "fast", "onnxruntime": "fast", "openvino": "fast",
    "matplotlib": "report", "jinja2": "report", "httpx": "data", "wfdb": "series",
}  # fmt: skip


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=f"galenic.{group}"), key=lambda e: e.name)}


def names(group: str) -> list[str]:
    """Registered names of a group, sorted."""
    return sorted(_entries(group))


@cache
def get(group: str, name: str) -> Any:
    """The plug `name` of a group; TaskError lists what there is."""
    entry = _entries(group).get(name)
    if entry is None:
        raise TaskError(f"there is no {group[:-1]} named {name!r}", allowed=", ".join(names(group)))
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            raise MissingExtra(package, _EXTRAS[package], f"the {group[:-1]} {name}") from error
        raise


def kind(name: str) -> Kind:
    return cast(Kind, get("kinds", name))


def target(field: Field) -> Target:
    """The field's kind as a target; TaskError where that kind can't be learnt."""
    found = kind(field.kind)
    if not hasattr(found, "answer"):
        allowed = ", ".join(name for name in names("kinds") if hasattr(kind(name), "answer"))
        raise TaskError(f"{field.kind!r} as the kind of the target {field.name!r}", allowed=allowed)
    return cast(Target, found)


def in_files(field: Field) -> bool:
    """True if the cells of the field's first column name files: a kind that reads other columns too says so itself."""
    found = kind(field.kind)
    told = getattr(found, "in_files", None)
    return found.from_file if told is None else bool(told(field))


def dense_targets(task: Task) -> str:
    """ "" if every target can be answered from one vector a case, else which can't: what a network's `fits` says."""
    found = [field.name for field in task.targets if target(field).dense]
    return f"it answers from one vector a case, which {', '.join(found)} can't be" if found else ""


def frame(name: str) -> Frame:
    return cast(Frame, get("frames", name))


def network(name: str) -> NetworkPlug:
    return cast(NetworkPlug, get("networks", name))


def learner(name: str) -> type[Learner]:
    return cast("type[Learner]", get("learners", name))


def checked(task: Task) -> Task:
    """The task with every field's options validated and completed by its kind."""
    for field in task.targets:
        target(field)
    done = {field.name: kind(field.kind).check(field) for field in task.fields}
    return task.model_copy(
        update={
            "inputs": [done[field.name] for field in task.inputs],
            "targets": [done[field.name] for field in task.targets],
        }
    )


def completed(task: Task, table: pd.DataFrame, root: Path) -> Task:
    """The checked task with what only its files can tell, by each input's kind that has `complete`."""
    done = []
    for field in task.inputs:
        complete = getattr(kind(field.kind), "complete", None)
        done.append(field if complete is None else complete(field, table, root))
    return task.model_copy(update={"inputs": done})


def choose_network(task: Task, wanted: str | None) -> tuple[str, str]:
    """The network for a task, and why: the one asked for, else the first registered default that fits."""
    if wanted is not None:
        reason = network(wanted).fits(task)
        if reason:
            raise TaskError(f"the network {wanted} can't learn {task.name}: {reason}")
        return wanted, "asked for"
    refusals = []
    for name in names("networks"):
        plug = network(name)
        reason = plug.fits(task)
        if not reason and getattr(plug, "default", False):
            return name, "the default for these kinds of input and target"
        refusals.append(f"{name}: {reason or 'not a default'}")
    raise TaskError(f"no network can learn {task.name}", allowed="; ".join(refusals))
