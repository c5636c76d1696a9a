"""Tiles cover a volume with few voxels, and their blend is the sliding window's, written out plainly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import GeometryError, ValueProblem
from galenic.images.tile import axis_weights, fit_tile, infer_tiled, plan_tiles, stream_tiled

AXIS = st.tuples(st.integers(1, 70), st.integers(1, 40))
OVERLAP = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9])


class Net:
    """A fixed pointwise map from channels to logits, and how often and with what it was called."""

    def __init__(self, channels: int, outputs: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.matrix = rng.normal(size=(outputs, channels)).astype(np.float32)
        self.shapes: list[tuple[int, ...]] = []

    def logits(self, array: np.ndarray) -> np.ndarray:
        return np.tensordot(self.matrix, array, 1)

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (array,) = arrays
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        self.shapes.append(array.shape)
        return (self.logits(array[0])[None],)


class Edged(Net):
    """Answers differently by the place in the tile and by the tile's content, as a real network does near its edge."""

    def logits(self, array: np.ndarray) -> np.ndarray:
        found = super().logits(array)
        ramp = np.linspace(0, 1, array.shape[1], dtype=np.float32).reshape(-1, *(1,) * (array.ndim - 2))
        return found + ramp * array.mean() + ramp


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def sliding_window(net: Net, volume: np.ndarray, patch: tuple[int, ...], corners: list) -> np.ndarray:
    """The textbook: full Gaussian patch, sums of logits and of weights, one division (volume >= patch on each axis)."""
    axes = np.meshgrid(*(np.arange(size, dtype=float) - (size - 1) / 2 for size in patch), indexing="ij")
    weight = np.exp(-0.5 * sum((axis / (size / 8)) ** 2 for axis, size in zip(axes, patch, strict=True)))
    total, weights = None, np.zeros(volume.shape[1:])
    for corner in corners:
        place = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        found = net.logits(volume[(slice(None), *place)]).astype(float)
        total = np.zeros((len(found), *weights.shape)) if total is None else total
        total[(slice(None), *place)] += found * weight
        weights[place] += weight
    assert (weights > 0).all()
    return softmax(total / weights)


@given(st.lists(AXIS, min_size=2, max_size=3), OVERLAP)
def test_tiles_cover_all_overlap_enough_and_are_no_more_than_a_scan_needs(axes, overlap):
    shape, patch = zip(*axes, strict=True)
    tiles = plan_tiles(shape, patch, overlap)
    for size, tile, starts, whole, before in zip(shape, patch, tiles.starts, tiles.padded, tiles.before, strict=True):
        assert whole == max(size, tile)
        assert 0 <= before <= whole - size
        assert starts[0] == 0
        assert starts[-1] + tile == whole
        gaps = np.diff(starts)
        assert (gaps > 0).all()
        assert (tile - gaps >= min(tile - 1, math.ceil(overlap * tile - 1e-6))).all()
        assert not len(gaps) or gaps.max() - gaps.min() <= 1
    assert tiles.count <= scan_count(shape, patch, overlap)
    assert tiles.computed == pytest.approx(tiles.count * math.prod(patch) / math.prod(shape))


def scan_count(shape, patch, overlap):
    """Windows that MONAI's dense_patch_slices takes: steps of int(patch (1 - overlap)), at least 1, the last one at
    the end of the axis."""
    count = 1
    for size, tile in zip(shape, patch, strict=True):
        size = max(size, tile)
        step = 1 if tile == 1 or int(tile * (1 - overlap)) == 0 else int(tile * (1 - overlap))
        step = tile if tile == size else step
        count *= next(number for number in range(size) if number * step + tile >= size) + 1
    return count


@given(AXIS, OVERLAP)
def test_weights_are_positive_and_add_up_to_one(axis, overlap):
    size, tile = max(axis), axis[1]
    starts = plan_tiles([size], [tile], overlap).starts[0]
    weights = axis_weights(starts, tile, size)
    total = np.zeros(size)
    for start, own in zip(starts, weights, strict=True):
        assert (own > 0).all()
        total[start : start + tile] += own
    np.testing.assert_allclose(total, 1, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 24), st.integers(1, 12)), min_size=2, max_size=3), OVERLAP, st.integers(1, 2))
