"""U-Net, planned from the data: plain or residual-encoder, 2D and 3D.

Ronneberger, Fischer, Brox, MICCAI 2015; Çiçek et al., MICCAI 2016 (3D); the way depth, kernels and strides follow
from patch and spacing, deep supervision and instance norm: Isensee et al., Nature Methods 18:203, 2021 (nnU-Net). The
residual encoder's blocks: nnU-Net's ResEnc presets, Isensee et al., nnU-Net Revisited, MICCAI 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Outputs, Prepared, Runner, Settings
from galenic.core.network import Features, Loss, Network
from galenic.core.task import Task
from galenic.images.dense import infer_mask, infer_mean, tile_of, with_mirror
from galenic.images.tile import fit_tile

LONG = 7200.0  # seconds of a budget from which on a residual encoder is planned
RESIDUAL_STAGES = 4  # at least, for a residual encoder that nobody asked for
RESENC_BLOCKS = (1, 3, 4, 6, 6, 6, 6)  # a stage

_REASONS = {
    "network.kernels": "3 an axis; 1 along one more than twice as thick as the finest, until the others have caught up",
    "network.supervised": "so many resolutions have a loss, half the weight a halving: the lower ones learn early",
    "network.loss": "Dice + cross-entropy at each of them, as nnU-Net",
    "network.batch": "small batches take more steps in the same time; instance norm does not mind",
    "network.learning_rate": "AdamW with warm-up and cosine; high, as short budgets want, then averaged",
    "network.weight_decay": "AdamW's usual 0.01 (Loshchilov and Hutter, ICLR 2019)",
    "network.optimizer": "AdamW: it needs no long run, as nnU-Net's SGD with momentum 0.99 does",
    "network.overlap": "half of nnU-Net's: fewer voxels are computed, and Gaussian weights hide the seams",
}


def stages(patch: list[int], spacing: list[float] | None, smallest: int = 4) -> tuple[list[list[int]], list[list[int]]]:
    """Strides and kernels of each stage: an axis is halved while it stays >= `smallest` and isn't far thicker than
    the finest one; an axis more than twice as thick keeps kernel 1 until the others have caught up."""
    size, step = list(patch), list(spacing or [1.0] * len(patch))
    strides, kernels = [[1] * len(patch)], []
    while True:
        finest = min(step)
        kernels.append([1 if own > 2 * finest else 3 for own in step])
        halve = [s // 2 >= smallest and s % 2 == 0 and own <= 2 * finest for s, own in zip(size, step, strict=True)]
        if not any(halve) or len(strides) == 6:
            return strides, kernels
        stride = [2 if h else 1 for h in halve]
        strides.append(stride)
        size = [s // k for s, k in zip(size, stride, strict=True)]
        step = [own * k for own, k in zip(step, stride, strict=True)]


def parts(dims: int) -> tuple[Any, Any, Any, Any]:
    """Convolution, transposed convolution, instance norm and average pool of 2 or 3 dimensions."""
    if dims == 2:
        return nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d, nn.AvgPool2d
    return nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d, nn.AvgPool3d


class _ConvNorm(nn.Sequential):
    def __init__(self, dims: int, wide_in: int, wide: int, kernel: list[int], stride: list[int]) -> None:
        conv, _, norm, _ = parts(dims)
        super().__init__(
            conv(wide_in, wide, tuple(kernel), tuple(stride), tuple(k // 2 for k in kernel), bias=False),
            norm(wide, affine=True, eps=1e-5),
            nn.LeakyReLU(0.01, inplace=True),
        )


class _Residual(nn.Module):
    """Two convolutions with a shortcut (He et al., CVPR 2016); the shortcut pools and projects where it must."""

    def __init__(self, dims: int, wide_in: int, wide: int, kernel: list[int], stride: list[int]) -> None:
        super().__init__()
        conv, _, norm, pool = parts(dims)
        pad = tuple(k // 2 for k in kernel)
        self.first = _ConvNorm(dims, wide_in, wide, kernel, stride)
        last = norm(wide, affine=True)
        nn.init.zeros_(last.weight)  # the block begins as its shortcut: a deep encoder then learns at once
        self.second = nn.Sequential(conv(wide, wide, tuple(kernel), 1, pad, bias=False), last)
        short: list[nn.Module] = []
        if max(stride) > 1:
            short.append(pool(tuple(stride), tuple(stride)))
        if wide_in != wide:
            short += [conv(wide_in, wide, 1, bias=False), norm(wide, affine=True)]
        self.short = nn.Sequential(*short)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.second(self.first(x)) + self.short(x), 0.01)


def _stage(wide_in: int, wide: int, kernel: list[int], stride: list[int], blocks: int, *, first: bool) -> nn.Sequential:
    """A stage of the encoder: two convolutions, or so many residual blocks, which a convolution leads at full size."""
    dims, still = len(kernel), [1] * len(kernel)
    if not blocks:
        return nn.Sequential(_ConvNorm(dims, wide_in, wide, kernel, stride), _ConvNorm(dims, wide, wide, kernel, still))
    if first:
        stage: list[nn.Module] = [_ConvNorm(dims, wide_in, wide, kernel, stride)]
    else:
        stage, blocks = [_Residual(dims, wide_in, wide, kernel, stride)], blocks - 1
    return nn.Sequential(*stage, *(_Residual(dims, wide, wide, kernel, still) for _ in range(blocks)))


class UNetModule(Network):
    """[batch, channels, *patch] to logits [batch, classes, *patch] of the one mask target."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames)
        space = frames["space"]
        dims = space["dims"]
        widths, strides, kernels = settings["widths"], settings["strides"], settings["kernels"]
        channels = sum(own["channels"] for own in space["images"].values())
        classes = 1 + len(space["masks"][self.outputs[0]]["classes"])
        self.supervised = settings["supervised"]  # how many resolutions have a head
        self.down = nn.ModuleList()
        wide = channels
        blocks = settings["blocks"] if settings["residual"] else [0] * len(widths)
        for own, stride, kernel, count in zip(widths, strides, kernels, blocks, strict=True):
            self.down.append(_stage(wide, own, kernel, stride, count, first=not self.down))
            wide = own
        conv, up, _, _ = parts(dims)
        self.up, self.join, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for at in range(len(widths) - 2, -1, -1):
            stride = tuple(strides[at + 1])
            self.up.append(up(widths[at + 1], widths[at], stride, stride, bias=False))
            join = [_ConvNorm(dims, 2 * widths[at], widths[at], kernels[at], [1] * dims)]
            if not settings["residual"]:  # nnU-Net's ResEnc has a light decoder
                join.append(_ConvNorm(dims, widths[at], widths[at], kernels[at], [1] * dims))
            self.join.append(nn.Sequential(*join))
            if at < self.supervised:
                self.heads.append(conv(widths[at], classes, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, a=0.01)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """Pooled features of the lowest stage; tokens are its positions."""
        x = self._join_inputs([embedded[name] for name in self.inputs])
        for stage in self.down:
            x = stage(x)
        tokens = x.flatten(2).transpose(1, 2)  # [batch, positions, width]
        return Features(tokens.mean(dim=1), tokens)

    @staticmethod
    def _join_inputs(images: list[Tensor]) -> Tensor:
        return images[0] if len(images) == 1 else torch.cat(images, dim=1)

    def resolutions(self, *images: Tensor) -> list[Tensor]:
        """Logits at each supervised resolution, finest first."""
        x = self._join_inputs(list(images))
        kept = []
        for stage in self.down:
            x = stage(x)
            kept.append(x)
        found: list[Tensor] = []
        first = len(self.up) - len(self.heads)
        for at, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
            x = join(torch.cat([up(x), kept[-2 - at]], dim=1))
            if at >= first and (self.training or at == len(self.up) - 1):
                found.append(self.heads[at - first](x))
        return found[::-1]

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        return (self.resolutions(*images)[0],)

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:  # noqa: ARG002
        """Dice + cross-entropy at each supervised resolution, halved weight a halving of resolution."""
        field = self.task.targets[0]
        kind = registry.target(field)
        truth = batch.values[field.name]
        outputs = self.resolutions(*(batch.values[name] for name in self.inputs))
        weights = [0.5**at for at in range(len(outputs))]
        total: Tensor | None = None
        for weight, output in zip(weights, outputs, strict=True):
            label = truth
            if output.shape[2:] != truth.shape[1:]:
                label = functional.interpolate(truth[:, None].float(), output.shape[2:], mode="nearest-exact")[:, 0]
                label = label.to(truth.dtype)
            loss = kind.loss(output.float(), label, field, self.frames["space"]) * (weight / sum(weights))
            total = loss if total is None else total + loss
        assert total is not None
        return {field.name: Loss(total * self.known(batch, field.name))}


class UNet:
    """The plug: one mask target from images on one grid.

    residual: the encoder is residual whatever the budget; else budget and patch decide.
    """

    def __init__(self, name: str, *, residual: bool = False) -> None:
        self.name, self._asked = name, residual
        self.default = not residual

    def fits(self, task: Task) -> str:
        if [field.kind for field in task.targets] != ["mask"]:
            return "it learns exactly one mask"
        if any(field.kind != "image" for field in task.inputs):
            return "its inputs are images"
        return ""

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:  # noqa: ARG002
        space = frames["space"]
        dims, patch = space["dims"], space["patch"]
        strides, kernels = stages(patch, space["spacing_mm"])
        seconds = budget.seconds if budget.seconds is not None else 1800.0
        base, most = (16 if seconds < 1200 else 24 if dims == 3 and seconds < 7200 else 32), (320 if dims == 3 else 512)
        if dims == 3:
            strides, kernels = strides[: (4 if seconds < 7200 else 6)], kernels[: (4 if seconds < 7200 else 6)]
        pixels = 102_400 if seconds < 1200 else 262_144  # of a step in 2D
        widths = [min(most, base * 2**at) for at in range(len(strides))]
        residual, why = self._encoder(len(widths), patch, budget)
        preset = residual and seconds >= LONG
        settings: dict[str, Any] = {
            "widths": widths, "strides": strides, "kernels": kernels, "residual": residual,
            "blocks": list(RESENC_BLOCKS[: len(widths)]) if preset else [1, *[2] * (len(widths) - 1)],
            "supervised": max(1, min(3, len(widths) - 2)),
            "batch": 2 if dims == 3 else max(2, min(16, pixels // math.prod(patch))),
            "learning_rate": 5e-3 if dims == 3 else 3e-3, "weight_decay": 1e-2, "optimizer": "adamw",
            "overlap": 0.25,
        }  # fmt: skip
        reasons = _REASONS | {
            "network.strides": f"{len(widths)} stages: patch {patch} halved while an axis stays at 4 or more",
            "network.widths": f"{base} features first, doubled to {most} at most: in {budget.text} many small steps "
            "beat few large ones",
            "network.residual": why,
            "network.blocks": "as nnU-Net's ResEnc presets" if preset else "two a stage, one in the first"
            if residual else "a residual encoder alone has them; a plain one has two convolutions a stage",
        }  # fmt: skip
        if dims == 3 and "median" in space:
            halved = np.prod(strides, axis=0).tolist()
            settings["tile"] = fit_tile(space["median"], patch, settings["overlap"], steps=halved)
            reasons["network.tile"] = "for inference: the patch, or up to half larger where that computes fewer voxels"
        return settings, reasons

    def _encoder(self, depth: int, patch: list[int], budget: Budget) -> tuple[bool, str]:
        """Whether the encoder is residual, and why."""
        if self._asked:
            return True, f"a residual encoder, as {self.name} is asked for"
        if budget.seconds is None or budget.seconds < LONG:
            return False, f"a plain encoder: its steps are cheap, and {budget.text} is not two hours or more"
        if depth < RESIDUAL_STAGES:
            return False, f"a plain encoder: patch {patch} gives {depth} stages, and a deep one wants {RESIDUAL_STAGES}"
        return True, f"a residual encoder: {budget.text} bears its depth, and patch {patch} gives {depth} stages"

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return UNetModule(task, frames, settings)

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:
        space = frames["space"]
        return [(1, own["channels"], *tile_of(space, settings)) for own in space["images"].values()]

    def infer(self, run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
        return infer_mask(run, prepared, frames, settings)

    def infer_mean(
        self, runs: Sequence[Runner], prepared: Prepared, frames: Mapping[str, Settings], settings: Settings
    ) -> Outputs:
        return infer_mean(runs, prepared, frames, settings)

    def mirrored(self, frames: Mapping[str, Settings], settings: Settings) -> Settings:
        return with_mirror(frames, settings)


UNET = UNet("unet")
