"""The U-Nets: planned depth, shapes, parameters, and what they hand out to explanations."""

from __future__ import annotations

import itertools
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
from galenic.images.dense import infer_mask
from galenic.images.networks.unet import UNET, stages
from galenic.images.networks.unet2015 import UNET2015, ClassicUNet
from galenic.images.networks.unet_residual import UNET_RESIDUAL


def task(classes: int = 2) -> Task:
    names = {str(value): f"class {value}" for value in range(1, classes + 1)}
    return registry.checked(
        Task(
            name="t",
            inputs=[Field(name="image", kind="image", columns=["image"])],
            targets=[Field(name="label", kind="mask", columns=["label"], options={"classes": names})],
        )
    )


def frames(patch: list[int], classes: int = 2, channels: int = 1) -> dict[str, Any]:
    dims = len(patch)
    return {
        "space": {
            "dims": dims, "spacing_mm": [1.0] * dims if dims == 3 else None, "shrink": 1.0, "crop": "none",
            "patch": patch, "cases": 5,
            "images": {"image": {"channels": channels, "modality": "MR", "normalise": {"way": "z-score"}}},
            "masks": {"label": {"classes": {str(value): f"class {value}" for value in range(1, classes + 1)}}},
        }
    }  # fmt: skip


def small(patch: list[int], **changes: Any) -> Any:
    own = frames(patch)
    plan, _ = UNET.plan(task(), own, Budget(seconds=60))
    plan |= {"widths": [4 * 2**at for at in range(len(plan["widths"]))]} | changes
    torch.manual_seed(0)
    return UNET.build(task(), own, plan), own, plan


def test_the_classic_net_has_its_parameters_to_the_last() -> None:
    assert sum(parameter.numel() for parameter in ClassicUNet().parameters()) == 31_030_593


def test_the_classic_net_is_same_padded_and_gives_one_logit() -> None:
    net = ClassicUNet().eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 64, 64)).shape == (1, 1, 64, 64)
        lowest, kept = net.lowest(torch.zeros(1, 1, 32, 32))
    assert lowest.shape == (1, 1024, 2, 2)
    assert [own.shape[1] for own in kept] == [64, 128, 256, 512, 1024]


def test_the_classic_net_refuses_two_classes_and_volumes() -> None:
    assert "one class" in UNET2015.fits(task(2))
    assert UNET2015.fits(task(1)) == ""
    with pytest.raises(TaskError):
        UNET2015.build(task(1), frames([32, 32, 32], 1), {})


