"""What is to be learnt: a short TOML file, shipped or the user's own, or inferred from the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pydantic
import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from galenic.core.contract import Field
from galenic.core.errors import MissingFile, TaskError
from galenic.core.files import write_text


class Holdout(BaseModel):
    """Rows whose `column` holds one of `test` are the test part: another hospital, another year."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    test: list[str]


class Task(BaseModel):
    """Input and target fields, and how the cases are divided. Unknown keys are refused.

    folds: how many networks are cross-validated where the command does not say; 0 is one.
    data: a catalogued set; table: which of its further tables, or, without data, a table of cases of the user's own.
    baselines: learners that stand beside the model, besides those that the targets' kinds name. subgroups: columns by
    which scores are broken down, besides site, sex, age and the category inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = ""
    data: str | None = None
    table: str | None = None
    split: str | None = None
    holdout: Holdout | None = None
    within_one_subject: bool = False
    folds: int = pydantic.Field(default=0, ge=0)
    notes: list[str] = []
    roles: dict[str, str] = {}
    baselines: list[str] = []
    subgroups: list[str] = []
    inputs: list[Field]
    targets: list[Field]

    @field_validator("inputs", "targets")
    @classmethod
    def _roles(cls, fields: list[Field], info: ValidationInfo) -> list[Field]:
        return [field.model_copy(update={"target": info.field_name == "targets"}) for field in fields]

    @model_validator(mode="after")
    def _sound(self) -> Task:
        if not self.inputs:
            raise ValueError("a task needs at least one input field")
        if not self.targets:
            raise ValueError("a task needs at least one target field")
        names = [field.name for field in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"field names used twice: {', '.join(twice)}")
        return self

    @property
    def fields(self) -> list[Field]:
        return [*self.inputs, *self.targets]

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def save(self, path: Path) -> None:
        """Write as TOML; absent values are left out, as TOML has no null."""
        write_text(path, tomli_w.dumps(_without_none(self.model_dump())))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(own) for key, own in value.items() if own is not None}
    return [_without_none(own) for own in value] if isinstance(value, list) else value


def parse_task(data: dict[str, Any], where: str) -> Task:
    """A checked task from parsed TOML; TaskError names each wrong key and its place."""
    try:
        return Task.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'task'}: {fault['msg']}" for fault in error.errors()
        )
        raise TaskError(
            f"the task {where} is not valid: {faults}",
            allowed=f"the keys {', '.join(sorted(Task.model_fields))}",
            todo="see the how-to on writing a task",
        ) from error


def load_task(path: Path) -> Task:
    """Read a task file."""
    if not path.is_file():
        raise MissingFile(f"no task file {path}")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not TOML: {error}", todo="mend the line it names") from error
    return parse_task(data, str(path))


def parse_field(text: str) -> tuple[str, str]:
    """`COLUMN:KIND` from the command line to (column, kind)."""
    column, colon, kind = text.rpartition(":")
    if not colon or not column or not kind:
        raise TaskError(f"the field {text!r}", allowed="COLUMN:KIND, such as label:mask or mask:mask")
    return column, kind
