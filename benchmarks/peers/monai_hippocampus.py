"""MONAI's DynUNet on MSD Task04 hippocampus for a given time, then Dice on the test cases.

The clock starts once the libraries are imported and covers reading, caching, augmentation and every step.
The result is one JSON line, appended to --out.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, usable_cpus, versions
from monai import transforms as mt
from monai.data import CacheDataset, DataLoader
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet
from monai.utils import set_determinism
from torch import nn

PATCH = (40, 56, 40)
BATCH = 2
RATE = 2e-3
CLASSES = ("anterior", "posterior")
KEYS = ("image", "label")
LAYOUTS = {"plain": torch.preserve_format, "channels_last": torch.channels_last_3d}


@dataclass(frozen=True)
class Trained:
    """A network and what its training took."""

    network: nn.Module
    steps: int
    epochs: float
    seconds: float
    seconds_cache: float


def read_split(folder: Path, split: Path) -> dict[str, list[dict[str, str]]]:
    """The cases to learn from (all that is not test) and the test cases, each {id, image, label}."""
    with split.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"id", "part"} <= set(rows[0]):
        raise SystemExit(f"{split}: needs the columns id and part")
    parts: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for row in rows:
        files = {key: folder / f"{key}sTr" / f"{row['id']}.nii.gz" for key in KEYS}
        absent = [path.name for path in files.values() if not path.is_file()]
        if absent:
            raise SystemExit(f"{split}: case {row['id']!r} has no {', '.join(absent)} under {folder}")
        case = {"id": row["id"], **{key: str(path) for key, path in files.items()}}
        parts["test" if row["part"] == "test" else "train"].append(case)
    if not all(parts.values()):
        raise SystemExit(f"{split}: needs test cases and others")
    return parts


def exact_transforms() -> list[mt.Transform]:
    """What is done once and cached: read, z-score over the volume, label as integers. Voxels are 1 mm already."""
    return [
        mt.LoadImaged(KEYS, image_only=True),
        mt.EnsureChannelFirstd(KEYS),
        mt.NormalizeIntensityd("image"),
        mt.EnsureTyped(KEYS, dtype=(torch.float32, torch.uint8), track_meta=False),
    ]


def random_transforms() -> list[mt.Transform]:
    """Crop, affine, noise, intensity scale; padding first, as many volumes are smaller than the patch."""
    return [
        mt.SpatialPadd(KEYS, spatial_size=PATCH),
        mt.RandSpatialCropd(KEYS, roi_size=PATCH, random_size=False),
        mt.RandAffined(
            KEYS,
            prob=0.5,
            rotate_range=(0.26,) * 3,
            scale_range=(0.15,) * 3,
            mode=("bilinear", "nearest"),
            padding_mode="border",
        ),
        mt.RandGaussianNoised("image", prob=0.3, std=0.1),
        mt.RandScaleIntensityd("image", factors=0.2, prob=0.5),
    ]


def build_network() -> DynUNet:
    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1 + len(CLASSES),
        kernel_size=[3] * 4,
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2, 2, 2],
        filters=[32, 64, 128, 256],
        norm_name="instance",
    )


def train(cases: list[dict[str, str]], *, seconds: float, workers: int, layout: str) -> Trained:
    """Train until `seconds` have passed since this call; the learning rate falls as a cosine of the time."""
    began = time.perf_counter()
    cached = CacheDataset(cases, mt.Compose(exact_transforms() + random_transforms()), progress=False)
    loader = DataLoader(
        cached, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    seconds_cache = time.perf_counter() - began
    network = build_network().to(memory_format=LAYOUTS[layout]).train()
    criterion = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    steps, said = 0, began
    while True:
        for batch in loader:
            now = time.perf_counter()
            if now - began >= seconds:
                return Trained(network, steps, steps * BATCH / len(cases), now - began, seconds_cache)
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * (now - began) / seconds))
            loss = one_step(network, criterion, optimizer, batch, layout)
            steps += 1
            if now - said > 20:
                said = now
                print(f"{now - began:.0f} s, step {steps}, loss {loss:.3f}", file=sys.stderr, flush=True)


def one_step(
    network: nn.Module, criterion: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Any], layout: str
) -> float:
    optimizer.zero_grad(set_to_none=True)
    image = batch["image"].to(memory_format=LAYOUTS[layout])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(image)
    loss = criterion(logits.float(), batch["label"])
    loss.backward()
    optimizer.step()
    return loss.item()


def evaluate(network: nn.Module, cases: list[dict[str, str]]) -> dict[str, list[float]]:
    """Dice of each class for each case, in float32, on the volume's own grid."""
    network.eval()
    prepare = mt.Compose(exact_transforms())
    found = {}
    with torch.inference_mode():
        for case in cases:
            prepared = prepare(case)
            logits = sliding_window_inference(prepared["image"][None], PATCH, 1, network, overlap=0.25)
            labels, truth = logits.argmax(1)[0].numpy(), prepared["label"][0].numpy()
            found[case["id"]] = [dice(labels == c, truth == c) for c in range(1, 1 + len(CLASSES))]
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) (Dice, 1945); 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def summary(per_case: dict[str, list[float]]) -> dict[str, float]:
    table = np.array(list(per_case.values()))  # [case, class]
    figures = {"mean": float(table.mean())}
    for index, name in enumerate(CLASSES):
        column = table[:, index]
        figures |= {name: float(column.mean()), f"{name}_sd": float(column.std()), f"{name}_worst": float(column.min())}
    return {name: round(value, 4) for name, value in figures.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with imagesTr and labelsTr")
    parser.add_argument("--split", type=Path, required=True, help="CSV with id and part; all but test is learnt from")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines file to append to")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="plain")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--test-cases", type=int, help="only the first so many test cases: to try the script")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    set_determinism(given.seed)
    parts = read_split(given.data, given.split)
    trained = train(parts["train"], seconds=given.seconds, workers=given.workers, layout=given.layout)
    test = parts["test"][: given.test_cases]
    began = time.perf_counter()
    per_case = evaluate(trained.network, test)
    record = {
        "peer": "MONAI DynUNet",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": given.seed,
        "seconds": {
            "budget": given.seconds,
            "train": round(trained.seconds, 2),
            "cache": round(trained.seconds_cache, 2),
            "evaluate": round(time.perf_counter() - began, 2),
        },
        "steps": trained.steps,
        "epochs": round(trained.epochs, 2),
        "cases": {"train": len(parts["train"]), "test": len(test)},
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "settings": {"patch": PATCH, "batch": BATCH, "rate": RATE, "layout": given.layout, "workers": given.workers},
        "dice": summary(per_case),
        "per_case": {name: [round(value, 5) for value in values] for name, values in per_case.items()},
        "threads": torch.get_num_threads(),
        "machine": describe(),
        "versions": versions(["monai", "torch", "nibabel", "numpy"]),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps({"seed": given.seed, "steps": trained.steps, "dice": record["dice"]}))


if __name__ == "__main__":
    main()
