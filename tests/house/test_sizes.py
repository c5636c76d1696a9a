"""Small files, small functions, few parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 8  # without self
POSITIONAL = 6

# The whole of what a user may ask for: one keyword an option, the same in the shell and in Python.
WIDE = {
    "src/galenic/verbs.py": {"train", "check"},
    "src/galenic/cli/train.py": {"train"},
    "src/galenic/cli/check.py": {"check"},
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(nodes: list[ast.AST]) -> Iterator[Function]:
    return (node for node in nodes if isinstance(node, Function))


def _count(node: Function) -> tuple[int, int]:
    """(positional, all) parameters, without self and cls."""
    names = [one.arg for one in [*node.args.posonlyargs, *node.args.args]]
    positional = len([name for name in names if name not in ("self", "cls")])
    return positional, positional + len(node.args.kwonlyargs)


def test_files_are_small(all_code: list[Any]) -> None:
    lengths = {code.name: len(code.path.read_text(encoding="utf-8").splitlines()) for code in all_code}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_small(all_code: list[Any]) -> None:
    faults = [
        f"{code.name}:{node.lineno} {node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for code in all_code
        for node in _functions(code.nodes)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert faults == []


def test_functions_take_few_parameters(package: list[Any]) -> None:
    faults = []
    for code in package:
        for node in _functions(code.nodes):
            positional, total = _count(node)
            if node.name in WIDE.get(code.name, ()):
                continue
            if total > PARAMETERS or positional > POSITIONAL:
                faults.append(f"{code.name}:{node.lineno} {node.name}: {positional} positional of {total}")
    assert faults == []


def test_the_exceptions_are_still_needed(package: list[Any]) -> None:
    wide = {
        (code.name, node.name) for code in package for node in _functions(code.nodes) if _count(node)[1] > PARAMETERS
    }
    assert {(name, one) for name, own in WIDE.items() for one in own} == wide


def test_every_file_says_what_it_is(package: list[Any]) -> None:
    assert [code.name for code in package if not ast.get_docstring(code.tree)] == []


def test_public_classes_and_functions_are_documented(package: list[Any]) -> None:
    """A method of a contract needs no second docstring; its owner or the contract has one."""
    faults = [
        f"{code.name}:{node.lineno} {node.name}"
        for code in package
        for node in code.tree.body
        if isinstance(node, Function | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not _is_short(node)
    ]
    assert faults == []


def _is_short(node: Function | ast.ClassDef) -> bool:
    """Four lines or fewer, whose name and types say it all."""
    return isinstance(node, Function) and (node.end_lineno or 0) - node.lineno < 8


def test_prose_is_not_hidden_in_banners(all_code: list[Any]) -> None:
    faults = [
        f"{code.name}:{number}"
        for code in all_code
        for number, line in enumerate(Path(code.path).read_text(encoding="utf-8").splitlines(), start=1)
        if line.strip().startswith("#") and len(set(line.strip("# \n"))) == 1 and len(line.strip("# \n")) > 4
    ]
    assert faults == []
