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

from galenic.formats import nifti
from galenic.values import Geometry, Image, Mask

SHAPE = (128, 256, 256)  # slice, row, column
SPACING_MM = 1.5
BODY_SHARE = 0.30
AIR_HU, TISSUE_HU, FAT_HU = -1000.0, 40.0, -100.0
NOISE_HU = 20.0
# Class: name, HU, centre and half size of each ellipsoid in units of the body's half axes (slice, row, column).
ORGANS: dict[int, tuple[str, float, tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]]] = {
    1: ("lungs", -800.0, (((0.45, -0.1, -0.48), (0.5, 0.62, 0.3)), ((0.45, -0.1, 0.48), (0.5, 0.62, 0.3)))),
    2: ("liver", 300.0, (((-0.4, -0.2, -0.42), (0.32, 0.5, 0.38)),)),
    3: ("spine", 1000.0, (((0.0, 0.62, 0.0), (3.0, 0.22, 0.14)),)),
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
    hu = np.where(radius <= 1, np.where(radius > 0.88, np.float32(FAT_HU), np.float32(TISSUE_HU)), np.float32(AIR_HU))
    label = np.zeros(SHAPE, np.uint8)
    z = slices[:, None, None]
    for value, (_, own_hu, parts) in ORGANS.items():
        for centre, half in parts:
            at = np.float32(np.array(centre) + rng.uniform(-0.05, 0.05, 3))
            size = np.float32(np.array(half) * rng.uniform(0.85, 1.15, 3))
            inside = ((z - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2 + ((x - at[2]) / size[2]) ** 2 <= 1
            inside &= (radius <= 0.88) & (label == 0)
            label[inside], hu[inside] = value, own_hu
    noise = rng.standard_normal(SHAPE, dtype=np.float32) * np.float32(NOISE_HU)
    noise[radius > 1] *= np.float32(0.25)
    return np.rint(hu + noise).clip(-1024, 3071).astype(np.int16), label


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
