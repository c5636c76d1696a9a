"""One public list: sorted, importable, documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import galenic
from galenic import verbs


def test_the_list_is_sorted_and_without_doubles() -> None:
    assert galenic.__all__ == sorted(set(galenic.__all__))


@pytest.mark.parametrize("name", galenic.__all__)
def test_each_name_can_be_imported_and_is_documented(name: str, root: Path) -> None:
    found = getattr(galenic, name)
    assert f"`{name}`" in (root / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    if name == "__version__":
        assert isinstance(found, str)
        return
    assert callable(found), f"galenic.{name} is {found!r}"
    assert inspect.getdoc(found), f"galenic.{name} has no docstring"


VERBS = [name for name in galenic.__all__ if name[0].islower()]


@pytest.mark.parametrize("first", ["import galenic.verbs", "galenic.train", "import galenic.report.page"])
def test_a_verb_stays_a_verb_whatever_was_imported_before(first: str) -> None:
    """Importing a submodule binds it in its package: the wing `report` must not take the place of the verb."""
    code = f"import galenic; {first}; print([n for n in {VERBS} if not callable(getattr(galenic, n))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        galenic.nonsense  # noqa: B018


def test_every_option_of_train_is_told_in_python_too(root: Path) -> None:
    text = (root / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    names = [*inspect.signature(verbs.train).parameters, *inspect.signature(verbs.predict).parameters]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_shell_offers_what_python_offers() -> None:
    """An option of `galenic train` is a keyword of `galenic.train`, but for those that only a terminal needs."""
    from galenic.cli.check import check
    from galenic.cli.train import train

    other_verbs = {train: {"leave_out"}, check: set()}  # an option that is a verb of its own in Python
    for command, verb in ((train, verbs.train), (check, verbs.check)):
        shell, python = set(inspect.signature(command).parameters), set(inspect.signature(verb).parameters)
        assert python - shell == {"progress"}
        assert shell - python == other_verbs[command]
        assert other_verbs[command] <= set(galenic.__all__)
