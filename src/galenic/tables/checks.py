"""What a field's options and a prepared case must be: shared by the kinds of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from galenic.core.contract import Field, Prepared, Settings
from galenic.core.errors import TaskError


def unfit(prepared: Prepared, settings: Settings) -> str:
    """Why this case can't be judged, or "": what any frame lists under `refuse`, then what the row tells."""
    reasons = [text for own in prepared.facts.values() if isinstance(own, Mapping) for text in own.get("refuse", ())]
    if reasons:
        return "; ".join(reasons)
    row = prepared.facts.get("row")
    if row is None:
        return ""
    if row["far"]:
        more = f" (and {len(row['far']) - 1} more)" if len(row["far"]) > 1 else ""
        return f"far outside what was learnt from: {row['far'][0]}{more}"
    others = prepared.arrays.keys() - settings["numbers"].keys() - settings["categories"].keys()
    return "every input is missing" if not row["seen"] and not others else ""


def refuse_options(field: Field, *, allowed: Sequence[str]) -> None:
    """TaskError for an option that the kind does not know."""
    unknown = sorted(field.options.keys() - set(allowed))
    if unknown:
        raise TaskError(
            f"the options {', '.join(unknown)} of the {field.kind} {field.name!r}", allowed=", ".join(allowed) or "none"
        )


def share_of(field: Field, name: str, default: float) -> float:
    """The option `name`, a share above 0 and below 1; TaskError otherwise."""
    value = field.options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, float) or not 0 < value < 1:
        raise TaskError(
            f"{name} {value!r} of {field.name!r}", allowed=f"a number above 0 and below 1, such as {default:g}"
        )
    return value


def one_column(field: Field) -> None:
    """TaskError where the field names more than one column, none, or a pattern."""
    if len(field.columns) != 1 or "*" in field.columns[0]:
        raise TaskError(f"{field.columns} as the columns of the {field.kind} {field.name!r}", allowed="one column name")