def test_a_pointwise_network_is_the_same_in_tiles_as_at_once(axes, overlap, channels):
    shape, patch = zip(*axes, strict=True)
    volume = np.random.default_rng(1).normal(size=(channels, *shape)).astype(np.float32)
    net = Net(channels, 3)
    found = infer_tiled(net, volume, patch, classes=3, overlap=min(overlap, 0.5))
    assert found.dtype == np.float32
    assert set(net.shapes) == {(1, channels, *patch)}
    np.testing.assert_allclose(found, softmax(net.logits(volume)), atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [((30, 41), (16, 16), 0.25), ((20, 17, 25), (8, 10, 12), 0.5), ((9, 31, 12), (9, 8, 12), 0.25)],
)
def test_it_is_the_sliding_window_written_out(shape, patch, overlap):
    volume = np.random.default_rng(2).normal(size=(2, *shape)).astype(np.float32)
    net = Edged(2, 3)
    corners = list(itertools.product(*plan_tiles(shape, patch, overlap).starts))
    expected = sliding_window(net, volume, patch, corners)
    found = infer_tiled(net, volume, patch, classes=3, overlap=overlap)
    assert len(net.shapes) == len(corners)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_one_output_channel_is_a_sigmoid_into_two_classes():
    volume = np.random.default_rng(3).normal(size=(1, 20, 20)).astype(np.float32)
    net = Net(1, 1)
    found = infer_tiled(net, volume, (12, 12), classes=2)
    expected = 1 / (1 + np.exp(-net.logits(volume)[0]))
    np.testing.assert_allclose(found, np.stack([1 - expected, expected]), atol=1e-6)


def test_a_volume_that_fits_is_one_call():
    net = Net(1, 2)
    infer_tiled(net, np.ones((1, 30, 40, 20), np.float32), (40, 40, 24), classes=2)
    assert net.shapes == [(1, 1, 40, 40, 24)]


@pytest.mark.parametrize(("pad", "beside"), [(0.0, 0.0), (-3.0, -3.0), (None, None)])
def test_short_axes_are_padded_as_asked(pad, beside):
    seen = []

    def run(array):
        seen.append(array[0, 0].copy())
        return (np.repeat(array, 2, axis=1),)

    volume = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
    infer_tiled(run, volume, (5, 4), classes=2, pad=pad)
    rows = volume[0]
    if pad is None:
        np.testing.assert_array_equal(seen[0], rows[[1, 0, 1, 2, 1]])
    else:
        np.testing.assert_array_equal(seen[0], np.vstack([np.full(4, beside), rows, np.full(4, beside)]))


def test_tiles_of_air_are_not_computed_and_are_background():
    volume = np.full((1, 24, 24, 24), -2.0, np.float32)
    volume[:, 2:7, 2:7, 2:7] = 1.0
    net = Net(1, 3)
    net.matrix[:] = [[0.0], [5.0], [-9.0]]  # calls air class 2 and body class 1
    found = infer_tiled(net, volume, (8, 8, 8), classes=3, overlap=0.25, air=-2.0)
    starts = plan_tiles((24, 24, 24), (8, 8, 8), 0.25).starts[0]
    touched = sum(start < 7 for start in starts)
    assert len(net.shapes) == touched**3 < len(starts) ** 3
    assert (found[1, 2:7, 2:7, 2:7] > 0.99).all()
    far = found[:, 12:, 12:, 12:]
    assert (far[0] == 1).all()
    assert (far[1:] == 0).all()
    assert np.isfinite(found).all()
    alone = infer_tiled(net, volume, (8, 8, 8), classes=3, overlap=0.25)
    np.testing.assert_array_equal(alone[:, 2:7, 2:7, 2:7], found[:, 2:7, 2:7, 2:7])


def test_air_is_told_by_channel_and_padding_is_no_body():
    volume = np.stack([np.full((4, 30), -2.0), np.full((4, 30), -5.0)]).astype(np.float32)
    net = Net(2, 2)
    found = infer_tiled(net, volume, (8, 8), classes=2, air=[-2.0, -5.0])
    assert net.shapes == []
    assert (found[0] == 1).all()
    infer_tiled(net, volume, (8, 8), classes=2, air=[-2.0, -6.0])
    assert len(net.shapes) == plan_tiles((4, 30), (8, 8), 0.25).count


