"""The classic 2-D U-Net as torch users write it: float32, eager, NCHW. Speaks `forward` and `train`.

Ronneberger, Fischer, Brox, "U-Net" (2015), with same-padded convolutions and one sigmoid output.
"""

from __future__ import annotations

import argparse

import torch
from machine import usable_cpus, versions
from speak import serve
from torch import Tensor, nn

PARAMETERS = 31_030_593
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """[n, 1, h, w] to probabilities [n, 1, h, w]; h and w multiples of 16."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.merge = nn.ModuleList(double_conv(a, b) for a, b in pairs)
        self.pool = nn.MaxPool2d(2)
        self.out = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return torch.sigmoid(self.out(x))


class Bench:
    """One network, one batch, and the two things that are timed."""

    def __init__(self, *, batch: int, size: int, layout: str, bf16: bool) -> None:
        torch.manual_seed(0)
        self.bf16 = bf16
        self.network = UNet().to(memory_format=LAYOUTS[layout])
        count = sum(p.numel() for p in self.network.parameters())
        if count != PARAMETERS:
            raise SystemExit(f"the network has {count:,} parameters; the classic U-Net has {PARAMETERS:,}")
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3)
        self.loss = nn.BCELoss()
        self.image = torch.rand(batch, 1, size, size).to(memory_format=LAYOUTS[layout])
        self.mask = (torch.rand(batch, 1, size, size) > 0.5).float().to(memory_format=LAYOUTS[layout])

    def forward(self) -> dict[str, float]:
        self.network.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            return {"mean_output": float(self.network(self.image).float().mean())}

    def train(self) -> dict[str, float]:
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            output = self.network(self.image)
        loss = self.loss(output.float(), self.mask)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="nchw")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, as a careful user would")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bench = Bench(batch=given.batch, size=given.size, layout=given.layout, bf16=given.bf16)
    name = f"torch {'bf16' if given.bf16 else 'fp32'} {given.layout}"
    commands = {"forward": bench.forward, "train": bench.train}
    serve(name, commands, versions=versions(["torch"]), threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
