"""OpenVINO on the CPU, in float32 or, where the CPU has it, bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galenic.core.contract import Array, Runner
from galenic.core.errors import MissingExtra
from galenic.core.network import Network
from galenic.core.runtimes.export import exported


@cache
def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", "fast", "the runtime openvino") from error
    return openvino.Core()


class OpenVino:
    """The exported network in OpenVINO; shapes are fixed, so a batch runs case by case.

    The model is read by `Core.read_model`; `openvino.convert_model` would report its use to the maker.
    Precision is always pinned, as OpenVINO takes bf16 by itself where it can.
    """

    name = "openvino"

    def missing(self) -> str:
        if not find_spec("openvino"):
            return "pip install 'galenic[fast]' (openvino)"
        # OpenVINO 2026.4 ends the process (segmentation fault) when it compiles some nets for a single thread
        return "not used with a single thread" if torch.get_num_threads() < 2 else ""

    def precisions(self, device: str = "cpu") -> list[str]:
        if device != "cpu":
            return []
        return ["f32", "bf16"] if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ["f32"]

    def layouts(self, shapes: Sequence[tuple[int, ...]]) -> list[str]:  # noqa: ARG002 - it lays out by itself
        return ["default"]

    def open(
        self,
        network: Network | None,
        shapes: Sequence[tuple[int, ...]],
        folder: Path | None,
        *,
        precision: str,
        threads: int | None = None,
        device: str = "cpu",  # noqa: ARG002 - cpu alone
        layout: str = "default",  # noqa: ARG002 - it lays out by itself
    ) -> Runner:
        core = _core()
        model = core.read_model(exported(network, shapes, folder))
        model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": max(2, threads or torch.get_num_threads()),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return _OpenVinoRunner(core.compile_model(model, "CPU", settings))


class _OpenVinoRunner:
    def __init__(self, compiled: Any) -> None:
        self._ports = list(compiled.outputs)
        self._request = compiled.create_infer_request()

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        whole = [np.require(array, np.float32, ["C"]) for array in arrays]
        cases = []
        for case in range(len(whole[0])):
            found = self._request.infer([array[case : case + 1] for array in whole], share_inputs=True)
            cases.append([np.asarray(found[port], np.float32) for port in self._ports])
        return tuple(
            np.concatenate(outputs) if len(outputs) > 1 else outputs[0] for outputs in zip(*cases, strict=True)
        )
