"""A large volume is answered slab by slab: the same labels as from whole probabilities, in a fraction of the memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import galenic
from galenic.core import runtime
from galenic.core.contract import Field, Prepared
from galenic.core.errors import PlanError
from galenic.images import dense, rules, strongest
from galenic.images.answers import strongest as strongest_of
from galenic.images.answers import to_answer
from galenic.images.kinds import MASK
from galenic.images.prepare import prepare_space, resample
from galenic.images.tile import Slab
from galenic.values import Geometry, Image


class Pointwise:
    """Logits of each voxel by its own value and its place in the tile."""

    def __init__(self, classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        slope = np.linspace(-2, 2, classes) + rng.normal(0, 0.2, classes)  # each class wins at some value
        self.slope, self.base = (own.astype(np.float32)[:, None, None, None] for own in (slope, 0.3 * (4 - slope**2)))

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        tile = arrays[0][:, :1]
        return (
            (self.base + self.slope * tile) * np.linspace(0.9, 1.1, tile.shape[2], dtype=np.float32)[:, None, None],
        )


def space(classes: int, patch: list[int]) -> dict[str, Any]:
    names = {str(value): f"class {value}" for value in range(1, classes)}
    return {
        "space": {
            "dims": 3, "patch": patch, "crop": "none", "masks": {"organ": {"classes": names}},
            "images": {"image": {"channels": 1, "normalise": {"way": "z-score"}}},
        }
    }  # fmt: skip


def case(shape: tuple[int, ...], inner: tuple[int, ...], seed: int = 0) -> Prepared:
    """Noise on waves long enough to outlast an averaging, so that several classes win somewhere."""
    waves = 2 * np.sin(np.indices(shape).sum(0) / 5)
    image = (waves + np.random.default_rng(seed).normal(size=shape))[None].astype(np.float32)
    return Prepared({"image": image}, {"space": {"crop": [[0, size] for size in inner]}})


def both_ways(monkeypatch, runs: list, prepared: Prepared, frames: dict, settings: dict) -> tuple[Any, np.ndarray]:
    """Streamed, and whole probabilities."""
    found = []
    for most in (0, 1 << 40):
        monkeypatch.setattr(dense, "WHOLE_BYTES", most)
        found.append(dense.infer_mean(runs, prepared, frames, settings)["organ"])
    assert isinstance(found[0], strongest.Strongest)
    assert isinstance(found[1], np.ndarray)
    return found[0], found[1]


def assert_strongest(labels: np.ndarray, shares: np.ndarray) -> None:
    """Labels are the strongest class of shares [K, *space]; where two are as good as equal either may win."""
    assert labels.dtype == np.uint8
    won = np.take_along_axis(shares, labels[None].astype(np.int64), 0)[0]
    assert (won >= shares.max(0) - 1e-5).all()


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("inner", [(20, 24, 28), (41, 30, 28), (20, 60, 28), (15, 20, 25), (9, 24, 28), (60, 10, 28)])
@pytest.mark.parametrize("members", [1, 3])
def test_streamed_labels_are_those_of_whole_probabilities(monkeypatch, classes, inner, members):
    runs = [Pointwise(classes, seed) for seed in range(members)]
    prepared, frames = case((20, 24, 28), inner), space(classes, [8, 12, 16])
    streamed, whole = both_ways(monkeypatch, runs, prepared, frames, {"overlap": 0.25, "mirror": [0]})
    assert streamed.classes == classes
    assert streamed.finite
    assert_strongest(streamed.labels, whole)
    assert streamed.inner.shape == inner
    assert_strongest(streamed.inner, resample(whole, inner))
    assert len(np.unique(streamed.inner)) > 1


SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=80, deadline=None)
@given(SIZES, st.tuples(*[st.integers(1, 15)] * 3), st.integers(2, 4), st.integers(1, 4), st.integers(0, 99))
def test_rows_are_mixed_as_a_whole_volume_is_resampled(shape, inner, classes, deep, seed):
    shares = np.random.default_rng(seed).dirichlet(np.ones(classes), shape).astype(np.float32)
    shares = np.ascontiguousarray(np.moveaxis(shares, -1, 0))
    stops = [*range(deep, shape[0], deep), shape[0]]
    slabs = [Slab(start, stop, shares[:, start:stop]) for start, stop in zip([0, *stops], stops, strict=False)]
    found = strongest.from_slabs(slabs, classes=classes, shape=shape, inner=inner)
    assert_strongest(found.labels, shares)
    assert_strongest(found.inner, resample(shares, inner))


def test_a_large_volume_never_stands_whole_in_memory(monkeypatch):
    """160^3 voxels of 8 classes: 131 MB of probabilities, which is more than is kept by default."""
    size, classes = 160, 8
    prepared, frames, run = case((size,) * 3, (size,) * 3), space(classes, [32] * 3), Pointwise(classes)
    whole = 4 * classes * size**3
    assert whole > dense.WHOLE_BYTES
    slabs: list[int] = []

    def watched(*given: Any, **how: Any) -> Any:
        for slab in stream(*given, **how):
            slabs.append(slab.probabilities.nbytes)  # torch's, which tracemalloc does not see
            yield slab

    stream = dense.stream_tiled
    monkeypatch.setattr(dense, "stream_tiled", watched)
    tracemalloc.start()
    try:
        found = dense.infer_mask(run, prepared, frames, {"overlap": 0.25})["organ"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(slabs) > 4
    assert peak + max(slabs) < 0.6 * whole
    assert found.labels.nbytes == size**3
    shares = dense.infer_tiled(run, prepared.arrays["image"], [32] * 3, classes=classes, overlap=0.25)
    np.testing.assert_array_equal(found.labels, shares.argmax(0))


def test_the_answer_lies_on_the_inputs_own_grid(monkeypatch):
    """Axes turned and flipped, a border cropped off, another spacing: the same mask as from whole probabilities."""
    turned = np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]], float)
    geometry = Geometry(np.array([1.0, 2.0, 1.5]), np.zeros(3), turned)
    array = np.random.default_rng(0).normal(size=(1, 18, 22, 26)).astype(np.float32)
    array[:, :4], array[..., 20:] = 0, 0
    array[:, :, 0] = 0
    way = {"dims": 3, "spacing_mm": [1.3, 1.3, 1.3], "crop": "constant", "masks": {}}
    way["images"] = {"image": {"channels": 1, "normalise": {"way": "z-score"}}}
    prepared = prepare_space({"image": Image(array, geometry, modality="MR")}, way)
    assert prepared.facts["space"]["crop"] != [[0, size] for size in prepared.facts["space"]["shape"]]
    field = MASK.check(Field(name="organ", kind="mask", columns=["m"], options={"classes": ["a", "b"]}))
    streamed, whole = both_ways(monkeypatch, [Pointwise(3)], prepared, space(3, [8, 8, 8]), {"overlap": 0.25})
    ours, true = (to_answer(output, prepared, field, {"largest": [1]}).value for output in (streamed, whole))
    assert ours.geometry.close_to(geometry)
    assert (ours.array != true.array).mean() < 1e-4
    assert len(np.unique(ours.array)) == 3
    assert ours.array.dtype == true.array.dtype == np.uint8
    assert strongest_of(streamed, prepared.facts).shape == array.shape[1:]
    one = MASK.check(Field(name="organ", kind="mask", columns=["m"]))
    with pytest.raises(PlanError, match="3 outputs"):
        to_answer(streamed, prepared, one, {})


def test_labels_agree_and_score_as_probabilities_do(monkeypatch):
    prepared, frames = case((12, 12, 12), (12, 12, 12)), space(3, [8, 8, 8])
    one, whole = both_ways(monkeypatch, [Pointwise(3)], prepared, frames, {"overlap": 0.25})
    other, others = both_ways(monkeypatch, [Pointwise(3, 1)], prepared, frames, {"overlap": 0.25})
    assert rules.agree(one, one) == rules.agree(whole, whole) == (1.0, True)
    assert rules.agree(other, one) == rules.agree(others, whole)
    assert not rules.agree(other, one)[1]
    truth = np.argmax(whole, 0).astype(np.uint8)
    truth[:4] = 255
    assert rules.quick_dice([other], [truth]) == rules.quick_dice([others], [truth]) < rules.quick_dice([one], [truth])


def test_labels_of_what_is_not_finite_agree_with_none(monkeypatch):
    def broken(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.full((1, 2, *arrays[0].shape[2:]), np.nan, np.float32),)

    prepared, frames = case((12, 12, 12), (12, 12, 12)), space(2, [8, 8, 8])
    ours, _ = both_ways(monkeypatch, [broken], prepared, frames, {"overlap": 0.25})
    assert not ours.finite
    empty = strongest.Strongest(2, ours.labels, ours.inner)
    assert rules.agree(empty, empty) == (1.0, True)
    assert rules.agree(ours, empty) == (0.0, False)


def test_training_and_scoring_are_the_same_by_labels_alone(monkeypatch, tmp_path):
    """From the validation score to the answer, with every volume streamed."""
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        grid = np.indices((16, 16, 16))
        ball = ((grid - rng.uniform(6, 10, 3)[:, None, None, None]) ** 2).sum(0) < 16
        for name, array in (("i", 100 * ball + rng.normal(0, 20, ball.shape)), ("m", ball)):
            volume = array.astype(np.float32 if name == "i" else np.uint8)
            nib.Nifti1Image(volume, np.diag([1, 1, 1.5, 1])).to_filename(tmp_path / f"{name}{number}.nii.gz")
        rows.append(
            {"id": str(number), "patient": str(number), "image": f"i{number}.nii.gz", "mask": f"m{number}.nii.gz"}
        )
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    monkeypatch.setattr(dense, "WHOLE_BYTES", 0)
    other = runtime.Candidate(runtime="torch", precision="f32", layout="channels_last")
    monkeypatch.setattr(
        runtime, "_candidates", lambda *given: [other]
    )  # exports take seconds, and nothing hangs on them
    how = {"inputs": ["image:image"], "targets": ["mask:mask"], "budget": "12steps", "exact": True}
    model = galenic.train(tmp_path / "cases.csv", device="cpu", out=tmp_path / "model", **how)
    last = json.loads((model.folder / "history.jsonl").read_text().splitlines()[-1])
    assert 0 < last["score"] < 1
    choice = runtime.read_choice(model.folder / "runtime")
    assert choice.candidates[1].agreed or "left out: a call" in choice.candidates[1].note
    scores = [galenic.evaluate(model.folder, tmp_path / "cases.csv")["targets"]]
    monkeypatch.setattr(dense, "WHOLE_BYTES", 1 << 40)
    scores.append(galenic.evaluate(model.folder, tmp_path / "cases.csv")["targets"])
    assert scores[0] == scores[1]
