"""Pictures seen whole: one grid for all cases, nothing cut off, sides in proportion; chance that can be replayed."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.contract import Budget, Field
from galenic.core.errors import ValueProblem
from galenic.images import fingerprint, whole
from galenic.images.frame import SPACE
from galenic.images.prepare import inner_grid, prepare_space
from galenic.images.vary import Draw
from galenic.values import Geometry, Image

FIELDS = [Field(name="image", kind="image", columns=["image"])]
SHORT = Budget(seconds=300)
SIDES = st.integers(20, 900)


def picture(shape: tuple[int, ...], spacing: Any = None, modality: str = "", channels: int = 1) -> dict[str, Image]:
    plain = Geometry.plain(len(shape))
    geometry = plain if spacing is None else Geometry(np.array(spacing, float), plain.origin_mm, plain.direction)
    array = np.random.default_rng(0).integers(1, 250, (channels, *shape)).astype(np.uint8)
    return {"image": Image(array, geometry, modality)}


def settled(*cases: dict[str, Image], budget: Budget = SHORT) -> tuple[dict[str, Any], dict[str, str]]:
    total = SPACE.summarise(cases[0], FIELDS)
    for own in cases[1:]:
        total = SPACE.merge(total, SPACE.summarise(own, FIELDS))
    return SPACE.settle(json.loads(json.dumps(total)), FIELDS, budget)


def test_small_pictures_keep_every_pixel() -> None:
    found, reasons = settled(*[picture((28, 28))] * 3)
    assert (found["fit"], found["crop"], found["spacing_mm"], found["masks"]) == ([28, 28], "none", None, {})
    assert "every pixel" in reasons["fit"]
    case = picture((28, 28))
    ready = SPACE.prepare(case, FIELDS, found).arrays["image"]
    own = case["image"].array.astype(np.float64)
    np.testing.assert_allclose(ready, (own - own.mean()) / own.std(), atol=1e-5)
    assert "patch" not in found


def test_a_rim_of_one_value_is_kept_in_small_pictures_and_cut_from_large_ones() -> None:
    for side, crop, content in ((28, "none", 28), (240, "constant", 240 - 2 * 48 + 4)):  # two pixels beside it stay
        case = picture((side, side))
        framed = case["image"].array.copy()
        rim = side // 5
        framed[:, :rim], framed[:, -rim:], framed[:, :, :rim], framed[:, :, -rim:] = 0, 0, 0, 0
        found, _ = settled({"image": dataclasses.replace(case["image"], array=framed)})
        assert (found["crop"], found["median"]) == (crop, [content, content])


@given(SIDES, SIDES, st.sampled_from([60.0, 600.0, 3600.0]))
@settings(max_examples=40, deadline=None)
def test_the_grid_keeps_to_the_budget_and_its_multiples(rows: int, columns: int, seconds: float) -> None:
    found, _ = settled(picture((rows, columns)), budget=Budget(seconds=seconds))
    if max(rows, columns) > fingerprint.SMALL:
        assert math.prod(found["fit"]) <= fingerprint.voxels(2, Budget(seconds=seconds))
        assert all(size % 16 == 0 for size in found["fit"])
    else:
        assert all(0 <= wide - size < 4 for wide, size in zip(found["fit"], (rows, columns), strict=True))


@given(st.tuples(SIDES, SIDES), st.tuples(st.integers(1, 12), st.integers(1, 12)))
@settings(max_examples=60, deadline=None)
def test_any_case_lies_whole_in_the_grid_with_its_sides_in_proportion(shape, sixteens) -> None:
    plan = {"fit": [16 * own for own in sixteens], "spacing_mm": None}
    inner = inner_grid(shape, [1.0, 1.0], plan)
    assert all(size <= wide for size, wide in zip(inner, plan["fit"], strict=True))
    assert any(size == wide for size, wide in zip(inner, plan["fit"], strict=True))  # as large as fits
    zoom = [size / own for size, own in zip(inner, shape, strict=True)]
    error = [0.5 / own for own in shape]  # of rounding to whole pixels
    assert abs(zoom[0] - zoom[1]) <= sum(error) + 1e-9 or 1 in inner


@pytest.mark.parametrize("shape", [(40, 100), (300, 70), (500, 500)])
def test_every_case_comes_out_on_the_same_grid_padded_with_its_mean(shape: tuple[int, int]) -> None:
    found, _ = settled(*[picture((200, 300))] * 3)
    ready = SPACE.prepare(picture(shape), FIELDS, found)
    array = ready.arrays["image"]
    assert list(array.shape) == [1, *found["fit"]]
    inner = ready.facts["space"]["grid"]
    starts = [(wide - size) // 2 for wide, size in zip(found["fit"], inner, strict=True)]
    content = array[0, starts[0] : starts[0] + inner[0], starts[1] : starts[1] + inner[1]]
    assert abs(float(content.mean())) < 1e-4
    assert float(content.std()) == pytest.approx(1, abs=1e-3)
    assert float(np.abs(array).sum()) == pytest.approx(float(np.abs(content).sum()), rel=1e-5)


def test_volumes_keep_one_spacing_and_only_the_largest_are_shrunk() -> None:
    """A lesion of 1 cm is as many voxels wide in each scan: its size must stay to be seen."""
    cases = [picture((40, 60, 60), (2.0, 1.0, 1.0), "MR") for _ in range(9)]
    found, _ = settled(*cases, picture((80, 120, 120), (2.0, 1.0, 1.0), "MR"))
    assert found["spacing_mm"][0] == 2.0
    assert found["spacing_mm"][1] == found["spacing_mm"][2] >= 1.0
    assert all(size % 8 == 0 for size in found["fit"])
    assert math.prod(found["fit"]) <= fingerprint.voxels(3, SHORT)
    usual = inner_grid((40, 60, 60), (2.0, 1.0, 1.0), found)
    fine = inner_grid((80, 120, 120), (1.0, 0.5, 0.5), found)
    assert usual == fine
    large = inner_grid((80, 120, 120), (2.0, 1.0, 1.0), found)
    assert all(size <= wide for size, wide in zip(large, found["fit"], strict=True))
    assert any(size == wide for size, wide in zip(large, found["fit"], strict=True))


def test_a_large_volume_is_made_coarser_along_its_fine_axes_first() -> None:
    found, _ = settled(picture((30, 256, 256), (5.0, 0.7, 0.7), "MR"))
    assert found["spacing_mm"][0] == 5.0
    assert 0.7 < found["spacing_mm"][1] < 5.0
    assert math.prod(found["fit"]) <= fingerprint.voxels(3, SHORT)


@pytest.mark.parametrize(("modality", "flips"), [("US", [1]), ("XR", [1]), ("OP", [0, 1]), ("", [0, 1])])
def test_a_body_is_mirrored_left_right_alone(modality: str, flips: list[int]) -> None:
    found, reasons = settled(picture((100, 100), modality=modality))
    assert found["augment"]["flips"] == flips
    assert "mirrored" in reasons["augment"]


def test_colour_keeps_its_channels_and_ct_its_scale() -> None:
    found, _ = settled(picture((28, 28), channels=3))
    assert found["images"]["image"]["channels"] == 3
    ct = Image(
        np.random.default_rng(0).normal(0, 300, (1, 20, 40, 40)).astype(np.float32), Geometry.plain(3, 1.0), "CT", "HU"
    )
    assert settled({"image": ct})[0]["images"]["image"]["normalise"]["way"] == "percentile"


def test_a_case_without_a_picture_counts_for_nothing_and_has_no_arrays() -> None:
    lacking: dict[str, Any] = {"image": None}
    with_one = SPACE.summarise(picture((30, 40)), FIELDS)
    without = SPACE.summarise(lacking, FIELDS)
    assert SPACE.merge(with_one, without) == SPACE.merge(without, with_one) == with_one
    with pytest.raises(ValueProblem, match="no training case has a picture"):
        SPACE.settle(SPACE.merge(without, without), FIELDS, SHORT)
    plan, _ = SPACE.settle(with_one, FIELDS, SHORT)
    ready = SPACE.prepare(lacking, FIELDS, plan)
    assert ready.arrays == {}
    draw = SPACE.draw(np.random.default_rng(0), ready, plan)
    assert SPACE.apply(ready, draw, plan) == SPACE.whole(ready, plan) == {}


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_draw_is_plain_data_replays_and_keeps_the_picture_in_sight(seed: int) -> None:
    plan, _ = settled(picture((100, 120)))
    ready = SPACE.prepare(picture((100, 120)), FIELDS, plan)
    draw = SPACE.draw(np.random.default_rng(seed), ready, plan)
    again = Draw(**json.loads(json.dumps(dataclasses.asdict(draw))))
    one, two = (SPACE.apply(ready, own, plan)["image"] for own in (draw, again))
    assert torch.equal(one, two)
    assert list(one.shape) == [1, *plan["fit"]]
    assert torch.isfinite(one).all()
    for centre, size in zip(draw.centre, plan["fit"], strict=True):
        assert abs(centre - size / 2) <= plan["augment"]["shift"] * size
    assert all(abs(angle) <= math.radians(plan["augment"]["degrees"]) for angle in draw.angles)


@pytest.mark.parametrize("shape", [(28, 28), (100, 120), (20, 24, 28)])
def test_without_chance_the_picture_is_as_prepared(shape: tuple[int, ...]) -> None:
    plan, _ = settled(picture(shape, modality="MR"))
    ready = prepare_space(picture(shape), plan)
    assert torch.equal(SPACE.whole(ready, plan)["image"], torch.from_numpy(ready.arrays["image"]))
    assert whole.plain(plan).centre == tuple(size / 2 for size in plan["fit"])
