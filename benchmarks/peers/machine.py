"""What a measurement was made with: CPU, memory, versions. No host name, no paths. Standard library only."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# What decides how fast matrix products run; the full list is too long to read.
_TELLING = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "sve",
    "sve2",
)


def usable_cpus() -> int:
    """CPUs that this process may run on, which a container may hold below the machine's count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """CPU model, telling instruction sets, CPUs usable, memory in GiB, kind of system."""
    fields = _cpu_fields(Path("/proc/cpuinfo"))
    found = set((fields.get("flags") or fields.get("features") or "").split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in _TELLING if flag in found],
        "cpus": usable_cpus(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of each package, and Python's own."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _cpu_fields(path: Path) -> dict[str, str]:
    """Fields of the first processor, names in lower case."""
    fields: dict[str, str] = {}
    if path.exists():
        first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        for line in first.splitlines():
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
    return fields


def _memory_gib() -> float | None:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
