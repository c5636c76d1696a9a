"""ONNX Runtime on the CPU, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galenic.core.contract import Array, Runner
from galenic.core.errors import MissingExtra
from galenic.core.network import Network
from galenic.core.runtimes.export import exported


class OnnxRuntime:
    """The exported network in ONNX Runtime; shapes are fixed, so a batch runs case by case."""

    name = "onnx"

    def missing(self) -> str:
        return "" if find_spec("onnxruntime") else "pip install 'galenic[fast]' (onnxruntime)"

    def precisions(self, device: str = "cpu") -> list[str]:
        return ["f32"] if device == "cpu" else []

    def layouts(self, shapes: Sequence[tuple[int, ...]]) -> list[str]:  # noqa: ARG002 - it lays out by itself
        return ["default"]

    def open(
        self,
        network: Network | None,
        shapes: Sequence[tuple[int, ...]],
        folder: Path | None,
        *,
        precision: str,  # noqa: ARG002 - f32 alone
        threads: int | None = None,
        device: str = "cpu",  # noqa: ARG002 - cpu alone
        layout: str = "default",  # noqa: ARG002 - it lays out by itself
    ) -> Runner:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("onnxruntime", "fast", "the runtime onnx") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        data = exported(network, shapes, folder)
        return _OnnxRunner(onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]))


class _OnnxRunner:
    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [node.name for node in session.get_inputs()]

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        whole = [np.require(array, np.float32, ["C"]) for array in arrays]
        cases = [
            self._session.run(None, dict(zip(self._names, (array[case : case + 1] for array in whole), strict=True)))
            for case in range(len(whole[0]))
        ]
        return tuple(
            np.concatenate(outputs) if len(outputs) > 1 else outputs[0] for outputs in zip(*cases, strict=True)
        )
