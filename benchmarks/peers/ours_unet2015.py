"""galenic's default path for the classic 2-D U-Net. Speaks `forward` and `train`.

forward: the trained model's batch through whatever runtime galenic picked for it when it was trained (the fastest that
met the parity rule on this trained network, see runtime.json), then the sigmoid. train: galenic's own training step,
gradient clipping and moving average included, in the precision and layout that its probe finds fastest here; optimiser
and loss are the peers' (SGD, binary cross-entropy).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from machine import usable_cpus, versions
from speak import serve
from torch.nn import functional

from galenic.core import bundle, registry, runtime
from galenic.core.contract import Batch, Settings
from galenic.core.model import load_networks, runtime_folder
from galenic.core.network import Loss
from galenic.core.plan import Training, load_plan
from galenic.core.probe import probe
from galenic.core.task import Task, load_task
from galenic.core.train import Trainer
from galenic.images.networks.unet2015 import UNet2015Module

PARAMETERS = 31_030_593
CPU = torch.device("cpu")


class WithBinaryCrossEntropy(UNet2015Module):
    """The classic net with the peers' loss in place of galenic's Dice + cross-entropy."""

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:  # noqa: ARG002
        logits = self(*(batch.values[name] for name in self.inputs))[0].float()
        truth = batch.values[self.outputs[0]][:, None]  # [batch, 1, h, w]
        loss = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return {self.outputs[0]: Loss(loss.mean(dim=(1, 2, 3)))}


class Bench:
    """One trained model, one batch, and the two things that are timed."""

    def __init__(self, model: Path, *, batch: int, size: int, scratch: Path) -> None:
        bundle.verify(model)
        task, plan = registry.checked(load_task(model / "task.toml")), load_plan(model / "plan.json")
        network = load_networks(model, task, plan)[0]
        count = sum(parameter.numel() for parameter in network.parameters())
        if not isinstance(network, UNet2015Module) or count != PARAMETERS:
            raise SystemExit(
                f"{model} holds {plan.network.name} with {count:,} parameters, not unet2015 with {PARAMETERS:,}: "
                "make it by benchmarks/parity_unet2015.py, on a task of one channel"
            )
        shapes = registry.network(plan.network.name).shapes(plan.frames, plan.network.settings)
        self.opened = runtime.open_chosen(runtime_folder(model, 0, 1), network, shapes=shapes)
        rng = np.random.default_rng(0)
        self.image = rng.random((batch, 1, size, size), dtype=np.float32)
        mask = torch.from_numpy((rng.random((batch, size, size)) > 0.5).astype(np.float32))
        values = {task.inputs[0].name: torch.from_numpy(self.image), task.targets[0].name: mask}
        present = {name: torch.ones(batch, dtype=torch.bool) for name in values}
        self.batch = Batch(values, batch, present)
        self.trainer = self._trainer(task, plan.frames, scratch)

    def _trainer(self, task: Task, frames: Mapping[str, Settings], scratch: Path) -> Trainer:
        """galenic's trainer in the precision and layout that its probe picks, with plain SGD."""

        def build() -> WithBinaryCrossEntropy:
            torch.manual_seed(0)
            return WithBinaryCrossEntropy(task, frames)

        found = probe(build, lambda _: self.batch, CPU)
        training = Training(
            batch=self.batch.size, learning_rate=1e-3, weight_decay=0.0, optimizer="sgd", precision=found.precision,
            layout=found.layout, schedule=[(0, 1_000_000)], evaluate_every=1_000_000, warmup=1, ema=0.99,
            seconds_per_step=found.seconds_per_step, threads=torch.get_num_threads(),
        )  # fmt: skip
        trainer = Trainer(
            build(), training, lambda _: self.batch, seed=0, folder=scratch, device=CPU, score=lambda _: 0.0
        )
        trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=1e-3)
        return trainer

    @property
    def picked(self) -> dict[str, str]:
        opened, plan = self.opened, self.trainer.plan
        return {
            "forward": f"{opened.runtime} {opened.precision} {opened.layout}",
            "train": f"torch {plan.precision} {plan.layout}",
        }

    def forward(self) -> dict[str, float]:
        logits = self.opened(self.image)[0]
        return {"mean_output": float((1 / (1 + np.exp(-logits))).mean())}

    def train(self) -> dict[str, float]:
        self.trainer.losses.clear()  # it keeps a running mean
        self.trainer.one_step()
        return {"loss": next(iter(self.trainer.losses.values()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder of `galenic train --network unet2015`")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(given.model, batch=given.batch, size=given.size, scratch=Path(scratch))
        about = versions(["galenic", "torch", "openvino", "onnxruntime"]) | bench.picked
        serve("galenic", {"forward": bench.forward, "train": bench.train}, versions=about, threads=given.threads)


if __name__ == "__main__":
    main()
