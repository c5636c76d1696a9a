"""Chance in one place: what of a series is hidden, moved, stretched, blurred; drawn a case, applied to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from galenic.core.contract import Settings


@dataclass(frozen=True)
class Draw:
    """All chance of one sample, as plain data.

    hide: share of a history's measured values that are taken away. tremble: noise on the others. shift: of a waveform
    in time, as a share of its length. stretch: factor on its height. noise: on its samples. seed: of which values are
    hidden, and of the noise. Noise is in units of the spread.
    """

    hide: float = 0.0
    tremble: float = 0.0
    shift: float = 0.0
    stretch: float = 1.0
    noise: float = 0.0
    seed: int = 0


def draw_one(rng: np.random.Generator, settings: Settings) -> Draw:
    """As the plan's `vary` says, each between nothing and that much."""
    ways = settings["vary"]
    return Draw(
        hide=float(rng.uniform(0, ways["hide"])), tremble=float(ways["tremble"]),
        shift=float(rng.uniform(-1, 1) * ways["shift"]), stretch=float(1 + rng.uniform(-1, 1) * ways["stretch"]),
        noise=float(rng.uniform(0, ways["noise"])), seed=int(rng.integers(2**31)),
    )  # fmt: skip


def vary(stacked: Mapping[str, Tensor], draws: Sequence[Draw], settings: Settings) -> dict[str, Tensor]:
    """Prepared series of cases [case, time, column], each varied by its own draw; the tensors given are left alone."""
    done = {}
    for at, (name, own) in enumerate(settings["series"].items()):
        if name in stacked:
            way = _vary_waveform if own["waveform"] else _vary_history
            done[name] = way(stacked[name], draws, at, int(own.get("padded", False)))
    return done


def _generators(draws: Sequence[Draw], field: int) -> list[torch.Generator]:
    """One a case and field, so that fields of a case do not share their noise."""
    return [torch.Generator().manual_seed(draw.seed + 7919 * field) for draw in draws]


def _vary_history(given: Tensor, draws: Sequence[Draw], field: int, padded: int) -> Tensor:  # noqa: ARG001
    """[case, step, 3 * variable]: hidden values are as if they had never been measured."""
    hide = torch.tensor([draw.hide for draw in draws])[:, None, None]
    tremble = torch.tensor([draw.tremble for draw in draws])[:, None, None]
    if not hide.any() and not tremble.any():
        return given
    value, measured, since = given.chunk(3, dim=2)
    makers = _generators(draws, field)
    if tremble.any():
        value = value + tremble * torch.stack([torch.randn(value.shape[1:], generator=maker) for maker in makers])
    chance = torch.stack([torch.rand(value.shape[1:], generator=maker) for maker in makers])
    kept = (measured > 0) & (chance >= hide)
    steps = value.shape[1]
    at = torch.arange(steps)[None, :, None].expand_as(kept)
    last = torch.where(kept, at, torch.full_like(at, -1)).cummax(dim=1).values  # the step last measured, -1 before any
    carried = value.gather(1, last.clamp_min(0)) * (last >= 0)
    age = (at - last.clamp_min(0)) / steps
    return torch.cat([carried, kept.to(value.dtype), age.to(since.dtype)], dim=2)


def _vary_waveform(given: Tensor, draws: Sequence[Draw], field: int, padded: int) -> Tensor:
    """[case, sample, channel (and the column of real samples)]: moved, stretched, with noise on real samples."""
    size = given.shape[1]
    moves = torch.tensor([round(draw.shift * size) for draw in draws])
    if moves.any():
        at = torch.arange(size)[None, :] - moves[:, None]  # (case, sample)
        inside = ((at >= 0) & (at < size))[:, :, None]
        given = given.gather(1, at.clamp(0, size - 1)[:, :, None].expand_as(given))
        given = given if not padded else given * inside
    channels = given.shape[2] - padded
    signal, real = given[:, :, :channels], given[:, :, channels:]
    stretch = torch.tensor([draw.stretch for draw in draws])[:, None, None]
    noise = torch.tensor([draw.noise for draw in draws])[:, None, None]
    signal = signal * stretch
    if noise.any():
        made = [torch.randn(signal.shape[1:], generator=maker) for maker in _generators(draws, field)]
        signal = signal + noise * torch.stack(made)
    return torch.cat([signal * real, real], dim=2) if padded else signal
