"""PyTorch itself: the reference that every other runtime is compared with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from galenic.core.contract import Array, Runner
from galenic.core.errors import ModelFolderError
from galenic.core.network import Network


def _cpu_has_bf16() -> bool:
    """True where bfloat16 multiplies in hardware; emulated it would only be slower."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch knows one number of threads for the whole process, so it is put back after each call."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Torch:
    """Eval and inference mode; autocast for bf16; any batch size."""

    name = "torch"

    def missing(self) -> str:
        return ""

    def precisions(self, device: str = "cpu") -> list[str]:
        kind = torch.device(device).type
        fast = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu" and _cpu_has_bf16()
        return ["f32", "bf16"] if fast else ["f32"]

    def layouts(self, shapes: Sequence[tuple[int, ...]]) -> list[str]:
        """Which of the two is faster differs by network, so both are offered for pictures and volumes."""
        return ["default", "channels_last"] if any(len(shape) in (4, 5) for shape in shapes) else ["default"]

    def open(
        self,
        network: Network | None,
        shapes: Sequence[tuple[int, ...]],  # noqa: ARG002 - torch takes any shape
        folder: Path | None,
        *,
        precision: str,
        threads: int | None = None,
        device: str = "cpu",
        layout: str = "default",
    ) -> Runner:
        """A runner on a copy of `network`; what the caller does with the original later does not reach it."""
        if network is None:
            raise ModelFolderError(
                f"no network to run with torch{f' for {folder}' if folder else ''}",
                todo="load the weights of the model folder first, or install the runtime it was exported for",
            )
        module = copy.deepcopy(network).eval().requires_grad_(False).to(device)
        return _TorchRunner(module, precision, threads, torch.device(device), layout == "channels_last")


_CAST = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
)  # fmt: skip


class _TorchRunner:
    def __init__(
        self, module: Network, precision: str, threads: int | None, device: torch.device, channels_last: bool
    ) -> None:
        self._module, self._threads, self._device = module, threads, device
        self._half = precision == "bf16"
        self._formats = {4: torch.channels_last, 5: torch.channels_last_3d} if channels_last else {}
        for weight in module.parameters():
            if weight.ndim in self._formats:
                weight.data = weight.data.to(memory_format=self._formats[weight.ndim])
        if self._half:  # what autocast would do to these weights in every call, once
            for part in module.modules():
                if isinstance(part, _CAST):
                    part.to(torch.bfloat16)

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.require(array, np.float32, ["C", "W"])).to(self._device)
        form = self._formats.get(tensor.ndim)
        return tensor if form is None else tensor.contiguous(memory_format=form)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        autocast = torch.autocast(self._device.type, torch.bfloat16) if self._half else nullcontext()
        with _threads(self._threads), torch.inference_mode(), autocast:
            found = self._module(*(self._tensor(array) for array in arrays))
        outputs = (found,) if isinstance(found, torch.Tensor) else found
        return tuple(output.float().contiguous().cpu().numpy() for output in outputs)
