"""The classic U-Net of Ronneberger, Fischer and Brox (MICCAI 2015), same-padded: 31,030,593 parameters.

One channel of 256x256 in; 64-128-256-512-1024 features, two 3x3 convolutions with ReLU a level; 2x2 max-pooling; 2x2
transposed convolutions; skip concatenation; 1x1 convolution to one logit, whose sigmoid is the class's probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from galenic.core.contract import Budget, Outputs, Prepared, Runner, Settings
from galenic.core.errors import TaskError
from galenic.core.network import Features, Network
from galenic.core.task import Task
from galenic.images.dense import infer_mask, with_mirror

WIDTHS = (64, 128, 256, 512, 1024)


def double(wide_in: int, wide: int) -> nn.Sequential:
    """Two 3x3 same-padded convolutions, each with ReLU."""
    return nn.Sequential(
        nn.Conv2d(wide_in, wide, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(wide, wide, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class ClassicUNet(nn.Module):
    """[batch, channels, 256, 256] to logits [batch, 1, 256, 256]; any size that 16 divides."""

    def __init__(self, channels: int = 1, outputs: int = 1, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            double(wide_in, wide) for wide_in, wide in zip((channels, *widths[:-1]), widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * wide, wide, 2, 2) for wide in widths[-2::-1])
        self.join = nn.ModuleList(double(2 * wide, wide) for wide in widths[-2::-1])
        self.last = nn.Conv2d(widths[0], outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def lowest(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The lowest level's features [batch, 1024, 16, 16], and what the skips carry."""
        kept: list[Tensor] = []
        for at, stage in enumerate(self.down):
            x = stage(x if at == 0 else self.pool(x))
            kept.append(x)
        return x, kept

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.lowest(x)
        for at, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
            x = join(torch.cat([kept[-2 - at], up(x)], dim=1))
        logits: Tensor = self.last(x)
        return logits


class UNet2015Module(Network):
    """The classic net as galenic's network: one class from one or more channels."""

    def __init__(self, task: Task, frames: Mapping[str, Settings]) -> None:
        super().__init__(task, frames)
        self.net = ClassicUNet(sum(own["channels"] for own in frames["space"]["images"].values()), widths=WIDTHS)

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        return (self.net(torch.cat(images, dim=1) if len(images) > 1 else images[0]),)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """Pooled features of the lowest level; tokens are its positions."""
        lowest, _ = self.net.lowest(torch.cat([embedded[name] for name in self.inputs], dim=1))
        tokens = lowest.flatten(2).transpose(1, 2)  # [batch, positions, 1024]
        return Features(tokens.mean(dim=1), tokens)


class UNet2015:
    """The plug: one class in 2D pictures."""

    name = "unet2015"
    default = False

    def fits(self, task: Task) -> str:
        if [field.kind for field in task.targets] != ["mask"]:
            return "it learns exactly one mask"
        if any(field.kind != "image" for field in task.inputs):
            return "its inputs are images"
        classes = task.targets[0].options.get("classes") or {}
        if len(classes) > 1:
            return f"it tells one class from the rest, and the mask has {len(classes)}"
        return ""

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        space = frames["space"]
        space["patch"] = [256, 256]
        settings = {
            "batch": 4, "learning_rate": 1e-4, "weight_decay": 1e-4, "optimizer": "adamw", "overlap": 0.25,
        }  # fmt: skip
        reasons = {
            "space.patch": "256x256, as in the paper's layout with same padding",
            "network.batch": f"4 pictures a step for {task.name} within {budget.text}",
            "network.learning_rate": "low, as the net has no normalisation that would bear a high one",
            "network.weight_decay": "next to none: the paper has none",
            "network.optimizer": "AdamW instead of the paper's SGD with momentum 0.99, which wants a long run",
            "network.overlap": "a quarter, where pictures are larger than the patch: Gaussian weights hide the seams",
        }
        return settings, reasons

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:  # noqa: ARG002
        if frames["space"]["dims"] != 2:
            raise TaskError("unet2015 on volumes", allowed="2D pictures", todo="use --network unet")
        return UNet2015Module(task, frames)

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:  # noqa: ARG002
        return [(1, own["channels"], *frames["space"]["patch"]) for own in frames["space"]["images"].values()]

    def infer(self, run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
        return infer_mask(run, prepared, frames, settings)

    def mirrored(self, frames: Mapping[str, Settings], settings: Settings) -> Settings:
        return with_mirror(frames, settings)


UNET2015 = UNet2015()
