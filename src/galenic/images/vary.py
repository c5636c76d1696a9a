"""Chance in one place: where the patch lies and how it is bent, then applied in one sampling pass.

The ranges are those of nnU-Net's default augmentation (Isensee et al., Nature Methods 18:203, 2021, supplement),
with fewer operations, as short budgets want cheap ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from galenic.core.contract import Prepared, Settings


@dataclass(frozen=True)
class Draw:
    """All chance of one sample, as plain data.

    centre: of the patch, in voxels of the prepared grid. flips: axes mirrored. angles: rotations in radians, one in
    2D, one an axis in 3D. scale: zoom of the content. The rest changes intensities of standardised images.
    """

    centre: tuple[float, ...]
    flips: tuple[int, ...] = ()
    angles: tuple[float, ...] = ()
    scale: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    invert_gamma: bool = False
    blur: float = 0.0
    coarse: float = 1.0
    noise: float = 0.0
    seed: int = 0

    @property
    def bends(self) -> bool:
        return self.scale != 1.0 or any(self.angles)


def draw_patch(rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Draw:
    """Draw a patch: a share of them centred on the wanted classes, all varied as the plan's `augment` says."""
    ways = settings["augment"]
    image = prepared.arrays[next(iter(settings["images"]))]
    shape, patch = np.array(image.shape[1:]), np.array(settings["patch"])
    return varied(rng, _centre(rng, prepared, shape, patch, settings), ways)


def varied(rng: np.random.Generator, centre: NDArray, ways: Mapping[str, Any]) -> Draw:
    """A patch about `centre`, mirrored, bent and changed in its intensities as `ways` (the plan's `augment`) says."""
    bends = rng.random() < ways["bend"]
    dims = len(centre)
    angles = rng.uniform(-1, 1, 1 if dims == 2 else 3) * np.radians(ways["degrees"]) * bends
    return Draw(
        centre=tuple(float(c) for c in centre),
        flips=tuple(axis for axis in ways["flips"] if rng.random() < 0.5),
        angles=tuple(float(angle) for angle in angles),
        scale=float(rng.uniform(*ways["scale"])) if bends else 1.0,
        brightness=float(rng.uniform(0.75, 1.25)) if rng.random() < ways["light"] else 1.0,
        contrast=float(rng.uniform(0.75, 1.25)) if rng.random() < ways["light"] else 1.0,
        gamma=float(rng.uniform(0.7, 1.5)) if rng.random() < ways["gamma"] else 1.0,
        invert_gamma=bool(rng.random() < 0.25),
        blur=float(rng.uniform(0.5, 1.0)) if rng.random() < ways["blur"] else 0.0,
        coarse=float(rng.uniform(1.0, 2.0)) if rng.random() < ways["coarse"] else 1.0,
        noise=float(rng.uniform(0, 0.3)) if rng.random() < ways["noise"] else 0.0,
        seed=int(rng.integers(2**31)),
    )


def _centre(
    rng: np.random.Generator, prepared: Prepared, shape: NDArray, patch: NDArray, settings: Settings
) -> NDArray:
    half = patch / 2
    low, high = np.minimum(half, shape / 2), np.maximum(shape - half, shape / 2)
    if rng.random() < settings["augment"]["foreground"]:
        for name in settings["masks"]:
            points = prepared.arrays.get(f"{name}.points")
            if points is not None and len(points):
                classes = np.unique(points[:, 0])
                own = points[points[:, 0] == rng.choice(classes)]
                spot = own[rng.integers(len(own)), 1:] + rng.uniform(-0.25, 0.25, len(patch)) * patch
                inside: NDArray = np.clip(spot, low, high)
                return inside
    anywhere: NDArray = low + rng.random(len(patch)) * (high - low)
    return anywhere


def apply_patch(prepared: Prepared, draw: Draw, settings: Settings) -> dict[str, Tensor]:
    """The patch that the draw means: images [C, *patch] float32, masks [*patch] uint8; a whole picture is one too."""
    patch = settings.get("fit") or settings["patch"]
    arrays = {
        name: torch.from_numpy(prepared.arrays[name] if name in settings["images"] else prepared.arrays[name][None])
        for name in (*settings["images"], *settings["masks"])
        if name in prepared.arrays
    }
    # One for all, as the arrays of a case share their grid.
    grid = _grid(next(iter(arrays.values())).shape[1:], draw, patch) if draw.bends and arrays else None
    done: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if name in settings["images"]:
            done[name] = _intensity(_place(array, draw, patch, grid, "bilinear"), draw)
        else:
            done[name] = _place(array, draw, patch, grid, "nearest")[0]
    return done


def _place(array: Tensor, draw: Draw, patch: list[int], grid: Tensor | None, mode: str) -> Tensor:
    """Crop, mirror, turn and zoom [C, *space] in one sampling pass; plain slicing where nothing is bent."""
    if grid is None:
        return _slice(array, draw, patch)
    placed = functional.grid_sample(array[None].float(), grid, mode=mode, padding_mode="zeros", align_corners=False)
    return placed[0].to(array.dtype)


