"""The exported network is made once, tells nothing of where, and is trusted by its digest only."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from openvino_telemetry.main import Telemetry
from torch import nn

from galenic.core import registry
from galenic.core.contract import Field
from galenic.core.errors import DigestError, MissingFile, ModelFolderError, UnreadableFile, UnsafeFile
from galenic.core.network import Network
from galenic.core.runtimes.export import exported
from galenic.core.task import Task

TASK = Task(
    name="small",
    inputs=[Field(name="image", kind="image", columns=["image"])],
    targets=[Field(name="label", kind="mask", columns=["label"])],
)


class Small(Network):
    """One convolution with its norm."""

    def __init__(self) -> None:
        super().__init__(TASK, {})
        self.conv, self.norm = nn.Conv2d(1, 4, 3, 1, 1), nn.InstanceNorm2d(4, affine=True)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.norm(self.conv(image)),)


def small() -> Small:
    torch.manual_seed(0)
    return Small()


def opened(name, network, shapes, folder=None):
    return registry.get("runtimes", name)().open(network, shapes, folder, precision="f32")


def picture() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def kept_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    exported(small(), [(1, 1, 8, 8)], folder)
    return folder


@pytest.fixture
def kept(kept_once, tmp_path):
    """A folder of one's own that holds an exported network for inputs of 8 x 8."""
    return shutil.copytree(kept_once, tmp_path / "runtime")


def test_it_is_made_once_and_then_needs_no_network(kept):
    first = (kept / "net.onnx").read_bytes()
    written = (kept / "net.onnx").stat().st_mtime_ns
    assert exported(small(), [(1, 1, 8, 8)], kept) == first
    assert exported(None, [(1, 1, 8, 8)], kept) == first
    assert (kept / "net.onnx").stat().st_mtime_ns == written
    array = picture()
    for name in ("onnx", "openvino"):
        np.testing.assert_allclose(
            opened(name, None, [array.shape], kept)(array)[0], opened("torch", small(), [])(array)[0], atol=1e-5
        )


def test_other_weights_or_shapes_are_exported_anew(kept):
    first = (kept / "net.onnx").read_bytes()
    other = small()
    with torch.no_grad():
        other.conv.bias.add_(1.0)
    second = exported(other, [(1, 1, 8, 8)], kept)
    assert second != first
    assert exported(other, [(1, 1, 16, 16)], kept) != second
    with pytest.raises(ModelFolderError, match="no exported network"):
        exported(None, [(1, 1, 8, 8)], kept)


def test_it_does_not_tell_where_it_was_made(kept):
    data = (kept / "net.onnx").read_bytes()
    assert str(__file__).encode() not in data
    assert b"test_runtime" not in data
    assert b"stack_trace" not in data


def test_a_flipped_byte_is_found(kept):
    data = bytearray((kept / "net.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (kept / "net.onnx").write_bytes(data)
    with pytest.raises(DigestError, match=r"net\.onnx"):
        exported(None, [(1, 1, 8, 8)], kept)


def test_a_missing_file_is_said(kept):
    (kept / "net.onnx").unlink()
    with pytest.raises(MissingFile):
        exported(None, [(1, 1, 8, 8)], kept)


def test_weights_in_another_file_are_refused(kept):
    model = onnx.load_from_string((kept / "net.onnx").read_bytes())
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    weight.external_data.add(key="location", value="../../secret")
    data = model.SerializeToString()
    (kept / "net.onnx").write_bytes(data)
    record = json.loads((kept / "runtime.json").read_text())
    record["exported"]["sha256"] = hashlib.sha256(data).hexdigest()
    (kept / "runtime.json").write_text(json.dumps(record))
    with pytest.raises(UnsafeFile):
        exported(None, [(1, 1, 8, 8)], kept)


@pytest.mark.parametrize("text", ["{", "[]", '{"exported": {"sha256": 1}}'])
def test_a_damaged_record_is_said(tmp_path, text):
    (tmp_path / "runtime.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"runtime\.json"):
        exported(small(), [(1, 1, 8, 8)], tmp_path)


def test_openvino_reports_its_use_to_nobody(kept, monkeypatch):
    reports = []
    for name in ("start_session", "send_event", "send_error", "send_stack_trace"):
        monkeypatch.setattr(Telemetry, name, lambda self, *args, **kwargs: reports.append(args))
    opened("openvino", small(), [(1, 1, 8, 8)], kept)(picture())
    assert reports == []


def test_a_folder_that_can_not_be_written_is_no_obstacle(tmp_path, monkeypatch):
    folder = tmp_path / "file" / "runtime"
    shut = PermissionError(13, "Permission denied")

    def refuse(*args, **kwargs):
        raise shut

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert exported(small(), [(1, 1, 8, 8)], folder)
    assert not (folder / "net.onnx").exists()
