"""The tree of errors: each says what was given, what is allowed, and what to do."""

from __future__ import annotations


class GalenicError(Exception):
    """Root of all that galenic raises on purpose; `exit_status` is what the shell gets."""

    exit_status = 1

    def __init__(self, given: str, *, allowed: str = "", todo: str = "") -> None:
        self.given, self.allowed, self.todo = given, allowed, todo
        lines = [given]
        if allowed:
            lines.append(f"allowed: {allowed}")
        if todo:
            lines.append(f"what to do: {todo}")
        super().__init__("\n".join(lines))


class InputError(GalenicError):
    """The user's input was wrong."""

    exit_status = 2


class FileProblem(InputError):
    """A file can't be used."""


class MissingFile(FileProblem):
    """A named file does not exist."""


class UnreadableFile(FileProblem):
    """A file is damaged, cut short or not what its name says."""


class UnsupportedFile(FileProblem):
    """A file is whole, but of a form that galenic does not read."""


class UnsafeFile(FileProblem):
    """A file points outside its folder, could run code, or claims a size it does not have."""


class GeometryError(InputError):
    """Grids, spacings or slice positions do not fit together."""


class SeriesError(GeometryError):
    """A folder does not hold exactly one complete DICOM series."""


class ValueProblem(InputError):
    """Values that can't be learnt from or judged: NaN, constant, out of range, unnamed."""


class TableError(InputError):
    """The table of cases is wrong: a column, a row, a role."""


class LeakageError(TableError):
    """The same patient, group or case stands in two parts."""


class TaskError(InputError):
    """A task names what does not exist, or nothing to learn."""


class PlanError(InputError):
    """A plan does not fit the data, the task or this version."""


class BudgetError(PlanError):
    """A budget that can't be read or can't be kept."""


class ModelFolderError(InputError):
    """A model folder can't be trusted or used."""


class DigestError(ModelFolderError):
    """A file is not the one whose digest was written down."""


class NewerVersionError(ModelFolderError):
    """A model folder was written by a newer galenic."""


class DownloadError(InputError):
    """A public file could not be brought here whole."""


class NoSpaceError(InputError):
    """The disk is full; nothing half-written is left."""


class MissingExtra(InputError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{needed_for} needs the package {package}, which is not installed",
            todo=f"pip install 'galenic[{extra}]'",
        )


class Refused(GalenicError):
    """An input that the model can't judge; the reason is the answer."""

    exit_status = 2


class StoppedEarly(GalenicError):
    """Stopped before the end, whole and resumable."""

    exit_status = 3
