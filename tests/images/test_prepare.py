"""From values to the network's grid and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.images.prepare import (
    canonical_axes,
    content_box,
    geometry_of,
    network_grid,
    normalise,
    prepare_space,
    resample,
    to_original,
    turn,
    turn_back,
)
from galenic.values import Geometry, Image, Mask

AXES = list(np.eye(3).T)


def space(**changes: object) -> dict[str, object]:
    plan: dict[str, object] = {
        "dims": 3, "spacing_mm": [1.0, 1.0, 1.0], "shrink": 1.0, "crop": "none", "patch": [16, 16, 16],
        "images": {"image": {"channels": 1, "modality": "MR", "normalise": {"way": "z-score"}}},
        "masks": {"label": {"classes": {"1": "one", "2": "two"}}},
    }  # fmt: skip
    return plan | changes


def volume(shape: tuple[int, ...], spacing: tuple[float, ...] = (1.0, 1.0, 1.0), order: tuple[int, ...] = (2, 1, 0),
           signs: tuple[int, ...] = (1, 1, 1), seed: int = 0) -> Image:  # fmt: skip
    direction = np.stack([sign * AXES[axis] for axis, sign in zip(order, signs, strict=True)], axis=1)
    geometry = Geometry(np.array(spacing), np.array([5.0, -3.0, 11.0]), direction)
    return Image(np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32), geometry, "MR")


@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))
@settings(max_examples=30, deadline=None)
def test_any_pose_is_brought_to_one_and_back(order: list[int], signs: tuple[int, ...]) -> None:
    image = volume((4, 5, 6), order=tuple(order), signs=signs)
    axes, flips = canonical_axes(image.geometry)
    turned = turn(image.array, axes, flips)
    directions = image.geometry.direction[:, axes]
    for at, expected in enumerate((2, 1, 0)):  # towards S, P, L
        sign = -1 if at in flips else 1
        assert np.argmax(np.abs(directions[:, at])) == expected
        assert sign * directions[expected, at] > 0
    assert np.array_equal(turn_back(turned, axes, flips), image.array)


def test_an_unknown_geometry_is_left_as_it_is() -> None:
    assert canonical_axes(Geometry.plain(3)) == ([0, 1, 2], [])
    assert canonical_axes(Geometry.plain(2, 0.5)) == ([0, 1], [])


def test_constant_border_is_cropped_with_a_margin() -> None:
    array = np.zeros((1, 20, 30))
    array[0, 8:12, 10:15] = 1.0
    assert content_box(array, "constant") == [[6, 14], [8, 17]]
    assert content_box(array, "none") == [[0, 20], [0, 30]]
    assert content_box(np.ones((1, 4, 5)), "constant") == [[0, 4], [0, 5]]


def test_ct_body_is_boxed_and_a_speck_is_not() -> None:
    array = np.full((1, 40, 64, 64), -1000.0, np.float32)
    array[0, :, 16:48, 20:44] = 30.0
    array[0, 2:4, 60:62, 2:4] = 100.0  # a letter burnt in
    box = content_box(array, "body")
    assert box[0] == [0, 40]
    assert 8 <= box[1][0] <= 16
    assert 48 <= box[1][1] <= 56
    assert 12 <= box[2][0] <= 20
    assert 44 <= box[2][1] <= 52


@given(st.lists(st.integers(3, 12), min_size=2, max_size=3))
@settings(max_examples=20, deadline=None)
def test_resampling_to_the_same_grid_changes_nothing_and_a_constant_stays(shape: list[int]) -> None:
    array = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    assert np.array_equal(resample(array, shape), array)
    constant = resample(np.full((1, *shape), 3.5, np.float32), [2 * size for size in shape])
    assert np.allclose(constant, 3.5)


def test_percentiles_clip_and_scale() -> None:
    way = {"way": "percentile", "low": -100.0, "high": 200.0, "mean": 50.0, "sd": 25.0}
    done = normalise(np.array([[-1000.0, 50.0, 500.0]]), way)
    assert done.tolist() == [[-6.0, 0.0, 6.0]]


def test_z_score_is_a_channel_each() -> None:
    array = np.stack([np.arange(16.0).reshape(4, 4), 100 + 7 * np.arange(16.0).reshape(4, 4)])
    done = normalise(array, {"way": "z-score"})
    assert np.allclose(done.mean(axis=(1, 2)), 0, atol=1e-6)
    assert np.allclose(done.std(axis=(1, 2)), 1, atol=1e-5)


def test_network_grid_follows_spacing_or_shrink() -> None:
    assert network_grid([10, 20, 20], [3.0, 1.0, 1.005], space()) == [30, 20, 20]
    assert network_grid([100, 51], [1.0, 1.0], space(dims=2, spacing_mm=None, shrink=2.0)) == [50, 26]


@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3), st.sampled_from([0.8, 1.0, 2.0]))
@settings(max_examples=15, deadline=None)
def test_a_mask_comes_back_where_it_was(order: list[int], signs: tuple[int, ...], step: float) -> None:
    image = volume((12, 14, 16), (step, 1.0, 1.0), tuple(order), signs)
    label = np.zeros((12, 14, 16), np.uint8)
    label[3:9, 4:10, 5:12] = 1
    mask = Mask(label, image.geometry, {1: "one"})
    prepared = prepare_space({"image": image, "label": mask}, space())
    back = to_original((prepared.arrays["label"] == 1).astype(np.float32), prepared.facts, order=1) > 0.5
    both = np.logical_and(back, label > 0).sum()
    assert back.shape == label.shape
    assert 2 * both / (back.sum() + (label > 0).sum()) > (0.999 if step == 1.0 else 0.8)
    assert geometry_of(prepared.facts).close_to(image.geometry)


def test_what_was_cropped_comes_back_as_background() -> None:
    array = np.zeros((1, 20, 30, 30), np.float32)
    array[0, 5:12, 8:20, 9:21] = np.random.default_rng(0).normal(5, 1, (7, 12, 12))
    image = Image(array, Geometry.plain(3, 1.0))
    prepared = prepare_space({"image": image}, space(crop="constant"))
    assert prepared.arrays["image"].shape == (1, 11, 16, 16)
    back = to_original(np.ones((11, 16, 16), np.float32), prepared.facts)
    assert back.sum() == pytest.approx(11 * 16 * 16)
    assert back[0].sum() == 0


def test_three_classes_that_meet_leave_no_hole() -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[:, :4, :], label[:, 4:, :4], label[:, 4:, 4:] = 1, 2, 3
    image = volume((8, 8, 8), (1.7, 1.7, 1.7))
    prepared = prepare_space({"image": image, "label": Mask(label, image.geometry)}, space())
    assert (prepared.arrays["label"] > 0).all()
