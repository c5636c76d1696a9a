"""How far two label volumes (.npy, same shape) agree: share of equal voxels, and Dice of each class that either has."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    """Dice 2 |A and B| / (|A| + |B|) for each class but 0, and the share of voxels with the same label."""
    if one.shape != other.shape:
        raise SystemExit(f"shapes differ: {one.shape} and {other.shape}")
    classes = sorted({*np.unique(one).tolist(), *np.unique(other).tolist()} - {0})
    dice = {}
    for value in classes:
        a, b = one == value, other == value
        dice[str(value)] = 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))
    return {"equal": float((one == other).mean()), "dice": dice}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    given = parser.parse_args()
    print(json.dumps(agreement(*(np.load(path, allow_pickle=False) for path in (given.one, given.other)))))


if __name__ == "__main__":
    main()
