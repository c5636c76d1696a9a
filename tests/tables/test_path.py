"""The vector path end to end on scikit-learn's breast cancer table: 569 cases, 30 numbers, benign or malignant."""

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_breast_cancer

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Field, Part, Prepared
from galenic.core.network import Network
from galenic.core.task import Task

BUDGET = Budget(seconds=60)


@dataclass(frozen=True)
class World:
    """The table, opened, split 6 : 2 : 2, summarised on the training part only, and prepared."""

    task: Task
    frames: dict
    prepared: list[Prepared]
    truths: list[dict]
    parts: dict[str, np.ndarray]

    def part(self, name: str) -> Part:
        rows = self.parts[name]
        return Part(
            [str(row) for row in rows], [self.prepared[row] for row in rows], [self.truths[row] for row in rows]
        )


def breast_cancer() -> pd.DataFrame:
    data = load_breast_cancer(as_frame=True)
    table = data.data.copy()
    table.iloc[::11, 3] = np.nan
    table["mean kind"] = np.where(table["mean area"] > 700, "large", "small")
    table["diagnosis"] = data.target_names[data.target]
    return table


@pytest.fixture(scope="module")
def world() -> World:
    table = breast_cancer()
    task = registry.checked(
        Task(
            name="breast_cancer",
            inputs=[
                Field(name="means", kind="number", columns=["mean radius", "mean t*", "mean area"]),
                Field(name="worst", kind="number", columns=["worst *"]),
                Field(name="kind", kind="category", columns=["mean kind"]),
            ],
            targets=[
                Field(name="diagnosis", kind="category", columns=["diagnosis"], options={"positive": "malignant"})
            ],
        )
    )
    opened = {field.name: registry.kind(field.kind).open(field, table, Path()) for field in task.fields}
    values = [{name: source.read(row) for name, source in opened.items()} for row in range(len(table))]
    order = np.random.default_rng(0).permutation(len(table))
    parts = dict(zip(("train", "calib", "test"), np.split(order, [341, 455]), strict=True))
    row = registry.frame("row")
    summary = reduce(row.merge, [row.summarise(values[at], task.fields) for at in parts["train"]])
    settings, _ = row.settle(json.loads(json.dumps(summary)), task.fields, BUDGET)
    frames = {"row": json.loads(json.dumps(settings, allow_nan=False))}
    prepared = [row.prepare(one, task.fields, frames["row"]) for one in values]
    truths = [{"diagnosis": one["diagnosis"]} for one in values]
    return World(task, frames, prepared, truths, parts)


def collate(world: World, rows) -> Batch:
    row = registry.frame("row")
    samples = [row.whole(world.prepared[at], world.frames["row"]) for at in rows]
    return Batch({name: torch.stack([one[name] for one in samples]) for name in samples[0]}, len(samples))


