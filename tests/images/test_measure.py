"""Measures against second implementations, and what must always hold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from galenic.images.measure import (
    border,
    bounding_box,
    dice,
    keep_largest,
    largest_part,
    overlaps,
    surfaces,
)


def masks(count: int = 2) -> st.SearchStrategy:
    shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
    return shapes.flatmap(
        lambda shape: st.tuples(*[hnp.arrays(np.bool_, shape, elements=st.booleans()) for _ in range(count)])
    )


def places(mask: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(i) for i in place) for place in np.argwhere(mask)}


def literal_border(mask: np.ndarray) -> set[tuple[int, ...]]:
    """Places of which a face neighbour is not marked, by looking at each."""
    inside = places(mask)
    found = set()
    for place in inside:
        for axis, step in product(range(mask.ndim), (-1, 1)):
            beside = list(place)
            beside[axis] += step
            if tuple(beside) not in inside:
                found.add(place)
    return found


def brute_surfaces(one: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    a = np.array(sorted(literal_border(one))) * spacing
    b = np.array(sorted(literal_border(other))) * spacing
    apart = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    forth, back = apart.min(1), apart.min(0)
    hd95 = max(np.percentile(forth, 95), np.percentile(back, 95))
    return float(hd95), float((forth.sum() + back.sum()) / (len(a) + len(b)))


@given(masks())
@settings(max_examples=150, deadline=None)
def test_overlap_equals_sets_of_places(pair):
    ours, truth = pair
    a, b = places(ours), places(truth)
    found = overlaps(ours.astype(np.uint8), truth.astype(np.uint8), 2)[1]
    assert (found.both, found.ours_alone, found.truth_alone) == (len(a & b), len(a - b), len(b - a))
    assert found.dice == (2 * len(a & b) / (len(a) + len(b)) if a or b else None)
    assert found.iou == (len(a & b) / len(a | b) if a or b else None)
    assert found.recall == (len(a & b) / len(b) if b else None)
    assert found.precision == (len(a & b) / len(a) if a else None)
    assert dice(ours, truth) == found.dice == dice(truth, ours)
    if found.dice is not None:
        assert 0 <= found.iou <= found.dice <= 1
        assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))


def test_overlaps_of_many_classes_equal_each_class_alone():
    rng = np.random.default_rng(1)
    for count, dtype in ((5, np.uint8), (255, np.uint8), (300, np.uint16)):
        ours, truth = (rng.integers(0, count, (9, 8, 7)).astype(dtype) for _ in range(2))
        for number, found in enumerate(overlaps(ours, truth, count)):
            assert found.dice == dice(ours == number, truth == number)


@given(masks(), st.lists(st.floats(0.3, 5), min_size=3, max_size=3))
@settings(max_examples=150, deadline=None)
def test_surfaces_equal_brute_force(pair, spacing):
    ours, truth = pair
    step = np.array(spacing[: ours.ndim])
    found = surfaces(ours, truth, step)
    if not (ours.any() and truth.any()):
        assert found is None
        return
    hd95, assd = brute_surfaces(ours, truth, step)
    assert found.hd95 == pytest.approx(hd95, abs=1e-9)
    assert found.assd == pytest.approx(assd, abs=1e-9)
    turned = surfaces(truth, ours, step)
    assert (turned.hd95, turned.assd) == pytest.approx((found.hd95, found.assd))
    itself = surfaces(ours, ours, step)
    assert (itself.hd95, itself.assd) == (0, 0)


def test_surfaces_equal_distance_transforms_on_a_large_grid():
    grid = np.indices((40, 50, 60)).astype(float)
    ours = sum((axis - centre) ** 2 for axis, centre in zip(grid, (18, 25, 30), strict=True)) < 14**2
    truth = sum((axis - centre) ** 2 for axis, centre in zip(grid, (20, 24, 33), strict=True)) < 12**2
    spacing = np.array([2.5, 0.8, 0.7])
    a, b = (mask & ~ndimage.binary_erosion(mask) for mask in (ours, truth))
    forth = ndimage.distance_transform_edt(~b, sampling=spacing)[a]
    back = ndimage.distance_transform_edt(~a, sampling=spacing)[b]
    found = surfaces(ours, truth, spacing)
    assert found.hd95 == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))
    assert found.assd == pytest.approx(np.concatenate([forth, back]).mean())


def test_a_shift_is_a_distance_in_mm():
    one, other = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    one[5, 5, 5] = other[8, 5, 9] = True
    found = surfaces(one, other, [2.0, 1.0, 0.5])
    assert found.hd95 == found.assd == pytest.approx(np.hypot(3 * 2.0, 4 * 0.5))


@given(masks(1))
@settings(max_examples=100, deadline=None)
def test_border_and_box_equal_a_literal_look(pair):
    (mask,) = pair
    assert places(border(mask)) == literal_border(mask)
    box = bounding_box(mask)
    if box is None:
        assert not mask.any()
    else:
        inside = np.array(sorted(places(mask)))
        assert [(side.start, side.stop) for side in box] == list(zip(inside.min(0), inside.max(0) + 1, strict=True))


def flooded(mask: np.ndarray) -> list[set]:
    """Parts that hang together by a corner, by flooding."""
    left, parts = places(mask), []
    while left:
        edge, part = [min(left)], set()
        while edge:
            place = edge.pop()
            if place in left:
                left.remove(place)
                part.add(place)
                edge += [tuple(np.add(place, step)) for step in product((-1, 0, 1), repeat=mask.ndim)]
        parts.append(part)
    return parts


@given(masks(1))
@settings(max_examples=60, deadline=None)
def test_largest_part_equals_flooding(pair):
    (mask,) = pair
    kept = places(largest_part(mask))
    parts = flooded(mask)
    if not parts:
        assert kept == set()
    else:
        assert kept in parts
        assert len(kept) == max(len(part) for part in parts)


def test_keep_largest_cleans_only_the_classes_named():
    labels = np.zeros((8, 12), np.uint8)
    labels[1:4, 1:4], labels[6, 6] = 1, 1
    labels[1:3, 8:11], labels[6, 10] = 2, 2
    done = keep_largest(labels, [1])
    assert done[6, 6] == 0
    assert done[6, 10] == 2
    assert (labels == 1).sum() == 10, "the input is left as it was"
    assert (done == 1).sum() == 9
    assert keep_largest(labels, []) is labels
