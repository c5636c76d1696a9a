"""The exported network, `net.onnx`: written once, kept with its digest in runtime.json, trusted by that digest only."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from galenic.core.errors import DigestError, MissingExtra, MissingFile, ModelFolderError, UnreadableFile, UnsafeFile
from galenic.core.files import write_aside, write_json
from galenic.core.network import Network

NET = "net.onnx"
RECORD = "runtime.json"
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


class Exported(BaseModel):
    """What net.onnx holds: digests of the file and of the weights it was made from, and the input shapes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    weights_sha256: str
    shapes: list[list[int]]


def read_record(folder: Path) -> dict[str, Any]:
    """runtime.json of a folder, {} where there is none; UnreadableFile if it is no JSON object."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableFile(f"{path} is not JSON: {error}", todo="export the model again") from error
    if not isinstance(record, dict):
        raise UnreadableFile(f"{path} holds no JSON object", todo="export the model again")
    return record


def weights_digest(network: Network) -> str:
    """SHA-256 over the names, types, shapes and bytes of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def exported(network: Network | None, shapes: Sequence[tuple[int, ...]], folder: Path | None) -> bytes:
    """The network as ONNX, its inputs of fixed `shapes` (batch 1).

    With a folder, a net.onnx there is used if it was made from these weights and shapes, else it is made and kept.
    Raises DigestError if the file is not the one recorded, ModelFolderError if there is nothing to export, and
    MissingExtra without onnxscript.
    """
    record = read_record(folder) if folder is not None else {}
    kept = _record_of(record, folder)
    if folder is not None and kept is not None and _serves(kept, network, shapes):
        return _read(folder / NET, kept.sha256)
    if network is None:
        raise ModelFolderError(f"no exported network for the shapes {list(shapes)} in {folder}", todo="export it again")
    data = _export(network, shapes)
    if folder is not None:
        shape_list = [list(shape) for shape in shapes]
        made = Exported(
            sha256=hashlib.sha256(data).hexdigest(), weights_sha256=weights_digest(network), shapes=shape_list
        )
        _keep(folder, data, {**record, "exported": made.model_dump()})
    return data


def _record_of(record: dict[str, Any], folder: Path | None) -> Exported | None:
    if record.get("exported") is None:
        return None
    try:
        return Exported.model_validate(record["exported"])
    except ValueError as error:
        raise UnreadableFile(f"{folder}/{RECORD} is not valid: {error}", todo="export the model again") from error


def _serves(kept: Exported, network: Network | None, shapes: Sequence[tuple[int, ...]]) -> bool:
    if kept.shapes != [list(shape) for shape in shapes]:
        return False
    return network is None or kept.weights_sha256 == weights_digest(network)


def _read(path: Path, sha256: str) -> bytes:
    if not path.is_file():
        raise MissingFile(f"no {path}, though {RECORD} names it", todo="export the model again")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DigestError(f"{path} is not the file that {RECORD} names", todo="export the model again, or copy it anew")
    _refuse_outside_data(data, str(path))
    return data


def _refuse_outside_data(data: bytes, name: str) -> None:
    # ONNX lets a tensor name another file by the key "location"; our own exports hold all in one.
    if b"location" in data:
        raise UnsafeFile(f"{name} may point to files outside it", allowed="a network whole in one file")


def _keep(folder: Path, data: bytes, record: dict[str, Any]) -> None:
    try:
        with write_aside(folder / NET) as aside:
            aside.write_bytes(data)
        write_json(folder / RECORD, record)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise


def _export(network: Network, shapes: Sequence[tuple[int, ...]]) -> bytes:
    if find_spec("onnxscript") is None:
        raise MissingExtra("onnxscript", "fast", "exporting a network")
    module = copy.deepcopy(network).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    examples = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own internals
            program = torch.onnx.export(module, examples, dynamo=True, verbose=False)
    finally:
        chatty.setLevel(level)
    assert program is not None
    proto = program.model_proto
    _forget_sources(proto)
    data: bytes = proto.SerializeToString()
    _refuse_outside_data(data, "the exported network")
    return data


def _forget_sources(proto: Any) -> None:
    """Drop the notes that name this machine's files and lines."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
