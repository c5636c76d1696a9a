"""The door: options, loss, answers on the input's own grid, scores, parity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from galenic.core.contract import Answer, Field, Prepared
from galenic.core.errors import GeometryError, PlanError, TaskError
from galenic.images.kinds import IMAGE, MASK
from galenic.images.measure import dice
from galenic.images.prepare import prepare_space, resample, turn
from galenic.values import Geometry, Image, Mask


def field(*names, **options) -> Field:
    own = {"classes": list(names)} if names else {}
    return MASK.check(Field(name="organ", kind="mask", columns=["label"], options={**own, **options}))


def literal_loss(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The definition, case by case and class by class, in double precision."""
    done = []
    for logits, labels in zip(output.double(), truth, strict=True):
        known = labels != 255
        if not known.any():
            done.append(logits.sum() * 0)
            continue
        picked, labels = logits[:, known], labels[known].long()
        if len(logits) == 1:
            entropy = functional.binary_cross_entropy_with_logits(picked[0], labels.double())
            shares = {1: picked[0].sigmoid()}
        else:
            entropy = functional.cross_entropy(picked.T, labels)
            shares = dict(enumerate(picked.softmax(0)))
            del shares[0]
        dices = [
            (2 * (share * (labels == number)).sum() + 1) / (share.sum() + (labels == number).sum() + 1)
            for number, share in shares.items()
        ]
        done.append(entropy + 1 - torch.stack(dices).mean())
    return torch.stack(done)


@given(
    channels=st.integers(1, 5), cases=st.integers(1, 3), space=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    unknown=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_loss_and_its_gradient_equal_the_definition(channels, cases, space, unknown, seed):
    torch.manual_seed(seed)
    output = 3 * torch.randn(cases, channels, *space)
    truth = torch.randint(0, max(channels, 2), (cases, *space), dtype=torch.uint8)
    truth[torch.rand(truth.shape) < unknown] = 255
    ours, theirs = output.clone().requires_grad_(), output.clone().requires_grad_()
    loss, wanted = MASK.loss(ours, truth, field(), {}), literal_loss(theirs, truth)
    assert loss.shape == (cases,)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss.double(), wanted, atol=1e-5)
    loss.sum().backward()
    wanted.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad.float(), atol=1e-5)


def test_loss_in_bfloat16_is_taken_in_float32():
    output = torch.randn(2, 3, 8, 8).bfloat16()
    truth = torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    loss = MASK.loss(output, truth, field(), {})
    assert loss.dtype == torch.float32
    assert torch.allclose(loss.double(), literal_loss(output.float(), truth), atol=1e-5)


def test_loss_of_a_perfect_answer_is_nothing_and_of_an_unknown_case_exactly_zero():
    truth = torch.randint(0, 3, (2, 12, 12), dtype=torch.uint8)
    perfect = 40.0 * functional.one_hot(truth.long(), 3).movedim(-1, 1).float()
    assert MASK.loss(perfect, truth, field(), {}).max() < 1e-4
    truth[1] = 255
    assert MASK.loss(perfect, truth, field(), {})[1] == 0
    assert MASK.loss(-perfect, truth, field(), {})[0] > 10


def test_options_are_completed_and_checking_again_changes_nothing():
    plain = field()
    assert plain.options == {
        "classes": {"1": "organ"}, "values": [1], "nonzero": False, "union": False, "agreed": None,
    }  # fmt: skip
    odd = field(classes={"0": "background", "40": "b", "7": "a"})
    assert odd.options["classes"] == {"1": "a", "2": "b"}
    assert odd.options["values"] == [7, 40]
    for own in (plain, odd, field("a", "b"), field("a", nonzero=True)):
        assert MASK.check(own) == own
        told = own.model_copy(update={"options": {k: v for k, v in own.options.items() if v is not None}})
        assert MASK.check(told) == own, "TOML has no null"
    scan = IMAGE.check(Field(name="scan", kind="image", columns=["a"], options={"modality": "ct", "window": [-5, 9.5]}))
    assert scan.options == {"modality": "CT", "channels": None, "window": [-5, 9.5]}
    assert IMAGE.check(scan) == scan


@pytest.mark.parametrize(
    "options",
    [
        {"classes": {}}, {"classes": []}, {"classes": {"a": "b"}}, {"classes": ["x", "x"]}, {"classes": ["x", ""]},
        {"classes": {"-1": "x"}}, {"classes": "x"}, {"classes": ["x", "y"], "nonzero": True}, {"nonzero": 1},
        {"classes": ["x", "y"], "union": True}, {"agreed": 0}, {"agreed": 2}, {"agreed": True}, {"colour": "red"},
        {"classes": ["x"], "values": [0]}, {"classes": ["x"], "values": [1, 2]}, {"values": [True]},
        {"classes": [f"c{n}" for n in range(300)]},
    ],
)  # fmt: skip
def test_wrong_mask_options(options):
    with pytest.raises(TaskError):
        MASK.check(Field(name="organ", kind="mask", columns=["label"], options=options))


