"""The model folder: what lies in it, digests that tell a flipped byte, and an export without what identifies anyone."""

from __future__ import annotations

import json
import platform
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from galenic import __version__
from galenic.core.errors import DigestError, MissingFile, ModelFolderError, NewerVersionError, UnsafeFile
from galenic.core.files import inside, sha256, write_aside, write_json

FORMAT = 1
PRIVATE = "private"
_CODE = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".bin", ".py")
_CACHE = (PRIVATE, "cache")  # its .npy are core.ready's, which reads none that would have to be unpickled
_LOOSE = {"checkpoint.safetensors", "provenance.json"}  # rewritten while training, or holding the digests


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """safetensors, whole or not at all."""
    with write_aside(path) as aside:
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, str(aside))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; ModelFolderError if it is damaged."""
    if not path.is_file():
        raise MissingFile(f"the model folder lacks {path.name}", todo="copy the whole folder")
    try:
        return dict(load_file(str(path)))
    except SafetensorError as error:
        raise ModelFolderError(f"{path} is damaged: {error}", todo="copy the model folder again") from error


def seal(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write provenance.json with the digest of every file of the model folder that is not private.

    What a killed run left half-written beside its files goes.
    """
    for left in [path for path in folder.rglob(".aside-*") if path.is_file()]:
        left.unlink()
    digests = {name: sha256(folder / name) for name in public_files(folder) if name not in _LOOSE}
    write_json(folder / "provenance.json", {"format": FORMAT, **provenance, "digests": digests})


def public_files(folder: Path) -> list[str]:
    """Relative names of all files outside `private/`, sorted; hidden ones (of the system, or half-written) are none."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        name.as_posix()
        for name in names
        if name.parts[0] != PRIVATE and not any(part.startswith(".") for part in name.parts)
    )


def verify(folder: Path) -> dict[str, Any]:
    """provenance.json of a folder whose files are what was sealed; an error of ModelFolderError's branch otherwise."""
    if folder.is_file():
        raise MissingFile(
            f"{folder} is a file, not a model folder",
            todo="unpack an exported zip into a folder of its own, and name that",
        )
    if not folder.is_dir():
        raise MissingFile(f"no model folder {folder}", todo="name a folder that galenic train has written")
    _refuse_code(folder)
    path = folder / "provenance.json"
    if not path.is_file():
        raise ModelFolderError(
            f"{folder} has no provenance.json: it is no finished model folder",
            todo="finish it with galenic train ... --resume",
        )
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        version, digests = int(kept["format"]), dict(kept["digests"])
    except (ValueError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}", todo="copy the model folder again") from error
    if version > FORMAT:
        raise NewerVersionError(
            f"{folder} was written by galenic {kept.get('galenic', '?')} (format {version})",
            allowed=f"format {FORMAT} or older",
            todo="pip install -U galenic",
        )
    for name, digest in digests.items():
        _check(folder, name, digest)
    added = [name for name in public_files(folder) if name not in digests and name not in _LOOSE]
    if added:
        raise DigestError(
            f"{', '.join(added[:5])} in {folder} came after the folder was sealed",
            allowed="the files that its provenance.json names, and what lies in private/",
            todo="move it out of the folder, or copy the model folder again",
        )
    return dict(kept)


def _refuse_code(folder: Path) -> None:
    """Wherever it lies: what is private or half-written is handed on too, by whoever copies the folder."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.name.lower().endswith(_CODE) or not path.is_file():
            continue
        if path.suffix != ".npy" or name.parts[:2] != _CACHE:
            raise UnsafeFile(
                f"the model folder holds {name.as_posix()}, a kind of file that can run code",
                allowed="safetensors, JSON, TOML, Markdown, ONNX and skops",
                todo="do not use this folder; ask where it came from",
            )


def _check(folder: Path, name: str, digest: str) -> None:
    path = inside(folder, name)
    if not path.is_file():
        raise DigestError(f"{name} is missing from the model folder {folder}", todo="copy the whole folder again")
    if sha256(path) != digest:
        raise DigestError(
            f"{name} in {folder} is not the file that was sealed (its SHA-256 differs)",
            todo="copy the model folder again; do not use it as it is",
        )


def export(folder: Path, file: Path) -> Path:
    """One zip of the folder without `private/`; verified first."""
    verify(folder)
    with write_aside(file) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in public_files(folder):
            if name not in ("checkpoint.safetensors",):
                archive.write(folder / name, name)
    return file


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {
        "galenic": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "numpy": np.__version__, "scikit-learn": version("scikit-learn"),
    }  # fmt: skip
