"""Where cases come from: a shipped task on a catalogued set, a TOML file, a table, a known folder, files to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pandas as pd

from galenic.catalog import tables
from galenic.core import bundle, registry
from galenic.core.cases import ROLES, Cases, case_name, open_cases, read_table
from galenic.core.contract import Field
from galenic.core.errors import InputError, MissingExtra, MissingFile, TaskError
from galenic.core.files import of_file
from galenic.core.task import Task, load_task, parse_field

SHIPPED = Path(str(files("galenic"))) / "tasks"
_TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Found:
    """A task with its table of cases; relative paths in the table are below `root`.

    place: the file or folder that the table was read from, None for a catalogued set.
    """

    task: Task
    table: pd.DataFrame
    root: Path
    split: Path | None = None
    place: Path | None = None
    warnings: list[str] = field(default_factory=list)


def shipped() -> list[str]:
    """Names of the shipped tasks."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find(what: str | Path, inputs: Sequence[str] = (), targets: Sequence[str] = ()) -> Found:
    """The task and table that `what` means; the errors say what was looked for."""
    path = Path(what)
    if str(what) in shipped():
        return of_task(_with_fields(load_task(SHIPPED / f"{what}.toml"), inputs, targets))
    if path.suffix == ".toml":
        return of_task(_with_fields(load_task(path), inputs, targets), path.resolve().parent)
    if path.suffix.lower() in _TABLES:
        table = read_table(path)
        root = path.resolve().parent
        task, told = _inferred(path.stem, table, root, inputs, targets)
        return Found(task, table, root, place=path.resolve(), warnings=told)
    if path.is_dir():
        return of_folder(path, inputs, targets)
    raise MissingFile(
        f"{what} is neither a shipped task nor a file or folder",
        allowed=f"a table of cases (CSV, TSV, Parquet), a folder, a TOML task, or one of {', '.join(shipped())}",
        todo="check the name; galenic data list shows the public sets",
    )


def of_task(task: Task, root: Path | None = None) -> Found:
    """The cases that a task names: of a catalogued set in the cache, or its own table."""
    split = None
    if task.data is not None:
        table = tables.cases(task.data, table=task.table)
        split = tables.split_path(task.split) if task.split else None
        return Found(task, table, Path.cwd(), split)
    if task.table is None:
        raise TaskError(
            f"the task {task.name} names neither `data` nor `table`", todo="name a table of cases in the task"
        )
    base = root or Path.cwd()
    path = base / task.table
    split = base / task.split if task.split else None
    return Found(task, read_cases(path), root_of(path), split, path.resolve())


def of_model(folder: Path, task: Task) -> Found:
    """The cases that the model in `folder` was made from: its catalogued set, else the table that private/ names.

    MissingFile where the folder does not say, or the table is no longer where it was.
    """
    if task.data is not None:
        return of_task(task)
    kept = folder / bundle.PRIVATE / "task.toml"
    place = Path((load_task(kept).table if kept.is_file() else None) or "")
    if not place.name or not place.exists():
        where = f"were read from {place}, which is not there" if place.name else f"are not named in {kept}"
        raise MissingFile(f"the cases of this model {where}", todo="name a table of cases")
    return of_task(task.model_copy(update={"table": str(place), "split": None}))


def read_cases(path: Path) -> pd.DataFrame:
    """A table of cases from a file, or from a folder of known layout."""
    if path.is_dir():
        return of_folder(path, (), ()).table
    return read_table(path)


def root_of(path: Path) -> Path:
    """Where the relative paths of `read_cases(path)` start: the folder of known layout, else the table's folder."""
    return path.resolve() if path.is_dir() else path.resolve().parent


def of_folder(path: Path, inputs: Sequence[str], targets: Sequence[str]) -> Found:
    """A folder of known layout as a table of cases, by whichever registered layout recognises it."""
    for name in registry.names("layouts"):
        layout = registry.get("layouts", name)
        if layout.recognises(path):
            table, task = layout.read(path)
            own = path.resolve()
            return Found(_with_fields(task, inputs, targets), table, own, None, own, list(layout.warnings(path)))
    raise InputError(
        f"the folder {path} has no layout that is known here",
        allowed="nnU-Net's imagesTr and labelsTr, images with _mask, _seg or _label files beside them, or a folder a "
        "class with pictures in each",
        todo="write a table of cases (cases.csv) that names image and mask of each case" + _table_in(path),
    )


def _table_in(folder: Path) -> str:
    """What to do where a folder holds files of cases, and beside or above them the table of their answers."""
    tables = [one for one in sorted(folder.iterdir()) if one.is_file() and one.suffix.lower() in _TABLES]
    if len(tables) != 1:
        return ""
    return (
        f"; or, if {tables[0].name} is that table, name it instead of the folder. Where it names no files, but what "
        "they are called by, a task file says so: a field of the kind series with the option `files`"
    )


def _with_fields(task: Task, inputs: Sequence[str], targets: Sequence[str]) -> Task:
    update: dict[str, list[Field]] = {}
    if inputs:
        update["inputs"] = [_field(text) for text in inputs]
    if targets:
        update["targets"] = [_field(text) for text in targets]
    return task.model_copy(update=update) if update else task


