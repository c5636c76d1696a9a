"""The documentation can't fall behind: what is registered, shipped or written must be told in docs/reference."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from galenic import catalog, sources
from galenic.cli import door
from galenic.cli.door import app
from galenic.core import errors, plan, registry, runtime, task
from galenic.core.contract import Field
from galenic.core.runtimes.export import Exported

GROUPS = {"kinds": "kinds.md", "networks": "networks.md", "learners": "learners.md", "runtimes": "runtimes.md"}
GENERATED = ("_build", "measured")


def _page(root: Path, name: str) -> str:
    return (root / "docs" / "reference" / name).read_text(encoding="utf-8")


def _lacking(text: str, names: list[str]) -> list[str]:
    """Names that the page does not give in code type."""
    return [name for name in names if f"`{name}`" not in text]


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_all_that_is_registered(group: str, root: Path) -> None:
    assert registry.names(group)
    assert _lacking(_page(root, GROUPS[group]), registry.names(group)) == []


def test_every_score_with_its_name(root: Path) -> None:
    text = _page(root, "scores.md")
    targets = [registry.kind(name) for name in registry.names("kinds") if hasattr(registry.kind(name), "answer")]
    assert _lacking(text, [score for kind in targets for score in kind.definitions]) == []  # type: ignore[attr-defined]


def test_every_frame_and_layout(root: Path) -> None:
    assert _lacking(_page(root, "kinds.md"), registry.names("frames")) == []
    assert _lacking(_page(root, "task-file.md"), registry.names("layouts")) == []


def test_every_shipped_task_and_its_data(root: Path) -> None:
    text = _page(root, "tasks.md")
    assert _lacking(text, sources.shipped()) == []


def test_every_catalogued_set_with_its_licence(root: Path) -> None:
    text = _page(root, "data-sets.md")
    for name in catalog.names():
        line = next((line for line in text.splitlines() if f"`{name}`" in line), "")
        assert line, f"{name} is not in data-sets.md"
        assert catalog.load(name).licence in line, f"{name}: the licence is not as the catalogue says"


def _commands() -> Iterator[tuple[str, Any]]:
    from typer.main import get_command

    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
            return
        for name, one in inner.items():
            yield from walk(one, f"{path} {name}")

    yield from walk(get_command(app), "galenic")


def test_every_command_with_every_option(root: Path) -> None:
    sections = re.split(r"^## ", _page(root, "cli.md"), flags=re.MULTILINE)
    for path, command in _commands():
        own = [section for section in sections if section.startswith(f"`{path}`")]
        assert len(own) == 1, f"cli.md has {len(own)} sections `{path}`"
        for parameter in command.params:
            for option in (
                parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name]
            ):
                if option != "--help":
                    assert option in own[0], f"cli.md, {path}: {option}"


def test_every_exit_status(root: Path) -> None:
    known = {"0", "1", str(door.INTERRUPTED)}
    known |= {
        str(one.exit_status) for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)
    }
    told = re.search(r"^Exit status: (.*?)\n\n", _page(root, "cli.md"), flags=re.MULTILINE | re.DOTALL)
    assert told is not None
    assert {re.split(r"\s", one)[0] for one in re.split(r";\s", told[1])} == known


def test_no_command_is_told_that_is_not_there(root: Path) -> None:
    told = re.findall(r"^## `(galenic[^`]*)`", _page(root, "cli.md"), flags=re.MULTILINE)
    assert sorted(told) == sorted(path for path, _ in _commands())


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("task-file.md", task.Task), ("task-file.md", task.Holdout), ("task-file.md", Field),
        ("model-folder.md", plan.Plan), ("model-folder.md", plan.Training), ("model-folder.md", plan.Network),
        ("model-folder.md", runtime.Choice), ("model-folder.md", runtime.Candidate), ("model-folder.md", Exported),
    ],
)  # fmt: skip
def test_every_key_of_a_file(page: str, model: type[BaseModel], root: Path) -> None:
    keys = [name for name, info in model.model_fields.items() if not info.exclude]
    assert _lacking(_page(root, page), keys) == []


def test_every_error_is_explained(root: Path) -> None:
    text = (root / "docs" / "how-to" / "what-errors-mean.md").read_text(encoding="utf-8")
    names = [name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)]
    assert _lacking(text, names) == []


def _pages(root: Path) -> list[Path]:
    found = sorted((root / "docs").rglob("*.md"))
    return [path for path in found if not set(GENERATED) & set(path.relative_to(root / "docs").parts)]


def test_every_page_is_in_a_table_of_contents(root: Path) -> None:
    listed = {"index"}
    for path in _pages(root):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
            for line in block.splitlines():
                entry = line.strip()
                if entry and not entry.startswith(":"):
                    where = (path.parent / entry).resolve().relative_to((root / "docs").resolve())
                    listed.add(where.as_posix())
    names = {path.relative_to(root / "docs").with_suffix("").as_posix() for path in _pages(root)}
    assert names == listed


def test_links_between_pages_lead_somewhere(root: Path) -> None:
    faults = []
    for path in [*_pages(root), *(root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                faults.append(f"{path.relative_to(root)}: {target}")
    assert faults == []


def test_python_in_the_documentation_compiles_and_imports(root: Path) -> None:
    """Each block parses, and what it imports from galenic exists."""
    seen = 0
    for path in [*_pages(root), root / "README.md", root / "CONTRIBUTING.md"]:
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
            tree = compile(block, str(path), "exec", ast.PyCF_ONLY_AST)
            assert isinstance(tree, ast.Module)
            _import_all(tree)
            seen += 1
    assert seen > 3


def _import_all(tree: ast.Module) -> None:
    import importlib

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("galenic"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "galenic":
            assert hasattr(importlib.import_module("galenic"), node.attr), f"galenic.{node.attr}"


def test_nothing_is_left_to_be_done(root: Path) -> None:
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    faults = [
        f"{path.relative_to(root)}: {word}"
        for path in [*_pages(root), root / "README.md"]
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert faults == []
