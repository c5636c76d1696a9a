"""The fingerprint: mergeable pieces, bounded, and the decisions taken from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core import registry
from galenic.core.contract import Budget, Field
from galenic.core.errors import ValueProblem
from galenic.images import fingerprint
from galenic.values import Geometry, Image, Mask

IMAGE = Field(name="image", kind="image", columns=["image"])
LABEL = registry.kind("mask").check(
    Field(name="label", kind="mask", columns=["label"], options={"classes": {"1": "one", "2": "two"}})
)
FIELDS = [IMAGE, LABEL]


def case(shape: tuple[int, ...] = (20, 24, 28), *, unit: str = "", spacing: float | None = 1.0, second: bool = True,
         seed: int = 0) -> dict[str, object]:  # fmt: skip
    rng = np.random.default_rng(seed)
    geometry = Geometry.plain(len(shape), spacing)
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(4, 10) for _ in shape)] = 1
    if second:
        label[tuple(slice(11, 15) for _ in shape)] = 2
    array = rng.normal(40, 60, (1, *shape)).astype(np.float32)
    names = {1: "one", 2: "two"}
    return {"image": Image(array, geometry, "CT" if unit else "MR", unit), "label": Mask(label, geometry, names)}


def summary(*cases: dict[str, object]) -> dict[str, object]:
    total = None
    for own in cases:
        one = fingerprint.summarise(own, FIELDS)
        total = one if total is None else fingerprint.merge(total, one)
    assert total is not None
    return total


@given(st.lists(st.integers(0, 9), min_size=3, max_size=3, unique=True))
@settings(max_examples=10, deadline=None)
def test_merging_is_associative_commutative_and_json(seeds: list[int]) -> None:
    one, two, three = (fingerprint.summarise(case((18 + s, 20, 22), unit="HU", seed=s), FIELDS) for s in seeds)
    left = fingerprint.merge(fingerprint.merge(one, two), three)
    right = fingerprint.merge(one, fingerprint.merge(three, two))
    assert sorted(map(str, left["shapes"][0].items())) == sorted(map(str, right["shapes"][0].items()))
    assert left["images"] == right["images"]
    assert left["cases"] == 3
    for name in ("1", "2"):
        for key in ("cases", "voxels", "extent", "thick"):
            ours, theirs = (own["masks"]["label"]["classes"][name][key] for own in (left, right))
            assert ours == pytest.approx(theirs)
    assert json.loads(json.dumps(left)) == left


def test_ct_is_scaled_by_the_foreground_and_cropped_to_the_body() -> None:
    own = case(unit="HU")
    settled, reasons = fingerprint.settle(summary(own), FIELDS, Budget(seconds=300))
    way = settled["images"]["image"]["normalise"]
    image, label = own["image"], own["label"]
    inside = image.array[:, label.array > 0]  # type: ignore[union-attr,attr-defined]
    assert way["way"] == "percentile"
    assert way["mean"] == pytest.approx(float(inside.mean()), abs=6)
    assert way["low"] == pytest.approx(float(np.percentile(inside, 0.5)), abs=20)
    assert settled["crop"] == "body"
    assert reasons["crop"]


def test_mri_is_scaled_by_itself_and_the_patch_holds_a_small_case() -> None:
    settled, _ = fingerprint.settle(summary(case(), case(seed=1)), FIELDS, Budget(seconds=300))
    assert settled["images"]["image"]["normalise"] == {"way": "z-score"}
    assert settled["patch"] == [24, 24, 32]
    assert settled["spacing_mm"] == [1.0, 1.0, 1.0]
    assert settled["masks"]["label"]["classes"] == {"1": "one", "2": "two"}


@pytest.mark.parametrize("seconds", [60, 600, 3600, 36000])
@pytest.mark.parametrize("shape", [(300, 512, 512), (40, 400, 400), (1000, 1000)])
def test_a_patch_keeps_to_the_voxels_of_its_budget(shape: tuple[int, ...], seconds: float) -> None:
    sizes = [float(size) for size in shape]
    patch = fingerprint._patch(sizes, sizes, None, Budget(seconds=seconds), {})
    assert np.prod(patch) <= fingerprint.voxels(len(shape), Budget(seconds=seconds))
    assert all(size % (16 if len(shape) == 2 else 8) == 0 for size in patch)


def test_large_pictures_of_large_things_are_shrunk_and_thin_ones_are_not() -> None:
    def picture(thin: bool) -> dict[str, object]:
        geometry = Geometry.plain(2)
        label = np.zeros((512, 512), np.uint8)
        if thin:
            label[::40, :] = 1
        else:
            label[100:400, 100:400] = 1
        array = np.random.default_rng(0).normal(size=(1, 512, 512)).astype(np.float32)
        return {"image": Image(array, geometry, "XR"), "label": Mask(label, geometry, {1: "one"})}

    field = registry.kind("mask").check(Field(name="label", kind="mask", columns=["label"]))
    for thin, shrink in ((False, 3.2), (True, 1.0)):
        own = fingerprint.summarise(picture(thin), [IMAGE, field])
        settled, _ = fingerprint.settle(own, [IMAGE, field], Budget(seconds=300))
        assert settled["shrink"] == shrink
        assert settled["augment"]["flips"] == [1]  # an X-ray is not turned upside down
        assert settled["augment"]["light"] == settled["augment"]["gamma"] == 0.5  # and its grey has no scale


def test_thickness_is_a_vessels_width_and_a_discs_radius() -> None:
    vessel = np.zeros((100, 100), bool)
    vessel[40:45, :] = True
    rows, columns = np.ogrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 60**2
    assert fingerprint.thickness(vessel) == pytest.approx(5, abs=0.5)
    assert fingerprint.thickness(disc) == pytest.approx(60 * np.pi / 4, rel=0.05)  # city-block surface is 4/pi longer


def test_an_empty_class_is_refused_by_name() -> None:
    with pytest.raises(ValueProblem, match="two"):
        fingerprint.settle(summary(case(second=False)), FIELDS, Budget(seconds=300))


def test_pictures_and_volumes_in_one_column_are_refused() -> None:
    one, two = fingerprint.summarise(case(), FIELDS), fingerprint.summarise(case((20, 24)), FIELDS)
    with pytest.raises(ValueProblem, match="2D"):
        fingerprint.merge(one, two)


def test_grey_and_colour_in_one_column_are_refused() -> None:
    grey = case((20, 24))
    colour = dict(grey)
    image = grey["image"]
    colour["image"] = Image(np.repeat(image.array, 3, axis=0), image.geometry)  # type: ignore[attr-defined]
    with pytest.raises(ValueProblem, match="channels"):
        fingerprint.merge(fingerprint.summarise(grey, FIELDS), fingerprint.summarise(colour, FIELDS))


def test_a_thick_axis_keeps_its_spacing_from_the_finer_scans() -> None:
    totals = []
    for thick in (5.0, 5.0, 2.0):
        own = case()
        geometry = Geometry(np.array([thick, 1.0, 1.0]), np.zeros(3), np.eye(3)[:, ::-1])
        totals.append(fingerprint.summarise({
            "image": Image(own["image"].array, geometry, "MR"), "label": Mask(own["label"].array, geometry)  # type: ignore[attr-defined]
        }, FIELDS))  # fmt: skip
    merged = fingerprint.merge(fingerprint.merge(totals[0], totals[1]), totals[2])
    spacing, _ = fingerprint._spacing(merged, Budget(seconds=300), {})
    assert spacing == [2.0, 1.0, 1.0]