@pytest.mark.parametrize("mirror", [(0,), (0, 1), (2,), (0, 1, 2)])
def test_mirrored_copies_are_averaged(mirror):
    volume = np.random.default_rng(4).normal(size=(1, 8, 8, 8)).astype(np.float32)
    net = Edged(1, 3)
    expected, copies = 0.0, 0
    for size in range(len(mirror) + 1):
        for axes in itertools.combinations(mirror, size):
            turned = tuple(axis + 1 for axis in axes)
            expected = expected + np.flip(net.logits(np.flip(volume, turned)), turned)
            copies += 1
    found = infer_tiled(net, volume, (8, 8, 8), classes=3, mirror=mirror)
    assert len(net.shapes) == copies == 2 ** len(mirror)
    np.testing.assert_allclose(found, softmax(expected / copies), atol=1e-5)


def test_slabs_are_finished_rows_that_may_be_kept():
    volume = np.random.default_rng(5).normal(size=(1, 30, 12, 9)).astype(np.float32)
    net = Edged(1, 2)
    slabs = list(stream_tiled(net, volume, (8, 8, 8), classes=2))
    assert [slab.start for slab in slabs] == [0, *(slab.stop for slab in slabs[:-1])]
    assert slabs[-1].stop == 30
    assert max(slab.stop - slab.start for slab in slabs) <= 8
    joined = np.concatenate([slab.probabilities for slab in slabs], axis=1)
    np.testing.assert_array_equal(joined, infer_tiled(net, volume, (8, 8, 8), classes=2))


def test_what_does_not_fit_is_refused():
    volume = np.zeros((1, 20, 20), np.float32)
    with pytest.raises(GeometryError, match="as many axes"):
        infer_tiled(Net(1, 2), volume, (8, 8, 8), classes=2)
    with pytest.raises(GeometryError):
        plan_tiles((10, 0), (4, 4))
    with pytest.raises(ValueProblem, match="overlap"):
        plan_tiles((10, 10), (4, 4), 1.0)
    with pytest.raises(ValueProblem, match="mirror"):
        infer_tiled(Net(1, 2), volume, (8, 8), classes=2, mirror=(2,))
    with pytest.raises(ValueProblem, match="answers a tile"):
        infer_tiled(Net(1, 3), volume, (8, 8), classes=2)


@given(
    shape=st.tuples(*[st.integers(8, 300)] * 3), patch=st.tuples(*[st.sampled_from([16, 32, 48, 64])] * 3),
    overlap=st.floats(0, 0.5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_fitted_tile_is_allowed_and_never_costs_more_than_the_patch(shape, patch, overlap):
    fitted = fit_tile(shape, patch, overlap, steps=(8, 8, 4))
    for own, tile, step in zip(fitted, patch, (8, 8, 4), strict=True):
        assert tile <= own <= 1.5 * tile
        assert (own - tile) % step == 0

    def computed(tile):
        kept = [overlap * own / wide for own, wide in zip(patch, tile, strict=True)]
        sizes = [[round(size * share) for size in shape] for share in (0.95, 1.0, 1.0, 1.05)]
        plans = [plan_tiles(one, tile, kept) for one in sizes]
        return [sum(len(plan.starts[axis]) * tile[axis] for plan in plans) for axis in range(3)]

    assert all(ours <= theirs for ours, theirs in zip(computed(fitted), computed(patch), strict=True))


def test_a_tile_grows_where_that_saves_voxels_and_only_there():
    assert fit_tile((128, 148, 200), (64, 64, 64), 0.25, steps=(8, 8, 8)) == [80, 88, 80]
    assert fit_tile((35, 50, 35), (40, 56, 40), 0.25, steps=(8, 8, 8)) == [40, 56, 40]


def test_each_axis_may_have_its_own_overlap():
    tiles = plan_tiles((100, 100), (40, 40), (0.0, 0.5))
    assert [len(axis) for axis in tiles.starts] == [3, 4]
    with pytest.raises(ValueProblem):
        plan_tiles((100, 100), (40, 40), (0.0, 1.0))
    with pytest.raises(ValueProblem):
        plan_tiles((100, 100), (40, 40), (0.25,))
