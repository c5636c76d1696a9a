"""Who may import whom. The house:

cli -> verbs, sources, pictures, demonstration -> wings, catalog, core <- rooms -> formats
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

ROOMS = ("images", "series", "tables", "texts")
WINGS = ("report",)
MEETING = (
    "verbs",
    "left_out",
    "seen",
    "sources",
    "pictures",
    "demonstration",
    "demonstration_ecg",
)  # where rooms, wings and core meet
VERSION = "galenic"  # only for __version__

ALLOWED: dict[str, tuple[str, ...]] = {
    "": (),
    "values": ("galenic.core.errors",),
    "core": ("galenic.core", VERSION),
    "formats": ("galenic.values", "galenic.core.errors", "galenic.core.files", "galenic.formats"),
    "catalog": ("galenic.catalog", "galenic.core", "galenic.formats"),
    **{room: (f"galenic.{room}", "galenic.core", "galenic.values", "galenic.formats") for room in ROOMS},
    **{wing: (f"galenic.{wing}", "galenic.core", "galenic.values", "galenic.formats", VERSION) for wing in WINGS},
    **{
        name: tuple(f"galenic.{one}" for one in ("core", "values", "formats", "catalog", *ROOMS, *WINGS, *MEETING))
        for name in MEETING
    },
    "cli": (VERSION, *(f"galenic.{one}" for one in ("cli", "core", "values", "catalog", *WINGS, *MEETING))),
}

# Imports inside a function that are not there to dodge a circle: start-up time, or an extra that may be missing.
LATE = {
    "cli": ("galenic.verbs", "galenic.demonstration", "galenic.catalog", "galenic.cli"),
    "verbs": ("galenic.report",),
    "catalog": ("galenic.catalog.transfer",),
    "series": ("galenic.formats.dicom_waveform",),
}

# Optional and heavy packages, and the files that wrap them.
WRAPPED = {
    "SimpleITK": (),
    "edfio": ("formats/edf.py",),
    "highdicom": ("formats/dicom_seg.py", "formats/dicom_sr.py"),
    "httpx": ("catalog/download.py", "catalog/transfer.py"),
    "imagecodecs": ("formats/dicom_jpeg.py", "formats/png_tiff.py"),
    "jinja2": ("report/page.py",),
    "matplotlib": ("images/show.py", "report/figures.py", "series/show.py"),
    "nibabel": ("formats/nifti.py",),
    "nilearn": ("demonstration.py",),
    "onnx": ("core/runtimes/export.py",),
    "onnxruntime": ("core/runtimes/onnx.py",),
    "openvino": ("core/runtimes/openvino.py",),
    "PIL": ("formats/png_tiff.py",),
    "pydicom": "formats/",
    "rich": "cli/",
    "skops": ("tables/keep.py",),
    "tifffile": ("formats/png_tiff.py",),
    "typer": "cli/",
    "wfdb": ("formats/wfdb.py",),
}


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == one or (one != VERSION and module.startswith(f"{one}.")) for one in allowed)


def test_every_part_of_the_package_has_its_rule(package: list[Any]) -> None:
    parts = {_part(code.module) for code in package}
    assert parts - set(ALLOWED) == set(), "name the new room, wing or file in ALLOWED"


def test_nobody_imports_what_is_not_his(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{one.line} imports {one.module}"
        for code in package
        for one in code.imports
        if one.module.split(".")[0] == "galenic" and not _within(one.module, ALLOWED[_part(code.module)])
    ]
    assert faults == []


def test_the_version_is_all_that_is_taken_from_the_front_door(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{node.lineno}"
        for code in package
        for node in code.nodes
        if isinstance(node, ast.ImportFrom)
        and node.module == "galenic"
        and not _meets(code.module)
        and {alias.name for alias in node.names} != {"__version__"}
        and not all(_part(f"galenic.{alias.name}") in ALLOWED for alias in node.names)
    ]
    assert faults == []


def _meets(module: str) -> bool:
    return _part(module) in (*MEETING, "cli")


def test_no_import_inside_a_function_dodges_a_circle(package: list[Any]) -> None:
    faults = [
        f"{code.name}:{one.line} imports {one.module} inside {one.function}()"
        for code in package
        for one in code.imports
        if one.function
        and one.module.startswith("galenic")
        and not _within(one.module, LATE.get(_part(code.module), ()))
    ]
    assert faults == []


def test_there_is_no_circle(package: list[Any]) -> None:
    """Imports inside functions count too; those for types alone do not, as they never run."""
    known = {code.module for code in package}
    graph: dict[str, set[str]] = {}
    for code in package:
        graph[code.module] = {
            one.module for one in code.imports if one.module in known - {code.module, "galenic"} and not one.typing
        }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_core_names_no_room(package: list[Any]) -> None:
    """What core knows of a room comes by an entry point, so no string in it names a room's module either."""
    faults = [
        f"{code.name}:{node.lineno} {node.value!r}"
        for code in package
        if _part(code.module) == "core"
        for node in code.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(f"galenic.{part}." in node.value for part in (*ROOMS, *WINGS, "formats"))
    ]
    assert faults == []


@pytest.mark.parametrize("wrapped", sorted(WRAPPED))
def test_heavy_packages_have_few_doors(wrapped: str, package: list[Any]) -> None:
    allowed = WRAPPED[wrapped]
    faults = []
    for code in package:
        named = {one.module.split(".")[0] for one in code.imports if not one.typing} | _by_name(code.nodes)
        path = code.name.removeprefix("src/galenic/")
        inside = path.startswith(allowed) if isinstance(allowed, str) else path in allowed
        if wrapped in named and not inside:
            faults.append(code.name)
    assert faults == []


def _by_name(nodes: list[ast.AST]) -> set[str]:
    """Packages imported by `need("highdicom", ...)` or `import_module("highdicom.seg")`."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("need", "import_module"):
                found.add(str(node.args[0].value).split(".")[0])
    return found


def _loaded(statement: str, *names: str) -> str:
    script = f"import sys\n{statement}\nprint(','.join(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_catalogue_needs_no_torch() -> None:
    assert _loaded("import galenic.catalog; galenic.catalog.names()", "torch", "sklearn", "httpx") == ""


def test_the_shell_starts_without_the_heavy_ones() -> None:
    assert _loaded("import galenic.cli.door", "torch", "sklearn", "scipy", "pandas", "matplotlib", "pydicom") == ""


def test_the_front_door_is_light() -> None:
    assert _loaded("import galenic; dir(galenic)", "torch", "numpy", "pandas", "pydantic") == ""
