"""A short probe of the planned network on this device: precision, memory layout, and how long a step takes."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from galenic.core.contract import Batch
from galenic.core.errors import InputError
from galenic.core.network import Network
from galenic.core.train import as_layout, batch_as_layout


@dataclass(frozen=True)
class Probe:
    """What was chosen, and the seconds of a step of every candidate."""

    precision: str
    layout: str
    seconds_per_step: float
    tried: dict[str, float]


def pick_device(wanted: str) -> torch.device:
    """The device asked for; `auto` takes CUDA where there is one. InputError for one that is not here.

    Of several processes on one machine, as torchrun starts them, each takes the GPU of its own number.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = wanted if wanted != "auto" else "cuda" if found else "cpu"
    allowed = ["auto", "cpu", *(["cuda"] if found else []), *(f"cuda:{number}" for number in range(found))]
    if name not in allowed:
        raise InputError(f"the device {wanted!r}, which is not here", allowed=", ".join(allowed))
    own = os.environ.get("LOCAL_RANK")
    if name == "cpu" or own is None:
        return torch.device(name)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", int(own) + 1))
    if beside > (found if name == "cuda" else 1):
        raise InputError(
            f"{beside} processes of this machine with the device {wanted!r}, and {found} GPUs",
            allowed="a GPU for each process",
            todo=f"torchrun --nproc-per-node {found} with --device cuda, or --device cpu",
        )
    return torch.device("cuda", int(own)) if name == "cuda" else torch.device(name)


def has_bf16(device: torch.device) -> bool:
    """True where bf16 is a gain: CUDA that supports it, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    check: Callable[[], bool] | None = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check is not None and check())


def probe(
    build: Callable[[], Network],
    batches: Callable[[int], Batch],
    device: torch.device,
    *,
    exact: bool = False,
    most: float = 60.0,
) -> Probe:
    """Time a training step in each precision and layout that may pay here; the loader is part of the step.

    A candidate that is clearly slower than the best so far in its second step is dropped; candidates not begun within
    `most` seconds are left out.
    """
    began = time.monotonic()
    precisions = ["bf16", "f32"] if has_bf16(device) and not exact else ["f32"]
    pictures = any(tensor.is_floating_point() and tensor.dim() >= 4 for tensor in batches(0).values.values())
    layouts = ["default", "channels_last"] if pictures else ["default"]
    tried: dict[str, float] = {}
    best = ("f32", "default", float("inf"))
    for precision, layout in itertools.product(precisions, layouts):
        if tried and time.monotonic() - began > most:
            break
        seconds = _seconds(build, batches, device, precision, layout, best[2])
        tried[f"{precision} {layout}"] = round(seconds, 4)
        if seconds < best[2]:
            best = (precision, layout, seconds)
    return Probe(best[0], best[1], best[2], tried)


def _seconds(
    build: Callable[[], Network], batches: Callable[[int], Batch], device: torch.device, precision: str,
    layout: str, best: float,
) -> float:  # fmt: skip
    network = as_layout(build().to(device), layout)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    times: list[float] = []
    for step in range(5):
        began = time.perf_counter()
        batch = batch_as_layout(batches(step).to(device), layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            losses = network.losses(batch, 0.0)
        total = torch.stack([loss.value.mean() for loss in losses.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
        if step >= 1 and times[-1] > 1.25 * best:
            break
    return statistics.median(times[1:])
