"""MONAI's sliding_window_inference on one volume with one given network. Speaks `run fp32` and `run bf16`.

Timed: from the volume in memory to the label volume in memory (windows, blending, argmax). Saving is not timed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import usable_cpus, versions
from monai.inferers import sliding_window_inference
from speak import serve
from torch import Tensor, nn


def basic_unet(width: str = "16") -> nn.Module:
    """MONAI's BasicUNet, `width` features at the top, two classes, random: to try this script with nothing trained."""
    from monai.networks.nets import BasicUNet

    torch.manual_seed(0)
    top = int(width)
    features = (top, top, 2 * top, 4 * top, 8 * top, top)
    return BasicUNet(spatial_dims=3, in_channels=1, out_channels=2, features=features)


def load_network(name: str, argument: str | None) -> nn.Module:
    """Call `module:function`, with `argument` (such as a model folder) if given; it returns a network of logits."""
    module, _, function = name.partition(":")
    if not function:
        raise SystemExit(f"--network {name!r}: give module:function, such as monai_window:basic_unet")
    build = getattr(importlib.import_module(module), function)
    network = build() if argument is None else build(argument)
    if not isinstance(network, nn.Module):
        raise SystemExit(f"--network {name}: it returned {type(network).__name__}, not a torch.nn.Module")
    return network.eval()


def load_volume(path: Path) -> Tensor:
    """A float32 volume [1, channels, depth, height, width], prepared as the network wants it."""
    array = np.load(path, allow_pickle=False)
    if array.ndim != 5 or array.shape[0] != 1:
        raise SystemExit(f"{path.name}: shape {array.shape}; give [1, channels, depth, height, width]")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


class Bench:
    """One network, one volume, one way of tiling."""

    def __init__(self, network: nn.Module, volume: Tensor, *, roi: int, overlap: float, out: Path | None) -> None:
        self.network, self.volume, self.roi, self.overlap, self.out = network, volume, roi, overlap, out

    def run(self, precision: str) -> dict[str, Any]:
        began = time.perf_counter()
        labels = self._labels(bf16=precision == "bf16")
        seconds = time.perf_counter() - began
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            np.save(self.out / f"monai-{precision}.npy", labels)
        return {"seconds": seconds, "foreground_voxels": int((labels > 0).sum())}

    def _labels(self, *, bf16: bool) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = sliding_window_inference(
                self.volume, (self.roi,) * 3, 1, self.network, overlap=self.overlap, mode="gaussian"
            )
            labels = logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0  # [1, d, h, w]
        return labels[0].to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", type=Path, required=True, help=".npy, [1, channels, depth, height, width]")
    parser.add_argument("--network", default="monai_window:basic_unet", help="module:function returning the network")
    parser.add_argument("--argument", help="given to that function, such as a model folder")
    parser.add_argument("--roi", type=int, default=64, help="window edge in voxels")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--out", type=Path, help="folder for the label volumes, monai-fp32.npy and monai-bf16.npy")
    given = parser.parse_args()
    # A script's own module is __main__; under its file name it would be imported twice.
    sys.modules.setdefault("monai_window", sys.modules[__name__])
    torch.set_num_threads(given.threads)
    network = load_network(given.network, given.argument)
    bench = Bench(network, load_volume(given.volume), roi=given.roi, overlap=given.overlap, out=given.out)
    commands = {f"run {precision}": lambda precision=precision: bench.run(precision) for precision in ("fp32", "bf16")}
    serve("monai", commands, versions=versions(["monai", "torch"]), threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
