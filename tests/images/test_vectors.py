"""The networks that make one vector of a picture: what they fit, their sizes, class weights, mirrors, rows beside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Field, Prepared
from galenic.core.errors import TaskError
from galenic.core.task import Task
from galenic.images.networks.cnn import CNN
from galenic.images.networks.resnet import BLOCKS, RESNET, Trunk
from galenic.images.vectors import class_weights, halvings, infer_whole, shapes_of

SHORT, LONG = Budget(seconds=300), Budget(seconds=36_000)
KINDS = {"a": "image", "age": "number", "sex": "category", "ill": "category", "dead": "category", "m": "mask"}


def task(inputs: str = "a", targets: str = "ill") -> Task:
    made = [[Field(name=name, kind=KINDS[name], columns=[name]) for name in own.split()] for own in (inputs, targets)]
    return registry.checked(Task(name="t", inputs=made[0], targets=made[1]))


def frames(fit: list[int], *, channels: int = 1, cases: int = 500, counts: tuple[int, int] = (250, 250)) -> Any:
    dims = len(fit)
    return {
        "space": {
            "dims": dims, "spacing_mm": [3.0, 1.0, 1.0] if dims == 3 else None, "fit": fit, "crop": "none",
            "cases": cases, "images": {"a": {"channels": channels}}, "masks": {},
            "augment": {"flips": [dims - 1]},
        },
        "row": {
            "numbers": {"age": {"columns": ["age"]}},
            "categories": {
                "sex": {"labels": ["f", "m"], "counts": [1, 1]},
                "ill": {"labels": ["no", "yes"], "counts": list(counts)},
                "dead": {"labels": ["no", "yes"], "counts": [10, 490]},
            },
        },
    }  # fmt: skip


def built(plug: Any, of: Task, own: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
    plan, reasons = plug.plan(of, own, SHORT)
    assert set(reasons) == {f"network.{key}" for key in plan}
    assert all(isinstance(text, str) and text for text in reasons.values())
    plan |= {"dropout": 0.0} | changes
    torch.manual_seed(0)
    return plug.build(of, own, plan).eval(), plan


@pytest.mark.parametrize("plug", [CNN, RESNET])
class TestFits:
    def test_pictures_with_or_without_rows_to_categories(self, plug):
        assert plug.fits(task()) == plug.fits(task("a age sex")) == plug.fits(task("a", "ill dead")) == ""

    def test_else_it_says_why_not(self, plug):
        assert "needs an image" in plug.fits(task("age"))
        assert "m" in plug.fits(task("a m"))
        assert "one vector" in plug.fits(task("a", "m"))


def test_masks_get_the_unet_and_categories_the_resnet():
    assert registry.choose_network(task("a", "m"), None)[0] == "unet"
    assert registry.choose_network(task("a", "ill"), None)[0] == "resnet"
    assert registry.choose_network(task("age", "ill"), None)[0] == "mlp"
    assert registry.choose_network(task("a", "ill"), "cnn")[0] == "cnn"
    with pytest.raises(TaskError, match="one vector"):
        registry.choose_network(task("a", "m"), "resnet")


@pytest.mark.parametrize(("depth", "known"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_parameters_are_those_known_for_imagenet(depth, known):
    """Counts of torchvision's models with batch norm and 1,000 classes; the head here is the plan's own."""
    space = frames([224, 224], channels=3)["space"]
    plan, _ = RESNET.plan(task(), {"space": space, "row": frames([224, 224])["row"]}, SHORT)
    block = "bottleneck" if depth == 50 else "basic"
    trunk = Trunk(2, 3, plan | {"blocks": BLOCKS[depth], "block": block, "norm": "batch"})
    head = (trunk.width + 1) * 1000
    assert sum(own.numel() for own in trunk.parameters()) + head == known
    names = set(trunk.state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv2.weight", "layer2.0.downsample.1.bias"} <= names
    assert ("layer4.2.bn3.weight" in names) == (depth == 50)


@pytest.mark.parametrize(
    ("fit", "places"), [([28, 28], (4, 4)), ([64, 48], (8, 6)), ([160, 160], (5, 5)), ([224, 160], (7, 5))]
)
def test_the_stem_keeps_small_pictures_and_halves_large_ones(fit, places):
    net, _ = built(RESNET, task(), frames(fit), widths=[4, 4, 4, 4])
    assert tuple(net.trunk(torch.zeros(1, 1, *fit)).shape[2:]) == places


@pytest.mark.parametrize("plug", [CNN, RESNET])
@pytest.mark.parametrize("fit", [[28, 28], [96, 64], [16, 40, 40], [8, 24, 24]])
def test_any_grid_makes_a_vector_and_tokens(plug, fit):
    own = frames(fit)
    plan, _ = plug.plan(task(), own, SHORT)
    net, plan = built(plug, task(), own, widths=[8] * len(plan["widths"]))
    given = torch.randn(2, 1, *fit)
    features = net.encode({"a": given})
    assert features.vector.shape == (2, 8)
    assert torch.allclose(features.tokens.mean(dim=1), features.vector)
    assert features.tokens.shape[1] > 1
    assert net(given)[0].shape == (2, 2)
    assert shapes_of(own, plan) == [(1, 1, *fit)]


def test_a_thick_axis_is_halved_after_the_others():
    assert halvings([16, 64, 64], [4.0, 1.0, 1.0], 3, 4) == [[1, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert halvings([28, 28], None, 4, 4) == [[2, 2], [2, 2], [1, 1], [1, 1]]


def test_depth_grows_with_cases_and_hours():
    depths = [
        RESNET.plan(task(), frames([160, 160], cases=cases), budget)[0]["depth"]
        for cases, budget in ((500, SHORT), (500, LONG), (8_000, LONG), (50_000, LONG), (50_000, SHORT))
    ]
    assert depths == [18, 18, 34, 50, 18]


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=8).filter(lambda own: max(own) > 0))
@settings(max_examples=60, deadline=None)
def test_class_weights_favour_the_rare_and_keep_the_sum_of_the_cases(counts):
    weights = class_weights(counts)
    if not weights:
        return
    order = np.argsort(counts)
    assert (np.diff(np.array(weights)[order]) <= 1e-6).all()
    assert min(weights) >= 0.25
    assert max(weights) <= 4
    if min(weights) > 0.25 and max(weights) < 4 and min(counts) > 0:
        assert np.dot(weights, counts) / sum(counts) == pytest.approx(1, abs=1e-3)


def test_even_classes_have_no_weights():
    assert class_weights([100, 95, 104]) == []
    assert class_weights([100, 50]) != []


def test_a_rare_class_weighs_more_and_the_answer_takes_it_out_again():
    """With weights w the best answer is p(class) w(class) over their sum, so that log w off the logits gives p back."""
    own = frames([16, 16], counts=(400, 100))
    net, plan = built(CNN, task(), own, widths=[4] * 3)
    weights = torch.tensor(plan["class_weights"]["ill"])
    assert weights[1] == pytest.approx(2 * float(weights[0]), abs=1e-3)
    given = torch.randn(4, 1, 16, 16)
    raw = net.raw({"a": given})[0]
    assert torch.allclose(net(given)[0], raw - weights.log(), atol=1e-6)
    truth = torch.tensor([0, 1, 1, -1])
    batch = Batch({"a": given, "ill": truth}, 4, {"a": torch.ones(4, dtype=torch.bool)})
    losses = net.losses(batch, 0.5)["ill"].value
    plain = torch.nn.functional.cross_entropy(raw, truth, reduction="none", ignore_index=-1)
    assert torch.allclose(losses, plain * torch.stack([*weights[[0, 1, 1]], torch.tensor(0.0)]), atol=1e-6)
    assert not any("class_weights" in name for name in net.state_dict())
    best = torch.tensor([[0.8, 0.2]]).log() + weights.log()
    assert torch.allclose((best - weights.log()).softmax(1), torch.tensor([[0.8, 0.2]]))


def test_a_case_without_its_picture_is_not_learnt_from_and_no_batch_fails():
    own = frames([16, 16])
    net, _ = built(CNN, task(), own, widths=[4] * 3)
    there = torch.tensor([True, False])
    some = Batch({"a": torch.randn(2, 1, 16, 16), "ill": torch.tensor([0, 1])}, 2, {"a": there})
    assert (net.losses(some, 0.0)["ill"].value > 0).tolist() == [True, False]
    none = Batch({"ill": torch.tensor([0, 1])}, 2, {})
    assert not net.losses(none, 0.0)["ill"].value.any()
    beside, _ = built(CNN, task("a age"), own, widths=[4] * 3)
    with_age = Batch({"ill": torch.tensor([0, 1]), "age": torch.randn(2, 2)}, 2, {})
    assert (beside.losses(with_age, 0.0)["ill"].value > 0).all()


def test_rows_stand_beside_the_picture_at_the_head():
    own, of = frames([16, 16]), task("a age sex")
    net, plan = built(CNN, of, own, widths=[4] * 3)
    assert plan["rows"] == {"age": 2, "sex": 3}
    assert shapes_of(own, plan) == [(1, 1, 16, 16), (1, 2), (1, 3)]
    age, sex = torch.tensor([[0.3, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    vector = net.encode({"a": torch.zeros(1, 1, 16, 16), "age": age, "sex": sex}).vector
    assert vector.shape == (1, 4 + 2 + 3)
    assert torch.equal(vector[:, 4:], torch.cat([age, sex], dim=1))


def test_several_targets_each_have_a_head_and_a_loss():
    own, of = frames([16, 16]), task("a", "ill dead")
    net, plan = built(CNN, of, own, widths=[4] * 3)
    assert set(plan["class_weights"]) == {"dead"}
    assert [out.shape for out in net(torch.zeros(3, 1, 16, 16))] == [(3, 2), (3, 2)]
    batch = Batch(
        {"a": torch.randn(2, 1, 16, 16), "ill": torch.tensor([0, -1]), "dead": torch.tensor([1, 0])}, 2,
        {"a": torch.ones(2, dtype=torch.bool)},
    )  # fmt: skip
    losses = net.losses(batch, 0.0)
    assert (losses["ill"].value > 0).tolist() == [True, False]
    assert (losses["dead"].value > 0).all()


@pytest.mark.parametrize(("mirror", "calls"), [([], 1), ([1], 2), ([0, 1], 4)])
def test_answers_are_the_mean_over_mirror_images(mirror, calls):
    own, of = frames([4, 6]), task("a age")
    plan, _ = CNN.plan(of, own, SHORT)
    kernel = np.arange(24.0).reshape(4, 6)
    seen = []

    def run(picture, age):
        seen.append(picture)
        assert picture.flags["C_CONTIGUOUS"]
        return ((picture[:, 0] * kernel).sum(axis=(1, 2))[:, None] + age[:, :1],)

    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(1, 4, 6)).astype(np.float32), "age": np.array([5.0, 1.0], np.float32)}
    found = infer_whole(run, Prepared(arrays), own, plan | {"mirror": mirror})["ill"]
    assert len(seen) == calls
    mean = np.mean([picture[0, 0] for picture in seen], axis=0)
    assert found == pytest.approx([(mean * kernel).sum() + 5], rel=1e-4)
    for axis in mirror:
        assert np.allclose(mean, np.flip(mean, axis), atol=1e-6)


def test_a_lacking_picture_is_answered_as_the_mean_picture():
    own, of = frames([16, 16]), task("a age")
    net, plan = built(CNN, of, own, widths=[4] * 3)

    def run(*arrays):
        with torch.no_grad():
            return tuple(out.numpy() for out in net(*map(torch.from_numpy, arrays)))

    age = np.array([1.0, 1.0], np.float32)
    lacking = infer_whole(run, Prepared({"age": age}), own, plan)["ill"]
    zeros = infer_whole(run, Prepared({"a": np.zeros((1, 16, 16), np.float32), "age": age}), own, plan)["ill"]
    assert np.array_equal(lacking, zeros)


def test_weights_for_colour_are_fitted_to_grey_pictures():
    """A grey picture excites the first kernels as the same picture in three channels did."""
    own = frames([96, 96])
    net, _ = built(RESNET, task(), own, widths=[4, 4, 4, 4], norm="batch")
    first = torch.randn(4, 3, 7, 7)
    adopted = net.adopt({"conv1.weight": first, "bn1.weight": torch.ones(4), "fc.weight": torch.zeros(9, 9)})
    assert set(adopted) == {"trunk.conv1.weight", "trunk.bn1.weight"}
    grey = torch.randn(1, 1, 20, 20)
    ours = torch.nn.functional.conv2d(grey, adopted["trunk.conv1.weight"])
    assert torch.allclose(ours, torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), first), atol=1e-4)
