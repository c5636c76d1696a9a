"""galenic's whole prediction for one volume in memory, and its trained network for a peer. Speaks `run`.

Timed: from the intensities in memory to the label volume on the input's own grid: crop to the body, normalise, tiles,
the runtime that was picked for the model, the strongest class, the clean-up if one was chosen. Reading the file and
saving the labels are not timed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import usable_cpus, versions
from speak import serve
from torch import Tensor, nn

from galenic import verbs
from galenic.core import bundle, registry
from galenic.core.contract import Array, Prepared
from galenic.core.model import Model, load_networks
from galenic.core.plan import load_plan
from galenic.core.runtime import Opened
from galenic.core.task import load_task
from galenic.formats import index
from galenic.images.answers import strongest
from galenic.images.prepare import turn


class Logits(nn.Module):
    """A trained dense network of one output, as MONAI's inferer wants it: a tensor in, a tensor out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)[0]
        return logits


def network(folder: str) -> nn.Module:
    """The network of a model folder in torch: [n, channels, *patch] to logits [n, classes, *patch]."""
    path = Path(folder)
    bundle.verify(path)
    task, plan = registry.checked(load_task(path / "task.toml")), load_plan(path / "plan.json")
    return Logits(load_networks(path, task, plan)[0]).eval()


class Timed:
    """A runner that adds up its calls and seconds."""

    def __init__(self, run: Opened) -> None:
        self.run, self.seconds, self.calls = run, 0.0, 0

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        began = time.perf_counter()
        found = self.run(*arrays)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return found


class Bench:
    """One model, one volume in memory."""

    def __init__(self, model: Model, scan: Path, out: Path | None) -> None:
        self.model, self.out = model, out
        (self.image,) = model.task.inputs
        (self.mask,) = model.task.targets
        self.values = {self.image.name: index.read_image(scan)}

    def run(self) -> dict[str, Any]:
        timed = Timed(self.model.runners[0])
        self.model.runners[0] = timed
        try:
            moments = [time.perf_counter()]
            prepared = self.model.prepare(self.values)
            moments.append(time.perf_counter())
            outputs = self.model.infer(prepared)
            moments.append(time.perf_counter())
            self.model.answer(prepared, outputs)
            moments.append(time.perf_counter())
        finally:
            self.model.runners[0] = timed.run
        if self.out is not None:
            self._save(outputs[self.mask.name], prepared)
        prepare, infer, answer = np.diff(moments)
        return {
            "seconds": float(moments[-1] - moments[0]), "prepare": float(prepare), "network": timed.seconds,
            "blend": float(infer - timed.seconds), "answer": float(answer), "tiles": timed.calls,
        }  # fmt: skip

    def _save(self, probabilities: Array, prepared: Prepared) -> None:
        """The labels before any clean-up, which the peer has none of, in the axes of the peer's volume."""
        assert self.out is not None
        space = prepared.facts["space"]
        self.out.mkdir(parents=True, exist_ok=True)
        labels = turn(strongest(probabilities, prepared.facts), space["order"], space["flips"])
        np.save(self.out / "galenic.npy", labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, required=True, help="the image file, as a user has it")
    parser.add_argument("--model", type=Path, required=True, help="a folder of `galenic train`")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--out", type=Path, help="folder for the label volume, galenic.npy")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = verbs.load(given.model, device="cpu")
    model.plan.frames["space"]["crop"] = "body"  # as galenic does for CT; this network alone was shown the air too
    bench = Bench(model, given.scan, given.out)
    opened = model.runners[0]
    picked = {"runtime": f"{opened.runtime} {opened.precision} {opened.layout}"}
    about = versions(["galenic", "torch", "openvino", "onnxruntime"]) | picked
    serve("galenic", {"run": bench.run}, versions=about, threads=given.threads)


if __name__ == "__main__":
    main()
