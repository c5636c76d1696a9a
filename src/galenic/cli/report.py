"""`galenic report`: one file with pictures, curves and scores."""

from __future__ import annotations

from galenic.cli import options
from galenic.cli.plain import console


def report(folder: options.ModelFolder) -> None:
    """Write a model's report: pictures, curves, scores beside the simple methods, the plan in words."""
    from galenic import verbs

    console().print(f"report: {verbs.report(folder)}", soft_wrap=True)
