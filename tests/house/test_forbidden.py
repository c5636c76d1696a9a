"""What our code never does: unpickle, unpack archives blindly, print from a library, swallow everything."""

from __future__ import annotations

import ast
from typing import Any

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "hydra"}
CALLS = {
    "torch.load", "torch.save", "torch.jit.load", "yaml.load", "np.fromfile", "pandas.read_pickle", "pd.read_pickle",
    "os.system", "os.popen", "eval", "exec", "numpy.load",
}  # fmt: skip
METHODS = {"extractall", "read_pickle", "to_pickle", "unpack_archive"}
MAY_PRINT = ("src/galenic/cli/", "benchmarks/")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "?"


def _calls(code: Any) -> list[tuple[int, str, ast.Call]]:
    return [(node.lineno, _dotted(node.func), node) for node in code.nodes if isinstance(node, ast.Call)]


def test_no_module_that_unpickles(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{one.line} {one.module}"
        for code in package
        for one in code.imports
        if one.module.split(".")[0] in MODULES
    ]
    assert faults == []


def test_no_call_that_runs_a_file(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{line} {name}"
        for code in package
        for line, name, _ in _calls(code)
        if name in CALLS or name.rsplit(".", 1)[-1] in METHODS
    ]
    assert faults == []


def test_numpy_files_are_read_without_pickle(package: list[Any]) -> None:
    """np.load and np.save say allow_pickle=False themselves, rather than rely on a default."""
    faults = []
    for code in package:
        for line, name, node in _calls(code):
            if name in ("np.load", "np.save", "np.savez", "np.savez_compressed"):
                said = [word.value for word in node.keywords if word.arg == "allow_pickle"]
                if not (said and isinstance(said[0], ast.Constant) and said[0].value is False):
                    faults.append(f"{code.name}:{line}")
    assert faults == []


def test_only_the_shell_prints(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{line}"
        for code in package
        for line, name, _ in _calls(code)
        if name in ("print", "sys.stdout.write", "sys.stderr.write", "sys.exit", "exit", "input", "quit")
        and not code.name.startswith(MAY_PRINT)
    ]
    assert faults == []


def test_no_bare_except(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{node.lineno}"
        for code in package
        for node in code.nodes
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or _dotted(node.type) == "BaseException")
        and not _raises(node)
    ]
    assert faults == []


def _raises(node: ast.ExceptHandler) -> bool:
    return any(isinstance(inner, ast.Raise) for inner in ast.walk(node))


def test_no_stub_is_left(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{node.lineno}"
        for code in package
        for node in code.nodes
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplemented" in ast.dump(node.exc)
    ]
    assert faults == []


def test_files_are_written_aside(package: list[Any]) -> None:
    """Whole or not at all: what writes to a path writes to the one of core.files.write_aside, named `aside`."""
    faults = [
        f"{code.name}:{line} {name}"
        for code in package
        for line, name, node in _calls(code)
        if (target := _written(name, node)) is not None and _dotted(target) != "aside"
    ]
    assert faults == []


def _written(name: str, node: ast.Call) -> ast.expr | None:
    """The path that a call writes anew; appending (a history, a part of a download) goes on from what is there."""
    if not isinstance(node.func, ast.Attribute):
        return None
    method = name.rsplit(".", 1)[-1]
    if method in ("write_text", "write_bytes"):
        return node.func.value
    if method in ("to_csv", "to_parquet", "to_json"):
        return node.args[0] if node.args else None
    mode = node.args[0] if method == "open" and node.args else None
    return node.func.value if isinstance(mode, ast.Constant) and mode.value in ("w", "wb", "x", "xb") else None


def test_text_says_its_encoding(package: list[Any]) -> None:
    """A file written on one machine must read the same on another."""
    faults = []
    for code in package:
        for line, name, node in _calls(code):
            method = name.rsplit(".", 1)[-1]
            words = {word.arg for word in node.keywords}
            if method == "read_text" and not node.args and "encoding" not in words:
                faults.append(f"{code.name}:{line} {method}")
            if method == "write_text" and "." in name and len(node.args) == 1 and "encoding" not in words:
                faults.append(f"{code.name}:{line} {method}")
    assert faults == []
