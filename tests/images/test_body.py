"""The body's box leaves out air and never body."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.images.body import body_box


def ellipsoid(shape, centre, radii):
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    return sum(((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, centre, radii, strict=True)) <= 1


def bounds(mask):
    return [(int(where.min()), int(where.max()) + 1) for where in np.nonzero(mask)]


def noisy(inside, *, air, body, spread, seed=0):
    noise = np.random.default_rng(seed).normal(0, spread, inside.shape)
    return (np.where(inside, body, air) + noise).astype(np.float32)


@pytest.mark.parametrize(
    ("air", "body", "spread", "cut"), [(-1000, 40, 25, None), (-1000, 40, 25, -500), (8, 300, 6, None)]
)
def test_it_holds_the_body_and_little_more(air, body, spread, cut):
    shape = (150, 200, 180)
    inside = ellipsoid(shape, (70, 90, 100), (50, 60, 40))
    found = body_box(noisy(inside, air=air, body=body, spread=spread), cut=cut, margin=4)
    for part, (low, high), size in zip(found, bounds(inside), shape, strict=True):
        step = size // 64
        assert low - 4 - 2 * step <= part.start <= low - 4
        assert high + 4 <= part.stop <= high + 4 + 2 * step


def test_two_legs_are_both_kept_and_a_speck_is_not():
    shape = (96, 96, 128)
    legs = ellipsoid(shape, (48, 48, 30), (40, 14, 14)) | ellipsoid(shape, (48, 48, 95), (40, 10, 10))
    speck = np.zeros(shape, bool)
    speck[2:4, 2:4, 2:4] = True
    found = body_box(noisy(legs | speck, air=-1000, body=50, spread=20), margin=0)
    assert found[2].start <= 16
    assert found[2].stop >= 105
    assert found[1].start > 20


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(1, 40)), min_size=2, max_size=3),
    st.sampled_from([0, -1024]),
)
def test_a_constant_background_is_cropped_exactly(axes, background):
    shape = tuple(before + size + after for before, size, after in axes)
    volume = np.full(shape, background, np.int16)
    inner = tuple(slice(before, before + size) for before, size, _ in axes)
    volume[inner] = background + 1 + np.random.default_rng(0).integers(0, 500, volume[inner].shape)
    volume[(0,) * volume.ndim] = background
    expected = bounds(volume != background) if (volume != background).any() else [(0, size) for size in shape]
    found = body_box(volume, margin=0)
    assert [(part.start, part.stop) for part in found] == expected


@pytest.mark.parametrize(
    "volume",
    [
        np.full((20, 20), 7.0, np.float32),
        np.random.default_rng(0).normal(100, 20, (40, 50, 30)).astype(np.float32),
        np.random.default_rng(0).uniform(0, 1, (64, 64)).astype(np.float32),
        noisy(~ellipsoid((80, 80), (40, 40), (20, 20)), air=20, body=240, spread=5),
        np.zeros((0, 4), np.float32),
    ],
    ids=["constant", "tissue", "uniform", "white border", "empty"],
)
def test_nothing_is_cropped_where_no_air_is_seen(volume):
    assert body_box(volume) == tuple(slice(0, size) for size in volume.shape)


def test_a_cut_that_nothing_reaches_crops_nothing():
    volume = np.full((10, 10), -1000, np.int16)
    assert body_box(volume, cut=-500) == (slice(0, 10), slice(0, 10))


def test_a_large_scan_takes_well_under_a_second():
    volume = np.full((320, 512, 512), -1000, np.int16)
    volume[:, 128:400, 100:420] = 30
    start = time.perf_counter()
    found = body_box(volume, cut=-500)
    assert time.perf_counter() - start < 1
    assert found[0] == slice(0, 320)
    assert 104 <= found[1].start <= 128
    assert 400 <= found[1].stop <= 424