def trained(world: World, settings: dict, steps: int = 200) -> Network:
    torch.manual_seed(0)
    network = registry.network("mlp").build(world.task, world.frames, settings)
    step = torch.optim.AdamW(network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"])
    rng = np.random.default_rng(0)
    network.train()
    for number in range(steps):
        batch = collate(world, rng.choice(world.parts["train"], settings["batch"], replace=False))
        step.zero_grad()
        sum(loss.value.mean() for loss in network.losses(batch, number / steps).values()).backward()
        step.step()
    return network.eval()


@pytest.fixture(scope="module")
def planned(world) -> dict:
    settings, reasons = registry.network("mlp").plan(world.task, world.frames, BUDGET)
    assert set(reasons) <= set(settings)
    assert json.loads(json.dumps(settings)) == settings
    return settings


@pytest.fixture(scope="module")
def network(world, planned) -> Network:
    return trained(world, planned)


def runner(network: Network):
    def run(*arrays):
        with torch.no_grad():
            return tuple(out.numpy() for out in network(*(torch.from_numpy(array) for array in arrays)))

    return run


def judged(world: World, infer) -> dict[str, dict[str, float]]:
    """Calibrated on the calib part, scored on the test part."""
    field = world.task.targets[0]
    kind = registry.target(field)
    calib, test, frame = world.part("calib"), world.part("test"), world.frames["row"]
    outputs = [infer(prepared)["diagnosis"] for prepared in calib.prepared]
    fitted = json.loads(json.dumps(kind.calibrate(outputs, [one["diagnosis"] for one in calib.truths], field, frame)))
    assert fitted["note"] == ""
    answers = [kind.answer(infer(one)["diagnosis"], one, field, frame, fitted) for one in test.prepared]
    assert not any(one.refused for one in answers)
    pairs = zip(answers, test.truths, strict=True)
    records = [json.loads(json.dumps(kind.judge(one, truth["diagnosis"], field))) for one, truth in pairs]
    return kind.scores(records, field)


@pytest.mark.parametrize(("name", "least"), [("prior", 0.5), ("logistic", 0.98), ("boosting", 0.98)])
def test_learners_learn_and_are_kept(world, name, least, tmp_path):
    learner = registry.learner(name)()
    assert learner.fits(world.task) == ""
    learner.fit(world.part("train"), world.task, world.frames, 0)
    found = judged(world, learner.infer)[""]
    assert found["auroc"] >= least
    learner.save(tmp_path)
    again = registry.learner(name)()
    again.load(tmp_path, world.task, world.frames)
    for prepared in world.prepared[:30]:
        np.testing.assert_array_equal(learner.infer(prepared)["diagnosis"], again.infer(prepared)["diagnosis"])


def test_the_network_learns(world, network, planned):
    plug = registry.network("mlp")
    found = judged(world, lambda prepared: plug.infer(runner(network), prepared, world.frames, planned))
    assert found[""]["auroc"] >= 0.98
    assert found[""]["accuracy"] >= 0.93
    assert found[""]["brier"] <= 0.06
    assert found[""]["answered"] == 1.0
    assert found["malignant"]["sensitivity"] == found[""]["sensitivity"]


def test_the_network_is_chosen_and_planned_by_what_there_is(world, planned):
    assert registry.choose_network(world.task, None)[0] == "mlp"
    assert planned["batch"] == 32
    assert planned["optimizer"] == "adamw"
    assert planned["inputs"] == ["means", "worst", "kind"]
    assert registry.network("mlp").shapes(world.frames, planned) == [(1, 6), (1, 20), (1, 3)]
    few = json.loads(json.dumps(world.frames))
    few["row"]["categories"]["diagnosis"]["counts"] = [2, 3]
    assert registry.network("mlp").plan(world.task, few, BUDGET)[0]["batch"] <= 5
    masks = world.task.model_copy(update={"targets": [Field(name="m", kind="mask", columns=["m"])]})
    assert "which m can't be" in registry.network("mlp").fits(masks)


def test_a_kept_network_is_the_same(world, network, planned, tmp_path):
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again = registry.network("mlp").build(world.task, world.frames, planned).eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    batch = collate(world, range(20))
    inputs = [batch.values[name] for name in network.inputs]
    assert torch.equal(network(*inputs)[0], again(*inputs)[0])


def test_the_same_seed_gives_the_same_numbers(world, planned):
    one, other = trained(world, planned, 5), trained(world, planned, 5)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])


def test_a_batch_of_n_is_n_times_one(world, network, planned):
    batch = collate(world, range(16))
    with torch.no_grad():
        together = network(*(batch.values[name] for name in network.inputs))[0]
    for at in range(16):
        alone = registry.network("mlp").infer(runner(network), world.prepared[at], world.frames, planned)
        np.testing.assert_allclose(alone["diagnosis"], together[at].numpy(), atol=1e-5)


def test_a_case_without_truth_adds_nothing_and_gradients_reach_the_inputs(world, network):
    batch = collate(world, range(4))
    batch.values["diagnosis"][1] = -1
    loss = network.losses(batch, 0.0)["diagnosis"]
    assert loss.value.shape == (4,)
    assert loss.value[1] == 0
    embedded = {name: tensor.requires_grad_() for name, tensor in network.embed(batch).items()}
    network.encode(embedded).vector.sum().backward()
    assert all(tensor.grad is not None for tensor in embedded.values())


def test_a_case_that_can_not_be_judged_gets_a_refusal(world):
    row, field = registry.frame("row"), world.task.targets[0]
    kind = registry.target(field)
    frame = world.frames["row"]
    empty = row.prepare({}, world.task.fields, frame)
    assert "every input is missing" in kind.answer(np.zeros(2), empty, field, frame, {}).refused
    table = breast_cancer().iloc[:1].assign(**{"worst area": 1e9})
    values = {one.name: registry.kind(one.kind).open(one, table, Path()).read(0) for one in world.task.inputs}
    strange = row.prepare(values, world.task.fields, frame)
    assert "worst area is 1e+09" in kind.answer(np.zeros(2), strange, field, frame, {}).refused