def _slice(array: Tensor, draw: Draw, patch: list[int]) -> Tensor:
    cuts: list[slice] = [slice(None)]
    pads: list[int] = []
    for size, want, centre in zip(array.shape[1:], patch, draw.centre, strict=True):
        start = round(centre - want / 2)
        cuts.append(slice(max(0, start), min(size, start + want)))
        pads = [max(0, -start), max(0, start + want - size), *pads]
    part = array[tuple(cuts)]
    if any(pads):
        part = functional.pad(part, pads)
    if draw.flips:
        part = part.flip([axis + 1 for axis in draw.flips])
    return part.contiguous()


def _grid(shape: tuple[int, ...], draw: Draw, patch: list[int]) -> Tensor:
    """Sampling positions (1, *patch, d) in grid_sample's coordinates (last axis first, -1 to 1 over the array)."""
    dims = len(patch)
    turn = rotation(draw.angles, dims) / draw.scale
    mirror = np.diag([-1.0 if axis in draw.flips else 1.0 for axis in range(dims)])
    theta = np.zeros((dims, dims + 1))
    # voxels from the patch's centre -> voxels from the array's centre -> both in units of half sizes
    matrix = turn @ mirror
    size, want = np.array(shape, float), np.array(patch, float)
    theta[:, :dims] = matrix * want[None, :] / size[:, None]
    theta[:, dims] = (np.array(draw.centre) - size / 2) * 2 / size
    turned = theta[::-1][:, [*range(dims - 1, -1, -1), dims]].copy()
    return functional.affine_grid(torch.from_numpy(turned).float()[None], [1, 1, *patch], align_corners=False)


def rotation(angles: tuple[float, ...], dims: int) -> NDArray:
    """Rotation matrix in array-axis order: about the one normal in 2D, about each axis in turn in 3D."""
    if dims == 2:
        c, s = np.cos(angles[0]), np.sin(angles[0])
        return np.array([[c, -s], [s, c]])
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        one, two = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[one, one], step[one, two], step[two, one], step[two, two] = c, -s, s, c
        matrix = step @ matrix
    return matrix


def _intensity(image: Tensor, draw: Draw) -> Tensor:
    if draw.coarse > 1.0:
        small = [max(1, round(size / draw.coarse)) for size in image.shape[1:]]
        mode = "bilinear" if image.dim() == 3 else "trilinear"
        low = functional.interpolate(image[None], size=small, mode="nearest-exact")
        image = functional.interpolate(low, size=image.shape[1:], mode=mode, align_corners=False)[0]
    if draw.blur > 0:
        image = _blur(image, draw.blur)
    if draw.contrast != 1.0:
        mean = image.mean()
        image = (image - mean) * draw.contrast + mean
    if draw.brightness != 1.0:
        image = image * draw.brightness
    if draw.gamma != 1.0:
        image = _gamma(image, draw.gamma, invert=draw.invert_gamma)
    if draw.noise > 0:
        generator = torch.Generator().manual_seed(draw.seed)
        image = image + draw.noise * torch.randn(image.shape, generator=generator)
    return image


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian of five taps, per channel."""
    taps = torch.exp(-(torch.arange(-2, 3).float() ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    dims = image.dim() - 1
    done = image[:, None]  # channels as a batch of one-channel pictures
    for axis in range(dims):
        shape, pad = [1] * dims, [0] * dims
        shape[axis], pad[axis] = 5, 2
        kernel = taps.reshape(1, 1, *shape)
        conv: Any = functional.conv2d if dims == 2 else functional.conv3d
        done = conv(done, kernel, padding=pad)
    return done[:, 0]


def _gamma(image: Tensor, gamma: float, *, invert: bool) -> Tensor:
    """Gamma on the image's own range, mean and deviation kept."""
    if invert:
        image = -image
    mean, sd, low, high = image.mean(), image.std(), image.min(), image.max()
    span = (high - low).clamp_min(1e-6)
    image = ((image - low) / span).pow(gamma) * span + low
    image = (image - image.mean()) / image.std().clamp_min(1e-6) * sd + mean
    return -image if invert else image


def foreground_points(label: NDArray, count: int = 256) -> NDArray:
    """(n, 1 + d) class and position of up to `count` voxels a class, evenly taken: where patches may centre."""
    rows = []
    for value in np.unique(label):
        if value == 0:
            continue
        spots = np.argwhere(label == value)
        spots = spots[:: max(1, len(spots) // count)][:count]
        rows.append(np.column_stack([np.full(len(spots), value), spots]))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 1 + label.ndim), np.int32)


def settings_with_points(prepared: Mapping[str, NDArray], masks: Mapping[str, Any]) -> dict[str, NDArray]:
    """The prepared arrays, with each mask's foreground points beside it."""
    done = dict(prepared)
    for name in masks:
        if name in done:
            done[f"{name}.points"] = foreground_points(done[name])
    return done