@pytest.mark.parametrize(
    "options",
    [{"window": [3, 3]}, {"window": [1]}, {"window": ["a", "b"]}, {"window": [0, math.inf]}, {"channels": []},
     {"channels": ["a", "a"]}, {"modality": ""}, {"modality": 3}, {"spacing": 1}],
)  # fmt: skip
def test_wrong_image_options(options):
    with pytest.raises(TaskError):
        IMAGE.check(Field(name="scan", kind="image", columns=["image"], options=options))


def test_several_columns_of_masks_need_agreed():
    with pytest.raises(TaskError, match="agreed"):
        MASK.check(Field(name="organ", kind="mask", columns=["a", "b"]))
    with pytest.raises(TaskError, match="no column"):
        MASK.check(Field(name="organ", kind="mask", columns=[]))


def test_head_says_what_fits():
    with pytest.raises(TaskError, match="dense network"):
        MASK.head(field(), 8, {})


def test_features_are_plain_numbers():
    array = np.stack([np.arange(10000.0).reshape(100, 100), np.full((100, 100), 3.0)]).astype(np.float32)
    found = IMAGE.features(array, field(), {})
    assert found.shape == (18,)
    assert found[:9] == pytest.approx([*np.quantile(array[0], [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]),
                                       array[0].mean(), array[0].std()], rel=1e-4)  # fmt: skip
    assert found[9:] == pytest.approx([3.0] * 8 + [0.0], abs=1e-6)
    label = np.zeros((10, 10), np.uint8)
    label[:2] = 2
    assert MASK.features(label, field("a", "b"), {}).tolist() == pytest.approx([0, 0.2])


def prepared_case(shape=(20, 30, 26), spacing=(2.0, 1.0, 1.0), to=(1.5, 1.3, 0.9)) -> tuple[Image, Prepared]:
    """A tilted volume with a border of air, cropped and resampled by the room's own preparation."""
    rng = np.random.default_rng(0)
    array = np.zeros((1, *shape), np.float32)
    array[:, 4:-3, 5:-6, 4:-4] = rng.normal(5, 1, (1, shape[0] - 7, shape[1] - 11, shape[2] - 8))
    direction = np.eye(3)[:, ::-1] * [1, -1, 1]
    image = Image(array, Geometry(np.array(spacing), np.array([5.0, -8.0, 30.0]), direction))
    own = {
        "dims": 3, "spacing_mm": list(to), "shrink": 1.0, "crop": "constant", "patch": [16, 16, 16],
        "images": {"scan": {"channels": 1, "modality": "MR", "normalise": {"way": "z-score"}}}, "masks": {},
    }  # fmt: skip
    return image, prepare_space({"scan": image}, own)


def blobs(image: Image, radius_mm: float, count: int) -> np.ndarray:
    """Numbers 1 .. count in balls along the volume's diagonal, on the image's grid."""
    spacing = image.geometry.spacing_mm
    places = np.moveaxis(np.indices(image.shape), 0, -1) * spacing
    done = np.zeros(image.shape, np.uint8)
    for number in range(1, count + 1):
        centre = np.array(image.shape) * spacing * number / (count + 1)
        done[((places - centre) ** 2).sum(-1) < radius_mm**2] = number
    return done


def as_output(ready: Prepared, label: np.ndarray, count: int) -> np.ndarray:
    """Probabilities on the prepared grid that mean `label`: each class turned, cropped and resampled as a picture."""
    space = ready.facts["space"]
    cut = tuple(slice(low, high) for low, high in space["crop"])
    turned = [turn(label == number, space["order"], space["flips"])[cut] for number in range(count + 1)]
    return np.stack([resample(own[None].astype(np.float32), space["grid"])[0] for own in turned])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("to", [(2.0, 1.0, 1.0), (1.5, 1.3, 0.9)])
def test_answers_lie_on_the_inputs_own_grid(count, to):
    image, ready = prepared_case(to=to)
    label = blobs(image, 6.0, count)
    output = as_output(ready, label, count)
    own = field(classes={str(value): f"class {value}" for value in (40, 7)[:count]})
    answer = MASK.answer(output, ready, own, {}, {})
    mask = answer.value
    assert mask.shape == image.shape
    assert mask.geometry.close_to(image.geometry)
    values = own.options["values"]
    assert mask.names == {value: f"class {value}" for value in values}
    for number, value in enumerate(values, start=1):
        least = 1.0 if to == (2.0, 1.0, 1.0) else 0.9
        assert dice(mask.array == value, label == number) >= least
        true_ml = (label == number).sum() * 2.0 / 1000
        assert answer.facts["volumes_ml"][f"class {value}"] == pytest.approx(true_ml, rel=0.15)
    assert answer.facts["volumes_ml"] == mask.volumes_ml()