def _field(text: str) -> Field:
    column, kind = parse_field(text)
    return Field(name=column, kind=kind, columns=[column])


def _inferred(
    name: str, table: pd.DataFrame, root: Path, inputs: Sequence[str], targets: Sequence[str]
) -> tuple[Task, list[str]]:
    """A task for a bare table, and what to say of it: targets must be named; inputs are guessed where they are not."""
    if not targets:
        raise TaskError(
            f"the table {name} comes with no target",
            allowed="--target COLUMN:KIND, kinds: " + ", ".join(k for k in registry.names("kinds")),
            todo="name what is to be learnt, for example --target mask:mask",
        )
    goals = [_completed(_field(text), table, root) for text in targets]
    told: list[str] = []
    given = [_field(text) for text in inputs]
    if not given:
        given, told = _guess(table, {column for one in goals for column in one.columns}, root)
    return Task(name=name, inputs=given, targets=goals), told


def _completed(field: Field, table: pd.DataFrame, root: Path) -> Field:
    """The field with what its kind can tell from the data alone, such as the values that stand in the masks."""
    infer = getattr(registry.kind(field.kind), "infer", None)
    if infer is None or field.columns[0] not in table.columns:
        return field
    return Field.model_validate(infer(field, table, root).model_dump())


def _guess(table: pd.DataFrame, used: set[str], root: Path) -> tuple[list[Field], list[str]]:
    """Input fields of the columns that are neither targets nor roles, and a warning for each: files, else numbers and
    categories. A column that its kind takes for a drawn answer is left out, and that is said.
    """
    files, numbers, categories, told = [], [], [], []
    for column in table.columns:
        if column in used or column in ROLES:
            continue
        values = table[column].dropna()
        if pd.api.types.is_bool_dtype(values):
            categories.append(column)
        elif pd.api.types.is_numeric_dtype(values):
            numbers.append(column)
        elif kind := _kind_of(values, root):
            doubt = _doubt(kind, column, values, root)
            told += [f"the column {column} was not taken as an input: {doubt}"] if doubt else []
            files += [] if doubt else [Field(name=column, kind=kind, columns=[column])]
        elif 1 < values.nunique() <= min(30, max(2, len(values) // 4)):
            categories.append(column)
    fields = files or [Field(name=column, kind="category", columns=[column]) for column in categories]
    if numbers and not files:
        fields.insert(0, Field(name="numbers", kind="number", columns=list(numbers)))
    if not fields:
        raise TaskError(
            "; ".join(["no column of the table can serve as input", *told]), todo="name one with --input COLUMN:KIND"
        )
    return fields, [*map(_guessed, fields), *told]


def _guessed(field: Field) -> str:
    return f"guessed as {field.kind} input: {', '.join(field.columns)} (--input COLUMN:KIND names inputs for sure)"


def _first(values: pd.Series) -> list[str]:
    return [str(value) for value in values.iloc[:3]]


def _kind_of(values: pd.Series, root: Path) -> str:
    """The kind that recognises the first cells of a column of text as its files; "" for none."""
    for name in registry.names("kinds"):
        try:
            recognises = getattr(registry.kind(name), "recognises", None)
        except MissingExtra:  # of a room that this table need not be about
            continue
        if recognises is not None and any(recognises(cell, root) for cell in _first(values)):
            return name
    return ""


def _doubt(kind: str, column: str, values: pd.Series, root: Path) -> str:
    """What makes a kind take a column for a drawn answer, which would tell the truth; "" where nothing does."""
    doubt = getattr(registry.kind(kind), "doubt", None)
    return "" if doubt is None else str(doubt(str(column), _first(values), root))


def to_predict(task: Task, inputs: Sequence[Path]) -> Cases:
    """Cases without truths: rows of one table, or a case for each file, series folder or file in a folder."""
    if len(inputs) == 1 and inputs[0].suffix.lower() in _TABLES:
        table = read_table(inputs[0])
        return open_cases(table, inputs[0].resolve().parent, task, with_targets=False, forgiving=True)
    files_in = [one for one in task.inputs if registry.in_files(one)]
    if len(task.inputs) != 1 or not files_in or len(files_in[0].columns) != 1:
        raise InputError(
            f"the task {task.name} takes {', '.join(one.name for one in task.inputs)} for a case",
            allowed="one table of cases with the columns of these fields",
            todo="put the cases into a CSV file and give that",
        )
    kind = registry.kind(files_in[0].kind)
    paths = [path for one in inputs for path in _expand(kind, one)]
    column = files_in[0].columns[0]
    table = pd.DataFrame({"id": _names(paths), column: [str(path.resolve()) for path in paths]})
    return open_cases(table, Path.cwd(), task, with_targets=False, forgiving=True)


def _expand(kind: object, path: Path) -> list[Path]:
    if not of_file(path)[0].exists():
        raise MissingFile(f"no file or folder {path}")
    expand = getattr(kind, "expand", None)
    found = expand(path) if expand is not None else [path]
    if not found:
        raise InputError(f"{path} holds nothing that can be read", allowed=getattr(kind, "reads", ""))
    return list(found)


def _names(paths: Sequence[Path]) -> list[str]:
    names = [case_name(path) for path in paths]
    return [name if names.count(name) == 1 else f"{name}-{at:03d}" for at, name in enumerate(names)]
