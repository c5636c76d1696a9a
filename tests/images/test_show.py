"""Pictures of cases: the right slice, both outlines, the same text each time."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from galenic.core.errors import GeometryError, MissingExtra
from galenic.images.show import PREDICTED_COLOUR, TRUE_COLOUR, show
from galenic.values import Geometry, Image, Mask


def case(shape=(6, 30, 40), known=True):
    rng = np.random.default_rng(0)
    geometry = Geometry.plain(len(shape), 1.0 if known else None)
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(size // 2, size // 2 + 2 + size // 8) for size in shape)] = 1
    image = Image(rng.normal(size=(1, *shape)).astype(np.float32), geometry)
    return image, Mask(label, geometry, {1: "organ"})


def colours(svg: str) -> set[str]:
    return {found.lower() for found in re.findall(r"#[0-9a-fA-F]{6}", svg)}


def raster(svg: str) -> np.ndarray:
    pil = pytest.importorskip("PIL.Image")
    data = re.search(r"base64,([^\"]+)\"", svg, re.DOTALL)[1]
    return np.asarray(pil.open(io.BytesIO(base64.b64decode(data))))


def test_svg_has_both_outlines_and_a_legend():
    image, truth = case()
    predicted = Mask(np.roll(truth.array, 2, 2), truth.geometry, truth.names)
    svg = show(image, truth, predicted)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg.startswith("<svg")
    assert {TRUE_COLOUR.lower(), PREDICTED_COLOUR.lower()} <= colours(svg)
    assert ">true<" in svg
    assert ">predicted<" in svg
    alone = show(image, truth)
    assert PREDICTED_COLOUR.lower() not in colours(alone)
    assert "predicted" not in alone
    assert TRUE_COLOUR.lower() not in colours(show(image))


def test_the_same_input_gives_the_same_text_and_nothing_global_changes():
    matplotlib = pytest.importorskip("matplotlib")
    image, truth = case()
    before = dict(matplotlib.rcParams)
    assert show(image, truth, truth) == show(image, truth, truth)
    assert dict(matplotlib.rcParams) == before
    assert not re.search(r"\d{4}-\d\d-\d\dT", show(image)), "no date"


def test_the_slice_with_most_truth_is_shown():
    image, truth = case()
    label = truth.array.copy()
    label[4, 2:20, 2:20] = 1
    fuller = Mask(label, truth.geometry, truth.names)
    assert "slice 5 of 6" in show(image, fuller, truth)
    assert "slice 4 of 6" in show(image, None, truth)
    assert "slice 4 of 6" in show(image)
    assert "slice 2 of 6" in show(image, fuller, slice=1)
    assert "(none here)" in show(image, fuller, slice=0)
    with pytest.raises(GeometryError, match="6 slices"):
        show(image, slice=6)


def test_the_raster_is_the_slice():
    shape = (3, 20, 24)
    array = np.zeros((1, *shape), np.float32)
    array[0, 1, :, 12:] = 1.0
    image = Image(array, Geometry.plain(3, 1.0))
    seen = raster(show(image, slice=1))
    assert seen.shape[:2] == (20, 24)
    left, right = seen[:, :12, 0], seen[:, 12:, 0]
    assert {int(left.max()), int(right.min())} == {0, 255}


def test_large_pictures_have_a_small_raster():
    rng = np.random.default_rng(0)
    image = Image(rng.integers(0, 255, (3, 1000, 1400)).astype(np.uint8), Geometry.plain(2))
    label = np.zeros((1000, 1400), np.uint8)
    label[:30, :40] = 1  # touches the rim
    svg = show(image, Mask(label, Geometry.plain(2)))
    assert max(raster(svg).shape[:2]) <= 384
    assert TRUE_COLOUR.lower() in colours(svg)
    assert "slice" not in svg


def test_another_grid_is_refused():
    _, truth = case()
    other, _ = case((6, 30, 41))
    with pytest.raises(GeometryError, match="true mask"):
        show(other, truth)
    with pytest.raises(GeometryError, match="predicted mask"):
        show(other, None, truth)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"galenic\[report\]"):
        show(case()[0])