def test_streamed_classes_equal_all_at_once():
    from galenic.images.frame import to_original

    _, ready = prepared_case()
    grid = ready.facts["space"]["grid"]
    rng = np.random.default_rng(1)
    for classes in (2, 3, 6):
        logits = rng.normal(size=(classes, *grid)).astype(np.float32)
        logits[-1] -= 9 * (classes > 3)  # one class that can't win is passed over
        output = np.exp(logits) / np.exp(logits).sum(0)
        whole = np.stack([to_original(own, ready.facts, order=1) for own in output])
        own = field(*[f"c{number}" for number in range(1, classes)])
        ours = MASK.answer(output, ready, own, {}, {}).value.array
        inside = whole.sum(0) > 0
        assert np.array_equal(ours, np.where(inside, whole.argmax(0), 0))


def test_clean_up_is_chosen_only_where_it_helps():
    shape = (12, 24)
    geometry = Geometry.plain(2)
    label = np.zeros(shape, np.uint8)
    label[2:8, 2:8], label[2:8, 12:18] = 1, 2
    label[2:4, 21:23] = 2  # the second class truly has two parts
    noisy = label.copy()
    noisy[10, 10:12] = 1
    own = field("one", "two")
    truth = Mask(label, geometry, {1: "one", 2: "two"})
    answers = [Answer(Mask(noisy, geometry, {1: "one", 2: "two"})), Answer(None, refused="blurred")]
    assert MASK.choose(answers, [truth, truth], own) == {"largest": [1]}
    assert MASK.choose([Answer(truth)], [truth], own) == {}
    facts = {"space": {"shape": [12, 24], "order": [0, 1], "flips": [], "crop": [[0, 12], [0, 24]], "grid": [12, 24],
                       "geometry": {"spacing_mm": [1, 1], "origin_mm": [0, 0, 0],
                                    "direction": np.eye(3)[:, :2].tolist(), "known": False}}}  # fmt: skip
    output = np.stack([noisy == number for number in range(3)]).astype(np.float32)
    cleaned = MASK.answer(output, Prepared({}, facts), own, {}, {"largest": [1]})
    assert np.array_equal(cleaned.value.array, label)
    assert cleaned.facts == {}, "a picture has no volume"


def test_refusals_come_through():
    answer = MASK.answer(np.zeros((2, 3, 3)), Prepared({}, {"refused": "no body in the image"}), field(), {}, {})
    assert answer.value is None
    assert answer.refused == "no body in the image"
    judged = MASK.judge(answer, Mask(np.ones((3, 3), np.uint8), Geometry.plain(2), {1: "organ"}), field())
    assert judged["refused"] == "no body in the image"
    assert math.isnan(MASK.scores([judged], field())[""]["dice"])
    with pytest.raises(PlanError, match="3 outputs"):
        MASK.answer(np.zeros((3, 3, 3)), Prepared({}, {}), field(), {}, {})


def judged_pair(ours, truth, spacing=1.0, names=("a", "b")):
    geometry = Geometry.plain(np.ndim(ours), spacing)
    by_value = dict(enumerate(names, start=1))
    answer = Answer(Mask(np.asarray(ours, np.uint8), geometry, by_value))
    return MASK.judge(answer, Mask(np.asarray(truth, np.uint8), geometry, by_value), field(*names))


def test_judged_figures_of_a_small_case():
    ours, truth = np.zeros((4, 6, 6), np.uint8), np.zeros((4, 6, 6), np.uint8)
    ours[1, 1:3, 1:5] = 1  # 8 voxels
    truth[1, 1:3, 1:4] = 1  # 6 of them
    judged = judged_pair(ours, truth, 2.0)
    assert json.loads(json.dumps(judged, allow_nan=False)) == judged
    a, b = judged["classes"]["a"], judged["classes"]["b"]
    assert (a["dice"], a["iou"], a["recall"], a["precision"]) == pytest.approx((12 / 14, 6 / 8, 1.0, 6 / 8))
    assert (a["volume_ml"], a["true_ml"], a["volume_error"]) == pytest.approx((0.064, 0.048, 0.016))
    assert a["hd95"] == pytest.approx(2.0)
    assert a["assd"] == pytest.approx(2 * 2.0 / 14)
    assert [b[score] for score in ("dice", "iou", "hd95", "assd", "recall", "precision")] == [None] * 6
    assert judged["unit"] == "mm"
    flat = judged_pair(ours[1], truth[1], None)
    assert flat["unit"] == "px"
    assert flat["classes"]["a"]["volume_error"] is None


