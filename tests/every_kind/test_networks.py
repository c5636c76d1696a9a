"""What the contract promises of a network, over every network and every task that it fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galenic.core import bundle
from galenic.core.contract import Batch
from galenic.core.progress import Silent

STEPS = 6
UNKNOWN = 15


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def samples_of(world, rows) -> list[dict]:
    work = world.work
    return [work.frames.sample(np.random.default_rng([7, row]), work.ready[row], work.settings) for row in rows]


def batch_of(world, rows) -> Batch:
    return world.work.frames.collate(samples_of(world, rows))


def test_it_learns_its_answer(world, learnt):
    """Better than guessing, and better than it was before, on the cases that it learnt from."""
    score = world.score(world.outputs(learnt))
    assert score > world.chance + 0.25
    assert score > world.score(world.outputs(world.work.build().eval())) - 0.05


def test_the_same_seed_gives_the_same_numbers(world, tmp_path):
    one, two = (world.trained(STEPS, tmp_path / name).state_dict() for name in "ab")
    other = world.trained(STEPS, tmp_path / "c", seed=1).state_dict()
    assert same(one, two)
    assert not same(one, other)


def test_killed_and_resumed_it_is_the_same(world, tmp_path):
    through = world.trainer(STEPS, tmp_path / "through")
    through.run(Silent())
    first = world.trainer(STEPS, tmp_path / "cut")
    for _ in range(STEPS // 2):
        first.one_step()
    first.save()
    second = world.trainer(STEPS, tmp_path / "cut")
    assert second.resume()
    assert second.step == STEPS // 2
    second.run(Silent())
    assert same(second.network.state_dict(), through.network.state_dict())
    assert same(second.finish().state_dict(), through.finish().state_dict())


def test_saved_and_loaded_it_answers_the_same(world, learnt, tmp_path):
    bundle.save_weights(tmp_path / "weights.safetensors", learnt.state_dict())
    loaded = world.work.build()
    loaded.load_state_dict(bundle.load_weights(tmp_path / "weights.safetensors"))
    for one, other in zip(world.outputs(learnt), world.outputs(loaded.eval()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_is_its_cases_one_by_one(world, learnt):
    samples = samples_of(world, world.rows[:4])
    with torch.no_grad():
        batch = world.work.frames.collate(samples)
        together = learnt(*(batch.values[name] for name in learnt.inputs))
        for at, sample in enumerate(samples):
            alone = learnt(*(sample[name][None] for name in learnt.inputs))
            for many, one in zip(together, alone, strict=True):
                torch.testing.assert_close(many[at : at + 1], one, rtol=1e-4, atol=1e-4)


def test_a_case_without_truth_costs_nothing(world, learnt):
    """It has loss 0, moves no weight, and leaves the others' losses as they are."""
    known, unknown = world.rows[0], UNKNOWN
    assert world.work.cases.values(unknown, [world.target.name])[world.target.name] is None
    pair, alone = (batch_of(world, rows) for rows in ([known, unknown], [known]))
    both, one = (learnt.losses(batch, 0.5)[world.target.name].value for batch in (pair, alone))
    assert both.shape == (2,)
    assert both[1].item() == 0
    assert one[0].item() > 0
    torch.testing.assert_close(both[:1], one, rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(both[1], list(learnt.parameters()), allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_the_loss_is_one_number_a_case_that_reaches_the_weights(world):
    network = world.work.build()
    losses = network.losses(batch_of(world, world.rows[:3]), 0.0)
    assert losses.keys() == {world.target.name}
    for loss in losses.values():
        assert loss.scope in ("case", "batch")
        assert loss.value.shape == ((3,) if loss.scope == "case" else ())
        loss.value.sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


def test_its_features_reach_the_inputs(world, learnt):
    """embed, then encode: an explanation can follow the gradient back to every input."""
    embedded = {name: tensor.requires_grad_() for name, tensor in learnt.embed(batch_of(world, world.rows[:2])).items()}
    features = learnt.encode(embedded)
    assert features.vector.shape[0] == 2
    gradients = torch.autograd.grad((features.vector**2).sum(), list(embedded.values()))
    assert all(gradient.any() for gradient in gradients)


def test_the_shapes_it_names_are_those_it_takes(world, learnt):
    shapes = world.work.plug.shapes(world.work.settings, world.work.network_settings)
    with torch.no_grad():
        outputs = learnt(*(torch.zeros(shape) for shape in shapes))
    assert len(outputs) == len(learnt.outputs)
    assert all(output.shape[0] == 1 for output in outputs)


def test_its_plan_has_what_the_engine_needs_and_reasons(world):
    from galenic.core import registry
    from galenic.core.contract import Budget

    for budget in (Budget(seconds=60), Budget(seconds=7200), Budget(epochs=3), Budget(steps=10)):
        settings, reasons = registry.network(world.name).plan(world.work.task, world.work.settings, budget)
        assert {"batch", "learning_rate", "weight_decay", "optimizer"} <= settings.keys()
        assert reasons
        assert all(isinstance(text, str) and text for text in reasons.values())


def test_outputs_that_are_equal_agree(world, learnt):
    outputs = world.outputs(learnt)
    for output in outputs:
        assert world.kind.agree(output, output)[1]
    far = -np.asarray(outputs[0])
    assert not world.kind.agree(far, outputs[0])[1]


def test_the_quick_score_rises_with_the_answers(world, learnt):
    """What chooses the best step tells a trained network from one that is not."""
    truths = [world.work.ready[row].arrays[world.target.name] for row in world.rows]
    trained, fresh = (
        world.kind.quick(world.outputs(network), truths, world.target)
        for network in (learnt, world.work.build().eval())
    )
    assert trained > fresh
    assert trained == pytest.approx(world.score(world.outputs(learnt)), abs=0.05)
