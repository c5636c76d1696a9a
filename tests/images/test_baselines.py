"""The simple methods: exact where they claim it, the same after saving, refusing what is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from galenic.core.contract import Field, Part, Prepared
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.task import Task
from galenic.images.baselines import FixedDisc, MeanMask, Threshold
from galenic.images.kinds import IMAGE, MASK
from galenic.images.measure import dice


def task(classes: int = 1) -> Task:
    names = [f"class {number}" for number in range(1, classes + 1)]
    return Task(
        name="made",
        inputs=[IMAGE.check(Field(name="image", kind="image", columns=["image"]))],
        targets=[MASK.check(Field(name="label", kind="mask", columns=["label"], options={"classes": names}))],
    )


def part(pairs) -> Part:
    prepared = [Prepared({"image": image, "label": label}) for image, label in pairs]
    return Part([str(at) for at in range(len(prepared))], prepared, [{} for _ in prepared])


def fitted(learner, pairs, classes: int = 1):
    learner.fit(part(pairs), task(classes), {}, 0)
    return learner


def answer(learner, image) -> np.ndarray:
    output = learner.infer(Prepared({"image": image}))["label"]
    assert output.dtype == np.float32
    assert (output.sum(0) == 1).all()
    return output.argmax(0)


def noisy(rng, levels, shape=(40, 40)):
    label = rng.integers(0, len(levels), shape).astype(np.uint8)
    image = (np.array(levels)[label] + rng.normal(0, 0.4, shape)).astype(np.float32)[None]
    return image, label


def test_threshold_of_one_class_is_the_best_pair_of_cuts():
    rng = np.random.default_rng(3)
    pairs = [noisy(rng, [0.0, 1.0]) for _ in range(3)]
    pairs = [(image + 1.5 * (image > 1.6), label) for image, label in pairs]
    learner = fitted(Threshold(), pairs)
    ours = dice(np.stack([answer(learner, image) for image, _ in pairs]), np.stack([label for _, label in pairs]))
    values = np.concatenate([image.ravel() for image, _ in pairs])
    truth = np.concatenate([label.ravel() for _, label in pairs])
    cuts = np.linspace(values.min(), values.max() + 1e-3, 60)
    best = max(dice((values >= low) & (values < high), truth) for low in cuts for high in cuts if low < high)
    assert ours >= best - 0.002
    assert ours > 0.8


def test_threshold_finds_a_band_below_and_above_which_lies_background():
    rng = np.random.default_rng(0)
    image = rng.uniform(-3, 3, (1, 50, 50)).astype(np.float32)
    label = ((image[0] > 0.5) & (image[0] < 1.5)).astype(np.uint8)
    learner = fitted(Threshold(), [(image, label)])
    assert dice(answer(learner, image), label) > 0.98
    extreme = np.array([[[-99.0, 1.0, 99.0]]], np.float32)
    assert answer(learner, extreme).tolist() == [[0, 1, 0]]


def test_threshold_of_several_classes_is_the_best_ordered_cuts():
    rng = np.random.default_rng(5)
    pairs = [noisy(rng, [-2.0, 3.0, 0.5, 1.6]) for _ in range(2)]  # class 1 is the brightest
    learner = fitted(Threshold(), pairs, 3)
    ours, truth = np.stack([answer(learner, image) for image, _ in pairs]), np.stack([label for _, label in pairs])
    ours_dice = [dice(ours == number, truth == number) for number in (1, 2, 3)]
    assert min(ours_dice) > 0.75
    # any other ordered cuts on a coarse grid are no better in sum
    values = np.stack([image[0] for image, _ in pairs])
    grid = np.linspace(-1.5, 3.5, 26)
    best = max(
        sum(dice((values >= low) & (values < high), truth == number)
            for number, low, high in ((2, a, b), (3, b, c), (1, c, np.inf)))
        for a in grid for b in grid[grid > a] for c in grid[grid > b]
    )  # fmt: skip
    assert sum(ours_dice) >= best - 0.01


def test_threshold_takes_the_channel_that_tells_and_leaves_unknown_voxels_out():
    rng = np.random.default_rng(7)
    image, label = noisy(rng, [0.0, 3.0])
    both = np.concatenate([rng.normal(size=image.shape).astype(np.float32), image])
    unknown = label.copy()
    unknown[:20] = 255
    learner = fitted(Threshold(), [(both, unknown)])
    assert learner.states["label"]["channel"] == 1
    assert dice(answer(learner, both), label) > 0.99


def test_threshold_of_a_class_that_is_never_there_marks_nothing():
    rng = np.random.default_rng(8)
    image, label = noisy(rng, [0.0, 3.0])
    learner = fitted(Threshold(), [(image, label)], 2)
    assert set(np.unique(answer(learner, image))) == {0, 1}


@pytest.mark.parametrize("shape", [(40, 56), (16, 24, 20)])
def test_mean_mask_learns_where_it_is_and_carries_it_to_other_grids(shape):
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(size // 4, size // 2) for size in shape)] = 1
    label[tuple(slice(size // 2, 3 * size // 4) for size in shape)] = 2
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(1, *shape)).astype(np.float32), np.roll(label, step, 0)) for step in (-1, 0, 1)]
    learner = fitted(MeanMask(), pairs, 2)
    found = answer(learner, pairs[1][0])
    assert min(dice(found == number, label == number) for number in (1, 2)) > 0.8
    double = np.kron(label, np.ones((2,) * len(shape), np.uint8))
    found = answer(learner, np.zeros((1, *double.shape), np.float32))
    assert min(dice(found == number, double == number) for number in (1, 2)) > 0.75


def test_mean_mask_level_is_the_best_of_all_levels():
    rng = np.random.default_rng(9)
    centres = rng.normal(32, 5, (12, 2))
    grid = np.indices((64, 64))
    labels = [((grid - centre[:, None, None]) ** 2).sum(0) < 150 for centre in centres]
    pairs = [(np.zeros((1, 64, 64), np.float32), label.astype(np.uint8)) for label in labels]
    learner = fitted(MeanMask(), pairs)
    mean = np.mean(labels, 0)
    truth = np.stack(labels)
    dices = [dice(np.broadcast_to(mean >= level, truth.shape), truth) for level in np.arange(1, 13) / 12 - 1e-6]
    found = answer(learner, pairs[0][0])
    assert dice(np.broadcast_to(found == 1, truth.shape), truth) == pytest.approx(max(dices), abs=1e-9)


@pytest.mark.parametrize(("shape", "radius"), [((64, 64), 6.0), ((21, 33), 4.5), ((20, 20, 20), 5.0)])
def test_disc_finds_its_radius(shape, radius):
    middle = [size // 2 for size in shape]
    far = np.sqrt(sum((axis - centre) ** 2 for axis, centre in zip(np.indices(shape), middle, strict=True)))
    label = (far <= radius).astype(np.uint8)
    learner = fitted(FixedDisc(), [(np.zeros((1, *shape), np.float32), label)])
    assert learner.states["label"]["dice"] == pytest.approx(1.0)
    assert (answer(learner, np.zeros((1, *shape), np.float32)) == label).all()


def test_disc_takes_the_best_mean_dice_of_all_radii():
    rng = np.random.default_rng(4)
    grid = np.indices((48, 48))
    labels = [((grid - 24) ** 2).sum(0) < rng.uniform(9, 200) for _ in range(6)]
    learner = fitted(FixedDisc(), [(np.zeros((1, 48, 48), np.float32), label.astype(np.uint8)) for label in labels])
    far = np.sqrt(((grid - 24) ** 2).sum(0))
    means = [np.mean([dice(far <= radius, label) for label in labels]) for radius in np.arange(0.5, 34, 0.5)]
    assert learner.states["label"]["dice"] == pytest.approx(max(means))


@pytest.mark.parametrize("kind", [Threshold, MeanMask, FixedDisc])
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    rng = np.random.default_rng(6)
    classes = 1 if kind is FixedDisc else 2
    pairs = [noisy(rng, [0.0, 2.0, 4.0][: classes + 1]) for _ in range(2)]
    learner = fitted(kind(), pairs, classes)
    learner.save(tmp_path)
    again = kind()
    again.load(tmp_path, task(classes), {})
    image = pairs[0][0]
    assert (answer(learner, image) == answer(again, image)).all()
    twice = fitted(kind(), pairs, classes)
    assert (answer(twice, image) == answer(learner, image)).all()


@pytest.mark.parametrize("kind", [Threshold, MeanMask, FixedDisc])
def test_a_damaged_or_foreign_state_is_refused(kind, tmp_path):
    rng = np.random.default_rng(6)
    learner = fitted(kind(), [noisy(rng, [0.0, 2.0])])
    learner.save(tmp_path)
    whole = (tmp_path / "state.json").read_text()
    for text in ("", "[]", "{}", whole[:20], json.dumps(json.loads(whole) | {"learner": "other"})):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(ModelFolderError):
            kind().load(tmp_path, task(), {})
    (tmp_path / "state.json").write_text(whole)
    if kind is not FixedDisc:
        with pytest.raises(ModelFolderError):
            kind().load(tmp_path, task(3), {})
    arrays = tmp_path / "state.safetensors"
    if arrays.exists():
        arrays.write_bytes(arrays.read_bytes()[:-5])
        with pytest.raises(ModelFolderError):
            kind().load(tmp_path, task(), {})


@pytest.mark.parametrize("kind", [Threshold, MeanMask, FixedDisc])
def test_fits_says_why_not(kind):
    number = Field(name="age", kind="number", columns=["age"])
    own = task()
    assert kind().fits(own) == ""
    assert "age" in kind().fits(own.model_copy(update={"targets": [number]}))
    assert "image" in kind().fits(own.model_copy(update={"inputs": [number]}))
    empty = Part(["1"], [Prepared({"image": np.zeros((1, 4, 4), np.float32)})], [{}])
    with pytest.raises(ValueProblem, match="label"):
        kind().fit(empty, own, {}, 0)


@pytest.mark.shared
def test_disc_reproduces_the_published_figure_of_the_nodule_set(shared_data):
    pil = pytest.importorskip("PIL.Image")
    root = shared_data / "lidc-nodule-slices" / "LIDC-IDRI-slices"
    pairs = []
    for picture in sorted(root.glob("*/nodule-*/images/*.png")):
        raters = [picture.parent.parent / f"mask-{number}" / picture.name for number in range(4)]
        marked = [np.asarray(pil.open(path)) > 0 for path in raters if path.exists()]
        if sum(own.any() for own in marked) >= 3:
            label = (np.sum(marked, axis=0) >= 2).astype(np.uint8)
            pairs.append((np.zeros((1, *label.shape), np.float32), label))
    assert len(pairs) == 542
    learner = fitted(FixedDisc(), pairs)
    assert learner.states["label"]["radius"] == 5.5
    learner.states["label"]["radius"] = 6.0
    assert np.mean([dice(answer(learner, image), label) for image, label in pairs]) == pytest.approx(0.527, abs=5e-4)
