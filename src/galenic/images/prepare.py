"""From a value to what the network sees, exactly, and back: axes, crop, spacing, intensity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from galenic.core.contract import Prepared, Settings
from galenic.core.errors import Refused
from galenic.images.body import body_box
from galenic.values import Geometry, Image, Mask

Array = NDArray[Any]
Box = list[list[int]]

CT_AIR_HU = -500.0  # above it lies tissue; lung and the air around the body lie below


def canonical_axes(geometry: Geometry) -> tuple[list[int], list[int]]:
    """Order of the axes, and those to flip, that bring a known 3D grid nearest to (S, P, L); identity in 2D.

    A network trained on one scanner's axis order then sees every other scan in the same pose.
    """
    if geometry.dims != 3 or not geometry.known:
        return list(range(geometry.dims)), []
    towards = np.abs(geometry.direction[::-1])  # rows: S, P, L; columns: array axes
    order: list[int] = []
    for row in towards:
        free = [axis for axis in range(3) if axis not in order]
        order.append(free[int(np.argmax(row[free]))])
    flips = [at for at, axis in enumerate(order) if geometry.direction[2 - at, axis] < 0]
    return order, flips


def turn(array: Array, order: Sequence[int], flips: Sequence[int]) -> Array:
    """Permute and flip the trailing space axes of an array [..., *space]."""
    lead = array.ndim - len(order)
    turned = array.transpose([*range(lead), *(lead + axis for axis in order)])
    return np.flip(turned, tuple(lead + axis for axis in flips)) if flips else turned


def turn_back(array: Array, order: Sequence[int], flips: Sequence[int]) -> Array:
    """Undo `turn`."""
    lead = array.ndim - len(order)
    flipped = np.flip(array, tuple(lead + axis for axis in flips)) if flips else array
    return flipped.transpose([*range(lead), *(lead + int(axis) for axis in np.argsort(order))])


def content_box(array: Array, way: str) -> Box:
    """[low, high) an axis around what is not air, with a margin of two voxels; the whole grid if all is content.

    way: "constant" drops a border that is exactly one value in every channel; "body" keeps what lies above -500 HU;
    "none" keeps all.
    """
    shape = array.shape[1:]
    if way == "none":
        return [[0, size] for size in shape]
    if way == "body":
        return [[cut.start, cut.stop] for cut in body_box(array[0], cut=CT_AIR_HU, margin=2)]
    corner = array.reshape(len(array), -1)[:, 0].reshape(-1, *(1,) * len(shape))
    content = (array != corner).any(axis=0)
    box = []
    for axis in range(len(shape)):
        seen = np.flatnonzero(content.any(axis=tuple(other for other in range(len(shape)) if other != axis)))
        if len(seen) == 0:
            return [[0, size] for size in shape]
        box.append([max(0, int(seen[0]) - 2), min(shape[axis], int(seen[-1]) + 3)])
    return box


def resample(array: Array, shape: Sequence[int], *, nearest: bool = False) -> Array:
    """[C, *space] float32 to a new grid over the same extent; averaged when it shrinks by more than 1.5."""
    if tuple(array.shape[1:]) == tuple(shape):
        return array
    tensor = torch.from_numpy(np.require(array, np.float32, ["C", "W"]))[None]
    dims = array.ndim - 1
    shrinks = max(old / new for old, new in zip(array.shape[1:], shape, strict=True)) > 1.5
    if nearest:
        done = functional.interpolate(tensor, size=tuple(shape), mode="nearest-exact")
    elif dims == 2:
        done = functional.interpolate(
            tensor, size=tuple(shape), mode="bilinear", align_corners=False, antialias=shrinks
        )
    elif shrinks:
        done = functional.interpolate(tensor, size=tuple(shape), mode="area")
    else:
        done = functional.interpolate(tensor, size=tuple(shape), mode="trilinear", align_corners=False)
    fitted: Array = done[0].numpy()
    return fitted


def normalise(array: Array, way: Mapping[str, Any]) -> Array:
    """Intensities as the plan says, float32.

    z-score: each channel of each image by its own mean and standard deviation. percentile: clipped to the training
    foreground's 0.5 and 99.5 percentiles, then by its mean and standard deviation (Isensee et al., Nature Methods
    18:203, 2021, for CT).
    """
    array = np.asarray(array, np.float32)
    if way["way"] == "percentile":
        scaled: Array = (np.clip(array, way["low"], way["high"]) - way["mean"]) / max(way["sd"], 1e-6)
        return scaled
    axes = tuple(range(1, array.ndim))
    mean = array.mean(axis=axes, keepdims=True, dtype=np.float64)
    sd = array.std(axis=axes, keepdims=True, dtype=np.float64)
    standard: Array = ((array - mean) / np.maximum(sd, 1e-6)).astype(np.float32)
    return standard


def network_grid(shape: Sequence[int], spacing: Sequence[float], settings: Settings) -> list[int]:
    """Size of the network grid for a (turned, cropped) grid."""
    if "fit" in settings:
        return inner_grid(shape, spacing, settings)
    if settings["spacing_mm"] is not None:
        ratio = [own / new for own, new in zip(spacing, settings["spacing_mm"], strict=True)]
    else:
        ratio = [1.0 / settings["shrink"]] * len(shape)
    return [size if abs(r - 1) < 0.01 else max(1, round(size * r)) for size, r in zip(shape, ratio, strict=True)]


def inner_grid(shape: Sequence[int], spacing: Sequence[float], settings: Settings) -> list[int]:
    """Size that a (turned, cropped) picture takes within `fit`: as large as fits, or at the plan's spacing if smaller.

    The sides keep their proportion, in mm where the spacing is known.
    """
    fit = settings["fit"]
    ratio = np.ones(len(shape))
    if settings["spacing_mm"] is not None:
        ratio = np.array(spacing, float) / np.array(settings["spacing_mm"], float)
    room = min(wide / (size * own) for wide, size, own in zip(fit, shape, ratio, strict=True))
    zoom = room if settings["spacing_mm"] is None else min(1.0, room)
    return [min(wide, max(1, round(size * own * zoom))) for wide, size, own in zip(fit, shape, ratio, strict=True)]


def pad_around(array: Array, fit: Sequence[int]) -> Array:
    """[C, *space] in the middle of [C, *fit], zeros around it, which is the mean after normalisation."""
    lacking = [wide - size for wide, size in zip(fit, array.shape[1:], strict=True)]
    if not any(lacking):
        return array
    return np.pad(array, [(0, 0), *((own // 2, own - own // 2) for own in lacking)])


def prepare_space(values: Mapping[str, Any], settings: Settings) -> Prepared:
    """Images normalised and masks on the network grid; facts to undo it. The first image gives the space."""
    images = {name: values[name] for name in settings["images"] if isinstance(values.get(name), Image)}
    masks = {name: values[name] for name in settings["masks"] if isinstance(values.get(name), Mask)}
    if not images:
        return Prepared({}, {})
    for name, image in images.items():
        _as_planned(name, image, settings)
    lead = next(iter(images.values()))
    order, flips = canonical_axes(lead.geometry)
    turned = {name: turn(image.array, order, flips) for name, image in images.items()}
    box = content_box(next(iter(turned.values())), settings["crop"])
    cut = tuple(slice(low, high) for low, high in box)
    spacing = [float(lead.geometry.spacing_mm[axis]) for axis in order]
    grid = network_grid([high - low for low, high in box], spacing, settings)
    arrays: dict[str, Array] = {}
    for name, array in turned.items():
        fitted = resample(np.asarray(array[(slice(None), *cut)], np.float32), grid)
        ready = normalise(fitted, settings["images"][name]["normalise"])
        arrays[name] = np.ascontiguousarray(pad_around(ready, settings["fit"]) if "fit" in settings else ready)
    for name, mask in masks.items():
        label = turn(mask.array, order, flips)[cut]
        arrays[name] = _fit_label(label, grid)
    facts = {
        "shape": list(lead.shape), "order": order, "flips": flips, "crop": box, "grid": grid,
        "geometry": {
            "spacing_mm": lead.geometry.spacing_mm.tolist(), "origin_mm": lead.geometry.origin_mm.tolist(),
            "direction": lead.geometry.direction.tolist(), "known": lead.geometry.known,
        },
    }  # fmt: skip
    return Prepared(arrays, {"space": facts})


def _as_planned(name: str, image: Image, settings: Settings) -> None:
    """Refused where the image is not of the form that the plan was made for."""
    dims, channels = settings["dims"], settings["images"][name]["channels"]
    if image.geometry.dims != dims:
        raise Refused(
            f"{name} is {'a volume' if image.geometry.dims == 3 else 'a picture'} of shape {list(image.shape)}",
            allowed="volumes (3D), as in training" if dims == 3 else "pictures (2D), as in training",
        )
    if len(image.array) != channels:
        raise Refused(f"{name} has {len(image.array)} channels", allowed=f"{channels}, as in training")


def _fit_label(label: Array, grid: Sequence[int]) -> Array:
    """A label map on a new grid: each class resampled by itself, the strongest wins."""
    if tuple(label.shape) == tuple(grid):
        return np.require(label, np.uint8, ["C", "W"])
    done = np.zeros(grid, np.uint8)
    best = resample((label == 0)[None].astype(np.float32), grid)[0]
    for value in np.unique(label):
        if value == 0:
            continue
        share = resample((label == value)[None].astype(np.float32), grid)[0]
        wins = share >= best
        done[wins], best[wins] = value, share[wins]
    return done


def to_original(array: Array, facts: Mapping[str, Any], order: int = 1) -> Array:
    """Undo grid, crop and axes of an array [*space] on the network grid; outside the crop it is 0.

    order 1 is linear, 0 nearest.
    """
    space = facts["space"]
    box = space["crop"]
    inner = [high - low for low, high in box]
    inside = resample(np.asarray(array, np.float32)[None], inner, nearest=order == 0)[0]
    turned_shape = [space["shape"][axis] for axis in space["order"]]
    if inner == turned_shape:
        whole = inside
    else:
        whole = np.zeros(turned_shape, np.float32)
        whole[tuple(slice(low, high) for low, high in box)] = inside
    return turn_back(whole, space["order"], space["flips"])


def geometry_of(facts: Mapping[str, Any]) -> Geometry:
    """The input's own geometry, from the facts."""
    kept = facts["space"]["geometry"]
    return Geometry(
        np.array(kept["spacing_mm"]), np.array(kept["origin_mm"]), np.array(kept["direction"]), known=kept["known"]
    )
