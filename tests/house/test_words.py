"""The repository's files name no package registry, no path of one machine, and nothing of how it was made."""

from __future__ import annotations

import re
from pathlib import Path

# Built from pieces, so that this file does not hold what it looks for.
HOSTS = [
    "py" + "pi.org", "python" + "hosted.org", "conda.anaconda" + ".org", "download.py" + "torch.org",
    "huggingface" + ".co", "index" + "-url", "find" + "-links",
]  # fmt: skip
PLACES = ["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/tmp/ba" + "sh", "/opt/wh" + "eels", "C:" + "\\Users"]
TONGUES = ["Cla" + "ude", "Anthro" + "pic", "Chat" + "GPT", "language" + " model"]


def _faults(text_files: list[Path], root: Path, words: list[str]) -> list[str]:
    faults = []
    for path in text_files:
        text = path.read_text(encoding="utf-8", errors="replace")
        faults += [f"{path.relative_to(root)}: {word}" for word in words if word.lower() in text.lower()]
    return faults


def test_there_are_files_to_look_at(text_files: list[Path]) -> None:
    names = {path.name for path in text_files}
    assert {"README.md", "pyproject.toml", "Makefile", "contract.py", "constraints.txt"} <= names


def test_no_registry_host(text_files: list[Path], root: Path) -> None:
    assert _faults(text_files, root, HOSTS) == []


def test_no_path_of_one_machine(text_files: list[Path], root: Path) -> None:
    assert _faults(text_files, root, PLACES) == []


def test_nobody_is_named_as_the_maker(text_files: list[Path], root: Path) -> None:
    assert _faults(text_files, root, TONGUES) == []


def test_constraints_are_plain_pins(root: Path) -> None:
    """name==version and nothing else; torch's build is the machine's own."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0].lower() for line in lines]
    assert names == sorted(set(names), key=lambda name: name.replace("_", "-"))
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    own = re.compile(r"(galenic|torch|torchvision|triton|nvidia-.*|cuda-.*)==")
    assert [line for line in lines if own.match(line)] == []


def test_conflict_marks_and_stray_ends(text_files: list[Path], root: Path) -> None:
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    faults = []
    for path in text_files:
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(line.startswith(marks) for line in text.splitlines()) or "\r" in text:
            faults.append(str(path.relative_to(root)))
    assert faults == []
