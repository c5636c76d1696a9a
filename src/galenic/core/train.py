"""The one loop for networks: steps, precision, moving average, best step, checkpoint, resume; ranks of torchrun.

All chance of a step is drawn from (seed, step), so a run that was killed and resumed draws what the other would have.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from galenic.core import checkpoint, ranks
from galenic.core.contract import Batch
from galenic.core.errors import ValueProblem
from galenic.core.files import write_text
from galenic.core.interrupt import held_interrupt
from galenic.core.network import Network
from galenic.core.plan import Training
from galenic.core.progress import Progress
from galenic.core.ready import Ready

MOST_MENDED = 20  # steps taken again in float32, after which all are
SAVE_SECONDS = 30.0  # between checkpoints, or twenty times what one costs
LOOK_SECONDS, LOOK_STEPS = 5.0, 20  # how often the clock is looked at, whichever is sooner


@dataclass
class Feed:
    """Batches by step: which cases, and how they are varied, follow from (seed, step) alone."""

    ready: Ready
    rows: Sequence[int]
    seed: int
    batch: int
    _orders: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def rows_of(self, step: int) -> list[tuple[int, int]]:
        """(slot, row) of a step: cases are gone through in a new order each epoch."""
        picked = []
        for slot in range(step * self.batch, (step + 1) * self.batch):
            epoch, at = divmod(slot, len(self.rows))
            picked.append((slot, self.rows[int(self._order(epoch)[at])]))
        return picked

    def _order(self, epoch: int) -> np.ndarray:
        """The order of an epoch's cases; kept, as drawing it for every case of a large set is slow."""
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.rows))
        return self._orders[epoch]

    def __call__(self, step: int) -> Batch:
        """This rank's share of the step's batch; where ranks outnumber cases a stand-in of size 0, as DDP must step."""
        every = self.rows_of(step)
        mine = ranks.share(every)
        taken = mine or every[:1]
        seeds = [[self.seed, 2, slot] for slot, _ in taken]
        stack = self.ready.stacked(self.rows)
        if stack is not None:
            batch = stack.batch([row for _, row in taken], seeds)
        else:
            frames, settings = self.ready.frames, self.ready.settings
            drawn = [np.random.default_rng(seed) for seed in seeds]
            pairs = zip(drawn, taken, strict=True)
            batch = frames.collate([frames.sample(rng, self.ready[row], settings) for rng, (_, row) in pairs])
        return batch if mine else Batch(batch.values, 0, batch.present)


class Step(nn.Module):
    """The forward pass as torchrun's DDP wants it: one module, one scalar, and the losses to be logged."""

    def __init__(self, network: Network, batch: int) -> None:
        super().__init__()
        self.network, self.batch = network, batch

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        losses = self.network.losses(batch, progress)
        total: Tensor | None = None
        logged = {}
        for name, loss in losses.items():
            # DDP averages the ranks' gradients; times ranks over the whole batch gives the mean over all its cases
            share = loss.value.sum() * ranks.count() / self.batch if loss.scope == "case" else loss.value
            share = share if batch.size else 0.0 * share
            total = share if total is None else total + share
            logged[name] = loss.value.detach().mean()
        assert total is not None
        return total, logged


def as_layout(network: Network, layout: str) -> Network:
    """The module's weights in the memory layout of the plan."""
    if layout != "channels_last":
        return network
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            elif parameter.dim() == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def batch_as_layout(batch: Batch, layout: str) -> Batch:
    """The batch's pictures and volumes in the memory layout of the plan."""
    if layout != "channels_last":
        return batch
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    values = {
        name: tensor.contiguous(memory_format=formats[tensor.dim()])
        if tensor.is_floating_point() and tensor.dim() in formats
        else tensor
        for name, tensor in batch.values.items()
    }
    return Batch(values, batch.size, batch.present)


