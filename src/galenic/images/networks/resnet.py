"""ResNet-18, 34 and 50 (He et al., CVPR 2016), in 2D and 3D, with a stem for small pictures.

The names of the layers and the stride on the bottleneck's 3x3 convolution are those of torchvision's ResNet, so that
its weights fit. Volumes get the same blocks with 3x3x3 kernels (Hara et al., CVPR 2018), fewer features, and axes
halved as their spacing allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from galenic.core.contract import Budget, Settings
from galenic.core.errors import PlanError
from galenic.core.network import Network
from galenic.core.task import Task
from galenic.images.vectors import (
    VectorNetwork,
    Whole,
    conv,
    halvings,
    norm_for,
    normed,
    shared_plan,
)

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}
SMALL = {2: 64, 3: 32}  # longest side up to which the stem keeps every pixel


_REASONS = {
    "network.block": "two 3x3 convolutions; a bottleneck from ResNet-50 on",
    "network.blocks": "a stage, as the depth has it",
    "network.strides": "each stage but the first halves the picture; a thick axis of a volume after the others",
    "network.learning_rate": "AdamW's usual rate, with warm-up and cosine, then averaged",
    "network.weight_decay": "0.05, as few cases want more than AdamW's usual 0.01",
}


class _Block(nn.Module):
    """The shortcut, halved and widened by a 1x1 convolution where the branch is; the branch starts as nothing."""

    expansion = 1

    def __init__(self, dims: int, wide_in: int, wide: int, stride: list[int], norm: str) -> None:
        super().__init__()
        out = wide * self.expansion
        self._branch(dims, wide_in, wide, stride, norm)
        self.downsample: nn.Module | None = None
        if wide_in != out or max(stride) > 1:
            self.downsample = nn.Sequential(conv(dims, wide_in, out, 1, stride, bias=False), normed(norm, dims, out))

    def _branch(self, dims: int, wide_in: int, wide: int, stride: list[int], norm: str) -> None:
        """Two 3x3 convolutions."""
        self.conv1, self.bn1 = conv(dims, wide_in, wide, 3, stride, bias=False), normed(norm, dims, wide)
        self.conv2, self.bn2 = conv(dims, wide, wide, 3, bias=False), normed(norm, dims, wide)
        _start_at_nothing(self.bn2)

    def branch(self, x: Tensor) -> Tensor:
        """Before the sum and the last ReLU."""
        out: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return out

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        return (self.branch(x) + short).relu()


class _Bottleneck(_Block):
    expansion = 4

    def _branch(self, dims: int, wide_in: int, wide: int, stride: list[int], norm: str) -> None:
        """1x1, 3x3 and 1x1 convolutions, four times as wide at the end."""
        self.conv1, self.bn1 = conv(dims, wide_in, wide, 1, bias=False), normed(norm, dims, wide)
        self.conv2, self.bn2 = conv(dims, wide, wide, 3, stride, bias=False), normed(norm, dims, wide)
        self.conv3, self.bn3 = conv(dims, wide, 4 * wide, 1, bias=False), normed(norm, dims, 4 * wide)
        _start_at_nothing(self.bn3)

    def branch(self, x: Tensor) -> Tensor:
        """Before the sum and the last ReLU."""
        out: Tensor = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        return self.bn3(self.conv3(out))  # type: ignore[no-any-return]


def _start_at_nothing(norm: Any) -> None:
    """Each block starts as its shortcut, which steadies the first steps (Goyal et al., arXiv:1706.02677, 2017)."""
    nn.init.zeros_(norm.weight)


class Trunk(nn.Module):
    """[batch, channels, *space] to the feature map [batch, width, *places]."""

    def __init__(self, dims: int, channels: int, settings: Settings) -> None:
        super().__init__()
        stem, widths, norm = settings["stem"], settings["widths"], settings["norm"]
        block: type[_Block] = _Bottleneck if settings["block"] == "bottleneck" else _Block
        pool: Any = nn.MaxPool2d if dims == 2 else nn.MaxPool3d
        self.conv1 = conv(dims, channels, widths[0], stem["kernel"], stem["stride"], bias=False)
        self.bn1 = normed(norm, dims, widths[0])
        self.maxpool = pool(3, 2, 1) if stem["pool"] else nn.Identity()
        wide = widths[0]
        for at, (own, count, stride) in enumerate(zip(widths, settings["blocks"], settings["strides"], strict=True)):
            made = []
            for number in range(count):
                made.append(block(dims, wide, own, [1] * dims if number else stride, norm))
                wide = own * block.expansion
            self.add_module(f"layer{at + 1}", nn.Sequential(*made))
        self.width, self.stages = wide, len(widths)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for at in range(self.stages):
            x = getattr(self, f"layer{at + 1}")(x)
        return x


class ResNetModule(VectorNetwork):
    """The trunk as galenic's network."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        space = frames["space"]
        channels = sum(space["images"][name]["channels"] for name in settings["pictures"])
        trunk = Trunk(space["dims"], channels, settings)
        super().__init__(task, frames, settings, trunk.width)
        self.trunk = trunk

    def adopt(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a torchvision ResNet under the names here; the first kernels fitted to the pictures' channels.

        The sum over the channels is kept, so that a grey picture excites them as the same picture in colour did.
        """
        named = {f"trunk.{name}": tensor for name, tensor in given.items() if not name.startswith("fc.")}
        first, own = named.get("trunk.conv1.weight"), self.trunk.get_parameter("conv1.weight")
        if first is not None and first.dim() == own.dim() and first.shape[1] != own.shape[1]:
            mean = first.float().sum(dim=1, keepdim=True) / own.shape[1]
            named["trunk.conv1.weight"] = mean.expand(-1, own.shape[1], *mean.shape[2:]).contiguous()
        return named


class ResNet(Whole):
    """The plug: whole pictures, with or without rows beside them, to what one vector can answer."""

    name = "resnet"
    default = True

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        settings, reasons = shared_plan(task, frames, budget)
        space = frames["space"]
        dims, fit, cases = space["dims"], space["fit"], space["cases"]
        hours = (budget.seconds if budget.seconds is not None else 1800.0) / 3600
        depth = 50 if cases >= 20_000 and hours >= 8 else 34 if cases >= 5_000 and hours >= 2 else 18
        stem, strides = _stem(space)
        few = max(fit) <= SMALL[dims]
        base = 32 if dims == 3 or (few and hours < 1) else 64
        norm, why = norm_for(settings["batch"])
        settings |= {
            "depth": depth, "blocks": BLOCKS[depth], "block": "bottleneck" if depth == 50 else "basic",
            "widths": [base * 2**at for at in range(4)], "stem": stem, "strides": strides, "norm": norm,
            "learning_rate": 1e-3, "weight_decay": 0.05,
        }  # fmt: skip
        return settings, reasons | _REASONS | {
            "network.depth": f"ResNet-{depth} for {cases} cases: 34 from 5,000 and 2 h on, 50 from 20,000 and 8 h",
            "network.stem": (
                f"a 3x3 convolution that keeps every pixel of a small picture {fit}" if few
                else f"a {stem['kernel']}x{stem['kernel']} convolution that halves the picture {fit}"
                + (", then max-pooling" if stem["pool"] else "")
            ),
            "network.norm": why,
            "network.widths": f"{base} features first, doubled a stage" + _narrow(base, dims),
        }  # fmt: skip

    def like(self, given: Mapping[str, Tensor], planned: Settings) -> Settings:
        """The planned settings with depth, widths, stem and norm of a torchvision ResNet's weights.

        PlanError where the weights are no ResNet's, or of pictures where the plan is for volumes.
        """
        first = given.get("conv1.weight")
        named = {tuple(name.split(".")[:2]) for name in given}
        blocks = [sum(layer == f"layer{at}" for layer, *_ in named) for at in (1, 2, 3, 4)]
        dims = len(planned["stem"]["stride"])
        if first is None or first.dim() != dims + 2 or 0 in blocks:
            raise PlanError(
                "the file's weights are no ResNet's" + (f" in {dims}D" if first is not None else ""),
                allowed="names and shapes of torchvision's ResNet",
            )
        bottleneck = "layer1.0.conv3.weight" in given
        wide = first.shape[-1] > 3
        return planned | {
            "depth": sum(blocks) * (3 if bottleneck else 2) + 2, "blocks": blocks,
            "block": "bottleneck" if bottleneck else "basic",
            "widths": [given[f"layer{at}.0.conv1.weight"].shape[0] for at in (1, 2, 3, 4)],
            "stem": {"kernel": first.shape[-1], "stride": [2 if wide else 1] * dims, "pool": wide},
            "norm": "batch" if "bn1.running_mean" in given else "group",
        }  # fmt: skip

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return ResNetModule(task, frames, settings)


def _narrow(base: int, dims: int) -> str:
    """Why there are fewer features than the paper has."""
    if base == 64:
        return ""
    return ": half the paper's" + (
        "" if dims == 3 else ", as every pixel of a small picture is kept, for under an hour"
    )


def _stem(space: Settings) -> tuple[Settings, list[list[int]]]:
    """The stem, and the strides of the four stages; in 2D those of the paper but for small pictures' stem."""
    dims, fit = space["dims"], space["fit"]
    small = max(fit) <= SMALL[dims]
    if dims == 2:
        stem = {"kernel": 3 if small else 7, "stride": [1, 1] if small else [2, 2], "pool": not small}
        return stem, [[1, 1], [2, 2], [2, 2], [2, 2]]
    halved = halvings(fit, space["spacing_mm"], 3 if small else 4, 2)
    stem = {"kernel": 3, "stride": [1, 1, 1] if small else halved[0], "pool": False}
    return stem, [[1, 1, 1], *halved[-3:]]


RESNET = ResNet()
