"""Training an epoch of challenge2012-set-a: galenic's loop beside usual ones, the same network, batch and optimiser.

Candidates take turns, one epoch each a round, in one process:

galenic    the Trainer of `galenic train icu_mortality`, clipping and moving average included;
ready      a competent loop by hand: all cases as tensors in memory, a permutation, index_select, AdamW;
in memory  torch's Dataset and DataLoader over the same tensors, a case at a time, collated by default;
files      a Dataset that reads a stay's file in __getitem__, bins it by hour and scales it, as torch's tutorial on
           data loading does with pictures. Only so many steps of it are timed, and the epoch is reckoned from them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from galenic import sources
from galenic.core.decide import make_plan
from galenic.core.fit import Job, Work, open_job
from galenic.core.plan import Plan
from galenic.core.progress import Silent
from galenic.core.train import Feed, Trainer, make_optimizer
from records import keep, verdict

TASK, SERIES = "icu_mortality", "stay"
BARS = {"in memory": None, "files": 5.0, "ready": 1.2}
Epoch = Callable[[], float]  # seconds of an epoch


class InMemory(Dataset[Any]):
    """A case at a time, of what lies ready."""

    def __init__(self, arrays: list[Tensor], truth: Tensor) -> None:
        self.arrays, self.truth = arrays, truth

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, at: int) -> tuple[Tensor, ...]:
        return (*(array[at] for array in self.arrays), self.truth[at])


class Files(Dataset[Any]):
    """A stay's file read, binned by hour and scaled when it is asked for."""

    def __init__(self, paths: list[Path], own: dict[str, Any], steps: int, rest: list[Tensor], truth: Tensor) -> None:
        self.paths, self.steps, self.rest, self.truth = paths, steps, rest, truth
        self.names = own["variables"]
        self.mean, self.sd = np.array(own["mean"]), np.maximum(np.array(own["sd"]), 1e-6)

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, at: int) -> tuple[Tensor, ...]:
        table = pd.read_csv(self.paths[at])
        hour = table["Time"].str.slice(0, 2).astype(int).clip(upper=self.steps - 1)
        wide = table.assign(hour=hour).pivot_table(index="hour", columns="Parameter", values="Value", aggfunc="mean")
        wide = wide.reindex(index=range(self.steps), columns=self.names)
        values = (wide.ffill().to_numpy() - self.mean) / self.sd
        seen = wide.notna().to_numpy()
        since = np.where(seen, 0.0, 1.0).cumsum(axis=0) / self.steps
        array = np.concatenate([np.nan_to_num(values), seen, since], axis=1).astype(np.float32)
        return torch.from_numpy(array), *(one[at] for one in self.rest), self.truth[at]


def by_hand(work: Work, plan: Plan) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The same network in torch's own kernels, and the same optimiser, outside of galenic's loop."""
    network = work.build().train()
    cell = network.cell
    network.unroll = lambda x: cell(x)[0]
    own = plan.training
    return network, make_optimizer(network, own.optimizer, own.learning_rate, own.weight_decay)


def one_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...]) -> None:
    """What every tutorial does."""
    *arrays, truth = batch
    loss = nn.functional.cross_entropy(network(*arrays)[0], truth)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def by_loader(pair: Any, steps: int, most: int) -> float:
    """Seconds of an epoch of so many steps through a DataLoader, reckoned from the first `most`."""
    (network, optimizer), data = pair
    began = time.perf_counter()
    for at, found in enumerate(data, start=1):
        one_step(network, optimizer, tuple(found))
        if at == most:
            break
    return (time.perf_counter() - began) * steps / at


def candidates(work: Work, plan: Plan, rows: list[int], folder: Path, file_steps: int) -> dict[str, Epoch]:
    """Name -> a function that trains an epoch and tells its seconds."""
    batch = plan.training.batch
    steps = len(rows) // batch
    names = [one.name for one in work.task.inputs]
    prepared = [work.ready[row] for row in rows]
    arrays = [torch.from_numpy(np.stack([one.arrays[name] for one in prepared])) for name in names]
    truth = torch.tensor([int(one.arrays["death"]) for one in prepared])
    trainer = Trainer(
        work.build(), plan.training, Feed(work.ready, rows, plan.seed, batch), seed=plan.seed, folder=folder,
        device=torch.device("cpu"), score=lambda _: 0.0,
    )  # fmt: skip

    def ours() -> None:
        for _ in range(steps):
            trainer.one_step()

    network, optimizer = by_hand(work, plan)

    def ready() -> None:
        order = torch.randperm(len(rows))
        for at in range(steps):
            picked = order[at * batch : (at + 1) * batch]
            one_step(network, optimizer, tuple(own.index_select(0, picked) for own in [*arrays, truth]))

    memory = by_hand(work, plan), DataLoader(InMemory(arrays, truth), batch, shuffle=True, drop_last=True)
    cells = [work.cases.root / str(work.cases.table["record"].iloc[row]) for row in rows]
    own = work.settings["clock"]["series"][SERIES]
    read = Files(cells, own, work.settings["clock"]["steps"], arrays[1:], truth)
    files = by_hand(work, plan), DataLoader(read, batch, shuffle=True, drop_last=True)

    def timed(run: Callable[[], None]) -> Epoch:
        def epoch() -> float:
            began = time.perf_counter()
            run()
            return time.perf_counter() - began

        return epoch

    return {
        "galenic": timed(ours), "ready": timed(ready), "in memory": lambda: by_loader(memory, steps, steps),
        "files": lambda: by_loader(files, steps, file_steps),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="gru")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--file-steps", type=int, default=5, help="steps of the files' loop that are timed")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    found = sources.find(TASK)
    job = Job(found.task, found.table, found.root, Path(), budget="5m", network=given.network, split=found.split)
    work = open_job(job, Silent(), cache=False)
    rows = work.split.rows("train")
    work.ready.load(rows, Silent(), "preparing")
    plan = make_plan(work, torch.device("cpu"), Silent())
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        every = candidates(work, plan, rows, Path(folder), given.file_steps)
        for turn in range(given.rounds + 1):
            order = list(every)[turn % len(every) :] + list(every)[: turn % len(every)]
            for name in order:
                took = every[name]()
                if turn:  # the first is to warm up
                    seconds.setdefault(name, []).append(took)
    middle = {name: median(own) for name, own in seconds.items()}
    ratios = {name: round(middle[name] / middle["galenic"], 2) for name in middle if name != "galenic"}
    met = {name: ratios[name] >= bar for name, bar in BARS.items() if bar is not None}
    hidden = plan.network.settings["hidden"]
    print(f"{TASK}, {given.network}, hidden {hidden}, {len(rows)} stays, batch {plan.training.batch}: seconds an epoch")
    for name, own in sorted(middle.items(), key=lambda pair: pair[1]):
        bar = f", bar {BARS[name]}: {verdict(met[name])}" if name in met else ""
        print(f"  {name:10} {own:7.2f} s" + (f", {ratios[name]:.2f} x ours{bar}" if name in ratios else ""))
    keep(
        "series_epoch",
        {
            "network": given.network, "hidden": hidden, "stays": len(rows), "batch": plan.training.batch,
            "precision": plan.training.precision, "rounds": given.rounds, "file_steps": given.file_steps,
            "seconds": {name: round(own, 4) for name, own in middle.items()}, "ratios": ratios, "met": met,
        },
        wanted=given.record,
    )  # fmt: skip


if __name__ == "__main__":
    main()
