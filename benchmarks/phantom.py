"""A synthetic CT data set: bodies of about 30 % of a 128 x 256 x 256 volume, with organs that have a class each.

    python benchmarks/phantom.py FOLDER --cases 12

writes FOLDER/images, FOLDER/masks, cases.csv and task.toml, so that `galenic train FOLDER/task.toml` learns it. Every
case follows from its number. It serves to compare speed and agreement of two ways to run one network, nothing else.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from galenic.formats import nifti
from galenic.values import Geometry, Image, Mask

SHAPE = (128, 256, 256)  # slice, row, column
SPACING_MM = 1.5
BODY_SHARE = 0.30
AIR_HU, TISSUE_HU, FAT_HU = -1000.0, 40.0, -100.0
NOISE_HU = 20.0
MOTTLE = 3.0  # voxels
RIND = 0.88  # squared radius from which on the body is fat
# Ellipsoids as (centre, half size), each in units of the body's half axes (slice, row, column).
Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float]]
Wave = tuple[float, int, int]  # +-HU along an axis, with a period in voxels
# What is dark is no organ: the lungs and an airway.
DARK: tuple[tuple[float, Ellipsoid], ...] = (
    (-800.0, ((0.5, -0.1, -0.5), (0.45, 0.6, 0.27))),
    (-800.0, ((0.5, -0.1, 0.5), (0.45, 0.6, 0.27))),
    (-950.0, ((0.0, -0.1, 0.0), (3.0, 0.12, 0.08))),
)
KIDNEY: Ellipsoid = ((-0.6, 0.45, -0.4), (0.3, 0.25, 0.17))
FLAT: Wave = (0.0, 0, 1)
# Class: name, HU, where, and its texture, for a network that normalises by window knows no absolute HU.
ORGANS: dict[int, tuple[str, float, tuple[Ellipsoid, ...], Wave]] = {
    1: ("liver", 400.0, (((-0.45, -0.25, -0.42), (0.34, 0.5, 0.36)),), (150.0, 2, 8)),
    2: ("kidneys", 600.0, (KIDNEY, ((*KIDNEY[0][:2], 0.4), KIDNEY[1])), FLAT),
    3: ("spine", 900.0, (((0.0, 0.6, 0.0), (3.0, 0.22, 0.15)),), (250.0, 0, 12)),
}


def draw(number: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """HU and class of each voxel of a case, both of SHAPE."""
    rng = np.random.default_rng([2015, number])
    slices, rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in SHAPE)
    profile = 1 - rng.uniform(0.05, 0.15) * (slices - rng.uniform(-0.3, 0.3)) ** 2
    ratio = rng.uniform(1.3, 1.4)  # breadth over depth
    deep = np.sqrt(BODY_SHARE * 4 / (np.pi * ratio * float((profile**2).mean())))
    middle = rng.uniform(-0.06, 0.06, 2)
    scale = profile[:, None, None]
    y = (rows[None, :, None] - np.float32(middle[0])) / np.float32(deep) / scale
    x = (columns[None, None, :] - np.float32(middle[1])) / np.float32(deep * ratio) / scale
    radius = y**2 + x**2
    mottled = ndimage.gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), MOTTLE) > 0.3 * _spread(MOTTLE)
    hu = np.where(radius <= 1, np.where(mottled | (radius > RIND), np.float32(FAT_HU), np.float32(TISSUE_HU)), AIR_HU)
    hu = hu.astype(np.float32)
    label = np.zeros(SHAPE, np.uint8)
    free = radius <= RIND
    parts = [(0, own_hu, part, FLAT) for own_hu, part in DARK]
    parts += [(value, own_hu, part, wave) for value, (_, own_hu, own, wave) in ORGANS.items() for part in own]
    for value, own_hu, (centre, half), (swing, axis, period) in parts:
        at = np.float32(np.array(centre) + rng.uniform(-0.05, 0.05, 3))
        size = np.float32(np.array(half) * rng.uniform(0.85, 1.15, 3))
        z = slices[:, None, None]
        inside = ((z - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2 + ((x - at[2]) / size[2]) ** 2 <= 1
        inside &= free
        wave = np.sign(np.sin(2 * np.pi * (np.arange(SHAPE[axis]) + 0.5) / period + rng.uniform(0, 2 * np.pi)))
        label[inside] = value
        hu[inside] = (own_hu + swing * wave).astype(np.float32)[np.nonzero(inside)[axis]]
        free &= ~inside
    noise = rng.standard_normal(SHAPE, dtype=np.float32) * np.float32(NOISE_HU)
    noise[radius > 1] *= np.float32(0.25)
    return np.rint(hu + noise).clip(-1024, 3071).astype(np.int16), label


def _spread(sigma: float) -> float:
    """Standard deviation of white noise of deviation 1 after a 3-D Gaussian filter."""
    return float((2 * np.sqrt(np.pi) * sigma) ** -1.5)


def part_of(number: int, cases: int) -> str:
    """The last is the test, the one before it the validation."""
    return {cases - 1: "test", cases - 2: "valid"}.get(number, "train")


def write(folder: Path, cases: int) -> Path:
    """Write the set; the path of its task file."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    geometry = Geometry.plain(3, SPACING_MM)
    names = {value: organ[0] for value, organ in ORGANS.items()}
    rows = [("id", "patient", "image", "mask", "split")]
    for number in range(cases):
        hu, label = draw(number)
        own = f"phantom-{number:02d}"
        nifti.write_image(Image(hu[None], geometry, "CT", "HU"), folder / "images" / f"{own}.nii")
        nifti.write_mask(Mask(label, geometry, names), folder / "masks" / f"{own}.nii.gz")
        rows.append((own, own, f"images/{own}.nii", f"masks/{own}.nii.gz", part_of(number, cases)))
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    task = folder / "task.toml"
    classes = ", ".join(f'{value} = "{name}"' for value, name in names.items())
    task.write_text(
        'name = "phantom"\ntable = "cases.csv"\n'
        '[[inputs]]\nname = "image"\nkind = "image"\ncolumns = ["image"]\noptions = { modality = "CT" }\n'
        '[[targets]]\nname = "mask"\nkind = "mask"\ncolumns = ["mask"]\n'
        f"options = {{ classes = {{ {classes} }} }}\n",
        encoding="utf-8",
    )
    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    given = parser.parse_args()
    if given.cases < 4:
        raise SystemExit("at least 4 cases: one test, one validation, the rest training")
    print(write(given.folder, given.cases))


if __name__ == "__main__":
    main()
