"""Chance in one place: draws are plain data, applying them is exact."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.contract import Prepared
from galenic.images.vary import Draw, apply_patch, draw_patch, foreground_points, rotation

CALM = {
    "flips": [], "bend": 0.0, "degrees": 0.0, "scale": [1.0, 1.0], "light": 0.0, "gamma": 0.0, "blur": 0.0,
    "coarse": 0.0, "noise": 0.0, "foreground": 0.0,
}  # fmt: skip
WILD = CALM | {
    "flips": [0, 1], "bend": 1.0, "degrees": 30.0, "scale": [0.75, 1.3], "light": 1.0, "gamma": 1.0, "blur": 1.0,
    "coarse": 1.0, "noise": 1.0, "foreground": 0.5,
}  # fmt: skip


def case(shape: tuple[int, ...] = (20, 24), seed: int = 0) -> Prepared:
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(size // 3, size // 2) for size in shape)] = 1
    return Prepared({
        "image": rng.normal(size=(1, *shape)).astype(np.float32), "label": label,
        "label.points": foreground_points(label),
    })  # fmt: skip


def plan(patch: list[int], ways: dict[str, object]) -> dict[str, object]:
    return {"dims": len(patch), "patch": patch, "images": {"image": {}}, "masks": {"label": {}}, "augment": ways}


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_draw_is_plain_data_and_replays(seed: int) -> None:
    prepared, ways = case(), plan([16, 16], WILD)
    draw = draw_patch(np.random.default_rng(seed), prepared, ways)
    again = Draw(**{
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(json.dumps(dataclasses.asdict(draw))).items()
    })  # fmt: skip
    assert again == draw
    one, two = apply_patch(prepared, draw, ways), apply_patch(prepared, again, ways)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert one["image"].shape == (1, 16, 16)
    assert one["label"].dtype == torch.uint8
    assert torch.isfinite(one["image"]).all()


@pytest.mark.parametrize(("shape", "patch"), [((20, 24), [8, 8]), ((12, 14, 16), [8, 8, 8])])
def test_a_calm_draw_is_a_plain_crop(shape: tuple[int, ...], patch: list[int]) -> None:
    prepared, ways = case(shape), plan(patch, CALM)
    draw = draw_patch(np.random.default_rng(3), prepared, ways)
    done = apply_patch(prepared, draw, ways)
    starts = [round(centre - size / 2) for centre, size in zip(draw.centre, patch, strict=True)]
    cut = tuple(slice(start, start + size) for start, size in zip(starts, patch, strict=True))
    assert np.array_equal(done["image"][0].numpy(), prepared.arrays["image"][0][cut])
    assert np.array_equal(done["label"].numpy(), prepared.arrays["label"][cut])


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 9)])
@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1)])
def test_the_sampling_pass_equals_slicing_where_nothing_turns(shape: tuple[int, ...], flips: tuple[int, ...]) -> None:
    prepared = case(shape)
    ways = plan(list(shape), CALM)
    centre = tuple(size / 2 for size in shape)
    sliced = apply_patch(prepared, Draw(centre, flips=flips), ways)
    # a zoom so small that no voxel moves, but that takes the way through grid_sample
    sampled = apply_patch(
        prepared, Draw(centre, flips=flips, angles=(0.0,) * (1 if len(shape) == 2 else 3), scale=1.0 + 1e-9), ways
    )
    assert torch.allclose(sliced["image"], sampled["image"], atol=1e-4)
    assert torch.equal(sliced["label"], sampled["label"])


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    prepared, ways = case((16, 16)), plan([16, 16], CALM)
    turned = apply_patch(prepared, Draw((8.0, 8.0), angles=(np.pi / 2,)), ways)["image"][0].numpy()
    whole = prepared.arrays["image"][0]
    assert np.allclose(turned, np.rot90(whole, 1), atol=1e-4) or np.allclose(turned, np.rot90(whole, -1), atol=1e-4)


def test_turning_back_gives_the_scan_again() -> None:
    smooth = np.add.outer(np.sin(np.arange(64) / 9), np.cos(np.arange(64) / 7)).astype(np.float32)[None]
    prepared = Prepared({"image": smooth})
    ways = plan([64, 64], CALM) | {"masks": {}}
    turned = apply_patch(prepared, Draw((32.0, 32.0), angles=(0.3,)), ways)["image"]
    back = apply_patch(Prepared({"image": turned.numpy()}), Draw((32.0, 32.0), angles=(-0.3,)), ways)["image"]
    inner = slice(20, 44)
    assert np.abs(back[0, inner, inner].numpy() - smooth[0, inner, inner]).max() < 0.02


@given(st.tuples(*[st.floats(-1, 1)] * 3))
@settings(max_examples=30, deadline=None)
def test_rotations_keep_lengths_and_hands(angles: tuple[float, ...]) -> None:
    for matrix in (rotation(angles, 3), rotation(angles[:1], 2)):
        assert np.allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-9)
        assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_a_case_smaller_than_the_patch_is_padded_around() -> None:
    prepared, ways = case((6, 8)), plan([16, 16], CALM)
    done = apply_patch(prepared, draw_patch(np.random.default_rng(0), prepared, ways), ways)
    assert done["image"].shape == (1, 16, 16)
    assert np.array_equal(done["image"][0, 5:11, 4:12].numpy(), prepared.arrays["image"][0])
    assert float(done["image"].abs().sum()) == pytest.approx(float(np.abs(prepared.arrays["image"]).sum()), rel=1e-5)


def test_foreground_patches_show_the_class() -> None:
    shape = (96, 96)
    label = np.zeros(shape, np.uint8)
    label[80:84, 80:84] = 1
    prepared = Prepared({
        "image": np.zeros((1, *shape), np.float32), "label": label, "label.points": foreground_points(label),
    })  # fmt: skip
    ways = plan([16, 16], CALM | {"foreground": 1.0})
    rng = np.random.default_rng(0)
    hits = [int(apply_patch(prepared, draw_patch(rng, prepared, ways), ways)["label"].sum()) > 0 for _ in range(50)]
    assert sum(hits) == 50


def test_points_name_class_and_place() -> None:
    label = np.zeros((5, 6), np.uint8)
    label[1, 2], label[3, 4] = 1, 2
    assert foreground_points(label).tolist() == [[1, 1, 2], [2, 3, 4]]
    assert foreground_points(np.zeros((3, 3), np.uint8)).shape == (0, 3)