def test_a_class_absent_from_one_mask_counts_and_from_both_does_not():
    none, some = np.zeros((5, 5), np.uint8), np.ones((5, 5), np.uint8)
    own = field("a", "b")
    both = judged_pair(none, none)
    missed = judged_pair(none, some)
    false = judged_pair(some, none)
    assert missed["classes"]["a"]["dice"] == false["classes"]["a"]["dice"] == 0
    assert missed["classes"]["a"]["recall"] == 0
    assert missed["classes"]["a"]["precision"] is None
    assert false["classes"]["a"]["recall"] is None
    perfect = judged_pair(some, some)
    scores = MASK.scores([both, missed, perfect], own)
    assert scores["a"]["dice"] == pytest.approx(0.5)
    assert math.isnan(scores["b"]["dice"])
    assert scores[""]["dice"] == pytest.approx(0.5), "a class that is nowhere does not lower the mean"
    assert set(scores) == {"", "a", "b"}
    assert set(scores[""]) == set(MASK.definitions)
    assert scores["a"]["hd95"] == 0


def test_overall_is_the_mean_over_classes_of_means_over_cases():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 3, (8, 9)), rng.integers(0, 3, (8, 9))) for _ in range(4)]
    scores = MASK.scores([judged_pair(*pair) for pair in pairs], field("a", "b"))
    means = [np.mean([dice(ours == n, truth == n) for ours, truth in pairs]) for n in (1, 2)]
    assert scores["a"]["dice"] == pytest.approx(means[0])
    assert scores[""]["dice"] == pytest.approx(np.mean(means))
    outputs = [np.stack([ours == n for n in range(3)]).astype(np.float32) for ours, _ in pairs]
    truths = [truth.astype(np.uint8) for _, truth in pairs]
    assert MASK.quick(outputs, truths, field("a", "b")) == pytest.approx(scores[""]["dice"])
    masked = [np.where(np.arange(9) < 4, 255, truth).astype(np.uint8) for truth in truths]
    cut = MASK.quick([output[:, :, 4:] for output in outputs], [truth[:, 4:] for truth in truths], field("a", "b"))
    assert MASK.quick(outputs, masked, field("a", "b")) == pytest.approx(cut)
    assert MASK.quick([np.eye(3)[:, None]], [np.full((1, 3), 255, np.uint8)], field("a", "b")) == 0.0


def test_judging_goes_by_name_not_by_value():
    geometry = Geometry.plain(2)
    array = np.array([[7, 40], [0, 40]], np.uint8)
    answer = Answer(Mask(array, geometry, {7: "a", 40: "b"}))
    truth = Mask(np.array([[1, 2], [0, 2]], np.uint8), geometry, {1: "a", 2: "b"})
    judged = MASK.judge(answer, truth, field("a", "b"))
    assert [judged["classes"][name]["dice"] for name in "ab"] == [1.0, 1.0]
    with pytest.raises(GeometryError):
        MASK.judge(answer, Mask(np.zeros((3, 2), np.uint8), geometry, {1: "a", 2: "b"}), field("a", "b"))


def test_agreement_is_the_lowest_dice_of_two_outputs():
    rng = np.random.default_rng(0)
    output = rng.normal(size=(3, 20, 20))
    assert MASK.agree(output, output) == (1.0, True)
    other = output.copy()
    other[:, :5] = other[::-1, :5]
    figure, met = MASK.agree(other, output)
    ours, theirs = other.argmax(0), output.argmax(0)
    assert figure == pytest.approx(min(dice(ours == n, theirs == n) for n in (1, 2)))
    assert not met
    empty = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
    assert MASK.agree(empty, empty) == (1.0, True)
    assert MASK.agree(empty[::-1], empty) == (0.0, False)


def test_definitions_say_the_unit_and_the_source():
    assert MASK.main_score in MASK.definitions
    assert MASK.definitions["hd95"].unit == "mm"
    assert not MASK.definitions["hd95"].higher_is_better
    assert all(len(own.text) > 20 for own in MASK.definitions.values())
    assert MASK.calibrate([], [], field(), {}) == {}
    assert IMAGE.group(None) is None


def test_distances_are_in_pixels_where_no_spacing_is_known():
    assert MASK.unit_of("hd95", [{"unit": "px", "classes": {}}]) == "px"
    assert MASK.unit_of("hd95", [{"unit": "mm", "classes": {}}, {"unit": "px", "classes": {}}]) == "mm or px"
    assert MASK.unit_of("assd", [{"unit": "mm", "classes": {}}, {"refused": "no", "classes": {}}]) == "mm"
    assert MASK.unit_of("volume_error", [{"unit": "px", "classes": {}}]) == "ml"
    assert MASK.unit_of("dice", []) == ""
