"""The repository's own files, parsed once."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


@dataclass(frozen=True)
class Import:
    """One imported module, and how: at the top, inside a function, or for types alone."""

    module: str
    line: int
    function: str = ""
    typing: bool = False


@dataclass
class Code:
    """A parsed Python file; `module` is its dotted name (galenic.core.plan)."""

    path: Path
    module: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree.body, self.module, "", typing=False))


def _imports(nodes: list[ast.stmt], module: str, function: str, *, typing: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, function, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(name, node.lineno, function, typing) for name in _modules(node, module))
        else:
            inner = function
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = node.name
            types = typing or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            yield from _imports(_children(node), module, inner, typing=types)


def _children(node: ast.stmt) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for name in ("body", "orelse", "finalbody"):
        found += getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        found += handler.body
    for case in getattr(node, "cases", []):
        found += case.body
    return found


def _modules(node: ast.ImportFrom, module: str) -> list[str]:
    """`from galenic.core import registry` is the module galenic.core.registry; `from m import name` is m."""
    base = node.module or ""
    if node.level:
        base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
    if not base.startswith("galenic"):
        return [base]
    found = []
    for alias in node.names:
        whole = f"{base}.{alias.name}"
        path = SRC / Path(*whole.split("."))
        found.append(whole if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() else base)
    return sorted(set(found))


def _parse(path: Path) -> Code:
    parts = list(path.relative_to(SRC if path.is_relative_to(SRC) else ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return Code(path, ".".join(parts), ast.parse(path.read_text(encoding="utf-8"), str(path)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def package() -> list[Code]:
    """Every file of the package galenic."""
    return [_parse(path) for path in sorted((SRC / "galenic").rglob("*.py"))]


@pytest.fixture(scope="session")
def all_code(package: list[Code]) -> list[Code]:
    """Every Python file of the repository: the package, its tests and its benchmarks."""
    others = [path for top in ("tests", "benchmarks") for path in sorted((ROOT / top).rglob("*.py"))]
    return [*package, *(_parse(path) for path in others)]


@pytest.fixture(scope="session")
def text_files() -> list[Path]:
    """The repository's text files: those that git knows or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        tops = ("src", "tests", "docs", "benchmarks", ".ci")
        found = [path for top in tops for path in (ROOT / top).rglob("*") if "_build" not in path.parts]
        found += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".txt") or path.name == "Makefile"]
    endings = {".py", ".md", ".toml", ".txt", ".csv", ".j2", ".json", ".jsonl", ".yml", ".yaml", ".css", ".html", ""}
    return sorted(path for path in found if path.is_file() and path.suffix in endings)