@given(st.lists(st.sampled_from([16, 24, 32, 40, 64, 128, 256]), min_size=2, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_planned_depth_divides_its_patch(patch: list[int]) -> None:
    strides, kernels = stages(patch, None)
    assert len(strides) == len(kernels) <= 7
    total = np.prod(strides, axis=0)
    assert all(size % step == 0 and size // step >= 4 for size, step in zip(patch, total, strict=True))


def test_a_thick_axis_waits_until_the_others_have_caught_up() -> None:
    strides, kernels = stages([16, 128, 128], [5.0, 1.0, 1.0])
    assert kernels[0] == [1, 3, 3]
    assert strides[1] == [1, 2, 2]
    assert kernels[2] == [3, 3, 3]


@pytest.mark.parametrize("patch", [[32, 48], [16, 24, 16]])
@pytest.mark.parametrize("residual", [False, True])
def test_shapes_losses_and_features(patch: list[int], residual: bool) -> None:
    net, own, plan = small(patch, residual=residual)
    images = torch.randn(2, 1, *patch)
    net.train()
    assert next(tuple(out.shape[2:]) for out in net.resolutions(images)) == tuple(patch)
    assert len(net.resolutions(images)) == plan["supervised"]
    batch = Batch({"image": images, "label": torch.randint(0, 3, (2, *patch), dtype=torch.uint8)}, 2)
    loss = net.losses(batch, 0.0)["label"]
    assert loss.scope == "case"
    assert loss.value.shape == (2,)
    net.eval()
    with torch.inference_mode():
        assert net(images)[0].shape == (2, 3, *patch)
    embedded = net.embed(batch)
    embedded["image"].requires_grad_()
    features = net.encode(embedded)
    features.vector.sum().backward()
    assert features.vector.shape == (2, plan["widths"][-1])
    assert embedded["image"].grad is not None
    assert UNET.shapes(own, plan) == [(1, 1, *patch)]


def test_the_loss_of_a_batch_is_that_of_its_cases() -> None:
    net, _, _ = small([32, 32])
    net.train()
    images, labels = torch.randn(3, 1, 32, 32), torch.randint(0, 3, (3, 32, 32), dtype=torch.uint8)
    together = net.losses(Batch({"image": images, "label": labels}, 3), 0.0)["label"].value
    for at in range(3):
        alone = net.losses(Batch({"image": images[at : at + 1], "label": labels[at : at + 1]}, 1), 0.0)["label"].value
        assert torch.allclose(together[at], alone[0], atol=1e-5)


def test_several_image_fields_are_channels_of_one_net() -> None:
    fields = [Field(name=name, kind="image", columns=[name]) for name in ("t1", "flair")]
    own_task = task().model_copy(update={"inputs": fields})
    own = frames([16, 16])
    way = own["space"]["images"]["image"]
    own["space"]["images"] = {"t1": way, "flair": way | {"channels": 2}}
    plan, _ = UNET.plan(own_task, own, Budget(seconds=60))
    net = UNET.build(own_task, own, plan | {"widths": [4] * len(plan["widths"])})
    net.eval()
    rng = np.random.default_rng(0)
    arrays = {"t1": rng.normal(size=(1, 20, 24)).astype(np.float32), "flair": np.ones((2, 20, 24), np.float32)}

    def run(*tiles: np.ndarray) -> tuple[np.ndarray, ...]:
        assert [len(tile[0]) for tile in tiles] == [1, 2]
        with torch.inference_mode():
            return tuple(out.numpy() for out in net(*(torch.from_numpy(tile) for tile in tiles)))

    found = UNET.infer(run, Prepared(arrays), own, plan)["label"]
    assert found.shape == (3, 20, 24)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(("patch", "flips"), [([16, 16], [0, 1]), ([16, 16], [1]), ([8, 16, 16], [0, 1, 2])])
def test_a_mirrored_answer_is_the_mean_over_the_flips_that_training_drew(patch: list[int], flips: list[int]) -> None:
    net, own, plan = small(patch)
    own["space"]["augment"] = {"flips": flips}
    net.eval()

    def run(*tiles: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            return tuple(out.numpy() for out in net(*(torch.from_numpy(tile) for tile in tiles)))

    image = np.random.default_rng(0).normal(size=(1, *patch)).astype(np.float32)
    copies = []
    for axes in itertools.chain.from_iterable(itertools.combinations(flips, size) for size in range(len(flips) + 1)):
        turned = tuple(axis + 1 for axis in axes)
        logits = run(np.ascontiguousarray(np.flip(image, turned))[None])[0][0]
        copies.append(np.flip(logits, turned))
    assert len(copies) == 2 ** len(flips)
    expected = torch.from_numpy(np.mean(copies, axis=0)).softmax(0).numpy()
    found = infer_mask(run, Prepared({"image": image}), own, UNET.mirrored(own, plan))["label"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = infer_mask(run, Prepared({"image": image}), own, plan)["label"]
    assert np.abs(plain - found).max() > 1e-3
    assert "mirror" not in plan


def test_a_network_that_was_never_mirrored_is_not_answered_so() -> None:
    _, own, plan = small([16, 16])
    own["space"]["augment"] = {"flips": []}
    for plug in (UNET, UNET2015):
        with pytest.raises(TaskError, match="trained without mirroring"):
            plug.mirrored(own, plan)


@pytest.mark.parametrize(
    ("budget", "patch", "residual", "why"),
    [
        (Budget(seconds=600), [128, 128, 128], False, "not two hours"),
        (Budget(seconds=7199), [256, 256], False, "not two hours"),
        (Budget(epochs=1000), [64, 64, 64], False, "1000 epochs is not two hours"),
        (Budget(seconds=7200), [64, 64, 64], True, "bears its depth"),
        (Budget(seconds=36_000), [256, 256], True, "bears its depth"),
        (Budget(seconds=7200), [16, 16, 16], False, "gives 3 stages"),
    ],
)  # fmt: skip
def test_a_residual_encoder_where_budget_and_patch_bear_it(
    budget: Budget, patch: list[int], residual: bool, why: str
) -> None:
    plan, reasons = UNET.plan(task(), frames(patch), budget)
    assert plan["residual"] is residual
    assert why in reasons["network.residual"]
    if residual:
        assert plan["blocks"] == [1, 3, 4, 6, 6, 6, 6][: len(plan["widths"])]


def test_the_plan_of_a_short_budget() -> None:
    """What the measured figures were reached with."""
    plan, _ = UNET.plan(task(), frames([40, 56, 40]), Budget(seconds=300))
    assert plan == {
        "widths": [16, 32, 64, 128], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
        "kernels": [[3, 3, 3]] * 4, "residual": False, "blocks": [1, 2, 2, 2], "supervised": 2, "batch": 2,
        "learning_rate": 5e-3, "weight_decay": 1e-2, "optimizer": "adamw", "overlap": 0.25,
    }  # fmt: skip


def test_a_residual_encoder_can_be_asked_for() -> None:
    plan, reasons = UNET_RESIDUAL.plan(task(), frames([32, 32]), Budget(seconds=60))
    plain, _ = UNET.plan(task(), frames([32, 32]), Budget(seconds=60))
    assert plan == plain | {"residual": True}
    assert "asked for" in reasons["network.residual"]
    assert not UNET_RESIDUAL.default
    assert UNET.default
    assert registry.choose_network(task(), None)[0] == "unet"


def test_the_residual_encoder_has_the_blocks_of_its_plan() -> None:
    """A stem and a block in the first stage, then as many as planned; one convolution a stage of the decoder."""
    net, _, plan = small([64, 64], residual=True, blocks=[1, 3, 4, 6, 6])
    kinds = [[type(one).__name__ for one in stage] for stage in net.down]
    assert kinds == [["_ConvNorm", "_Residual"], *(["_Residual"] * count for count in (3, 4, 6, 6))]
    assert [len(join) for join in net.join] == [1] * 4
    assert len(plan["widths"]) == 5


def test_a_residual_block_begins_as_its_shortcut() -> None:
    net, _, _ = small([32, 32], residual=True)
    block, images = net.down[1][0], torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(block(images), torch.nn.functional.leaky_relu(block.short(images), 0.01))