def make_optimizer(network: nn.Module, name: str, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.99 as nnU-Net uses; no decay on norms and biases."""
    groups = [
        {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in network.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.99, nesterov=True)
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.99))


def rate_at(plan: Training, step: int) -> float:
    """Linear warm-up, then a half cosine to zero (Loshchilov and Hutter, ICLR 2017)."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * plan.progress(step)))


class Trainer:
    """Trains one network as its plan says, into `folder`; `finish` leaves the best weights in the network."""

    def __init__(
        self, network: Network, plan: Training, feed: Callable[[int], Batch], *, seed: int, folder: Path,
        device: torch.device, score: Callable[[Network], float],
    ) -> None:  # fmt: skip
        self.network = as_layout(network.to(device), plan.layout)
        self.plan, self.feed, self.seed, self.device, self.score = plan, feed, seed, device, score
        self.optimizer = make_optimizer(self.network, plan.optimizer, plan.learning_rate, plan.weight_decay)
        self.history = folder / "history.jsonl"
        self.file = folder / "checkpoint.safetensors"
        self.step, self.seconds, self.best, self.best_step = 0, 0.0, -math.inf, 0
        self.mended = 0  # steps whose gradient was not finite in bfloat16, taken again in float32
        self.average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self.kept = {name: tensor.clone() for name, tensor in self.average.items()}
        self.losses: dict[str, float] = {}
        self._begun = 0
        inner = Step(network, plan.batch)
        self.forward: nn.Module = DistributedDataParallel(inner) if ranks.count() > 1 else inner

    def resume(self) -> bool:
        """Take up the checkpoint, if there is one; history lines after it are dropped."""
        kept = checkpoint.load(self.file, self.network, self.optimizer)
        if kept is None:
            self.history.unlink(missing_ok=True)
            return False
        self.average, self.kept = kept.average, kept.best
        state = kept.state
        self.step, self.seconds = state["step"], state["seconds"]
        self.best, self.best_step = state["best"], state["best_step"]
        self.losses = dict(state["losses"])
        self.plan.schedule[:] = [(int(a), int(b)) for a, b in state["schedule"]]
        if self.history.is_file() and ranks.first():
            lines = self.history.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(self.history, "".join(line for line in lines if _step_of(line) <= self.step))
        return True

    def save(self) -> None:
        if ranks.first():
            state = {
                "step": self.step, "seconds": self.seconds, "best": self.best, "best_step": self.best_step,
                "schedule": [list(pair) for pair in self.plan.schedule], "losses": self.losses,
            }  # fmt: skip
            checkpoint.save(self.file, self.network, self.optimizer, checkpoint.Kept(self.average, self.kept, state))

    def run(self, progress: Progress, *, until: float | None = None, adapt: bool = False) -> bool:
        """Steps to the end of the schedule. `until` is the clock's last second (of this process's monotonic clock);
        with `adapt` the schedule is cut or stretched to end there. True if the clock stopped it early; the schedule
        then ends at that step, so that who repeats the plan stops there too."""
        began, before = time.monotonic(), self.seconds
        saved, cost = time.monotonic(), 0.0
        self._begun, evaluated = self.step, -1
        look = max(1, min(LOOK_STEPS, int(LOOK_SECONDS / max(self.plan.seconds_per_step, 1e-9))))
        shown = self.plan.steps
        progress.stage("training", shown, "steps")
        with held_interrupt() as interrupted:
            while self.step < self.plan.steps:
                self.one_step()
                if ranks.anyone(interrupted()):
                    self.save()
                    ranks.meet()  # a rank that leaves first has torchrun end the others, amid their saving
                    raise KeyboardInterrupt
                self.seconds = before + time.monotonic() - began
                if self.step % self.plan.evaluate_every == 0 or self.step == self.plan.steps:
                    self.evaluate()
                    evaluated = self.step
                    self.seconds = before + time.monotonic() - began
                if time.monotonic() - saved > max(SAVE_SECONDS, 20 * cost):
                    moment = time.monotonic()
                    self.save()
                    saved, cost = time.monotonic(), time.monotonic() - moment
                if until is not None and self.step % look == 0 and self._look_at_clock(until, began, adapt):
                    if evaluated != self.step:
                        self.evaluate()
                    return True
                if shown != self.plan.steps:
                    shown = self.plan.steps
                    progress.stage("training, fitted to the clock", shown, "steps")
                progress.advance(self.step * 1.0, self._note())
        return False

    def _note(self) -> str:
        best = f", best {self.best:.3f}" if math.isfinite(self.best) else ""
        return ", ".join(f"{name} {value:.3f}" for name, value in self.losses.items()) + best

    def _look_at_clock(self, until: float, began: float, adapt: bool) -> bool:
        """Cut or stretch the schedule to the time left; True when there is none."""
        now = time.monotonic()
        stop = now >= until and self.step < self.plan.steps
        if stop:
            self.plan.schedule.append((self.step, self.step))
        if adapt and not stop and now - began > 10:
            pace = (now - began) / max(self.step - self._begun, 1)
            total = self.step + max(1, int((until - now) / pace))
            if not 0.97 < total / self.plan.steps < 1.03:
                self.plan.schedule.append((self.step, total))
        stop, schedule = ranks.agree((stop, self.plan.schedule))
        self.plan.schedule[:] = schedule
        return bool(stop)

    def one_step(self) -> None:
        """One update of the weights and of their moving average."""
        torch.manual_seed(int(np.random.default_rng([self.seed, 3, self.step]).integers(2**62)))
        self.network.train()
        batch = batch_as_layout(self.feed(self.step).to(self.device), self.plan.layout)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.plan, self.step)
        bf16 = self.plan.precision == "bf16" and self.mended < MOST_MENDED
        logged, norm = self._gradient(batch, bf16=bf16)
        if bf16 and not math.isfinite(norm):  # convolutions of tiny volumes in bfloat16 at times read what nobody wrote
            self.mended += 1
            logged, norm = self._gradient(batch, bf16=False)
        if not math.isfinite(norm):
            raise ValueProblem(
                f"training ran away: at step {self.step} the gradient is not finite",
                todo="look for numbers without bounds among the inputs or targets, or lower the learning rate",
            )
        self.optimizer.step()
        self.step += 1
        self._follow()
        for name, value in logged.items():
            old = self.losses.get(name)
            self.losses[name] = float(value) if old is None else 0.95 * old + 0.05 * float(value)

    def _gradient(self, batch: Batch, *, bf16: bool) -> tuple[dict[str, Tensor], float]:
        """(what the losses are, the gradient's norm before it is clipped); the gradient is left with the weights."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            total, logged = self.forward(batch, self.plan.progress(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        return logged, float(nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip))

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average of the weights (Polyak and Juditsky, 1992), warmed up so that it forgets the start."""
        decay = min(self.plan.ema, (1 + self.step) / (10 + self.step))
        floats = [(self.average[n], t) for n, t in self.network.state_dict().items() if t.is_floating_point()]
        torch._foreach_lerp_([own for own, _ in floats], [new for _, new in floats], 1 - decay)

    def evaluate(self) -> float:
        """Score the averaged weights on the valid part; keep them if they are the best so far; write a history line."""
        value = -math.inf
        if ranks.first():
            held = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
            self.network.load_state_dict(self.average)
            self.network.eval()
            value = self.score(self.network)
            self.network.load_state_dict(held)
            if value > self.best or not math.isfinite(self.best):
                self.best, self.best_step = value, self.step
                self.kept = {name: tensor.clone() for name, tensor in self.average.items()}
            line = {"seconds": round(self.seconds, 2), "step": self.step, "losses": self.losses,
                    "score": value if math.isfinite(value) else None}  # fmt: skip
            with self.history.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return value

    def finish(self) -> Network:
        """The best weights, in eval mode; the checkpoint is no longer needed."""
        self.network.load_state_dict(self.kept)
        self.network.eval()
        return self.network

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)


def _step_of(line: str) -> float:
    """The step that a history line tells of; a line that a kill cut short tells of none."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


def weights_of(network: nn.Module) -> Mapping[str, Any]:
    """State as plain contiguous CPU tensors."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
