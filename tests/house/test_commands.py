"""The commands that the documents name exist, with the options that they are given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from galenic import sources

READ = ("README.md", "CONTRIBUTING.md")


def _lines(root: Path) -> Iterator[tuple[str, str]]:
    """(file, command) of every line in a shell block of README, CONTRIBUTING and docs."""
    pages = [root / name for name in READ] + sorted((root / "docs").rglob("*.md"))
    for path in pages:
        if "_build" in path.parts:
            continue
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.strip().removeprefix("$ ")
                if command and not command.startswith("#"):
                    yield str(path.relative_to(root)), command


def _targets(root: Path) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_readme_says_the_three_commands(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    for command in ("make demo", "make test", "galenic train hippocampus --budget 5m"):
        assert command in text


def test_make_has_the_promised_targets(root: Path) -> None:
    assert {"demo", "test", "lint", "docs", "bench", "bench-full", "system", "clean"} <= _targets(root)


def test_every_make_command_has_its_target(root: Path) -> None:
    faults = []
    for page, command in _lines(root):
        words = shlex.split(command, comments=True)
        if words and words[0] == "make":
            goals = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            faults += [f"{page}: {command}" for goal in goals if goal not in _targets(root)]
    assert faults == []


def test_every_galenic_command_parses(root: Path) -> None:
    """The shell's own parser reads each command, so that an option that is gone is found."""
    from typer.main import get_command

    from galenic.cli.door import app

    seen = 0
    for page, command in _lines(root):
        words = shlex.split(command, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words[:1] == ["torchrun"] and "galenic.cli" in words:
            words = ["galenic", *words[words.index("galenic.cli") + 1 :]]
        if words[:1] != ["galenic"] or "--help" in words or "--version" in words:
            continue
        _parse(get_command(app), words[1:], f"{page}: {command}")
        seen += 1
    assert seen > 10


def _parse(command: Any, words: list[str], where: str) -> None:
    try:
        if not hasattr(command, "commands"):
            command.make_context(command.name, list(words))
            return
        with command.make_context("galenic", list(words)) as context:
            rest = [*getattr(context, "_protected_args", ()), *context.args]
            inner = command.commands.get(rest[0]) if rest else None
    except Exception as error:
        pytest.fail(f"{where}: {error}")
    assert inner is not None, f"{where}: no command {rest[:1]}"
    _parse(inner, rest[1:], where)


def test_tasks_that_commands_name_are_shipped(root: Path) -> None:
    faults = []
    for page, command in _lines(root):
        words = shlex.split(command, comments=True)
        if words[:1] == ["galenic"] and len(words) > 2 and words[1] in ("train", "check"):
            what = words[2]
            if re.fullmatch(r"[a-z_0-9]+", what) and what not in sources.shipped():
                faults.append(f"{page}: {command}")
    assert faults == []


def test_ci_runs_what_a_change_must_pass(root: Path) -> None:
    text = (root / ".ci" / "run").read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    for target in ("make test", "make lint", "make docs"):
        assert target in text
    assert (root / ".ci" / "run").stat().st_mode & 0o111
