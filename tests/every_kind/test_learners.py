"""What the contract promises of a learner that is no network, over all that is registered."""

from __future__ import annotations

import numpy as np

from galenic.core import registry


def fitted(world, seed: int = 0):
    learner = registry.learner(world.name)()
    learner.fit(world.part(), world.work.task, world.work.settings, seed)
    return learner


def outputs(world, learner) -> list:
    return [learner.infer(world.work.ready[row])[world.target.name] for row in world.rows]


def test_it_learns_its_answer(simple):
    """No worse than guessing; the class frequencies and the mean are guessing itself."""
    score = simple.score(outputs(simple, fitted(simple)))
    assert score >= simple.chance + (0 if simple.name in ("prior", "mean") else 0.2)


def test_the_same_seed_gives_the_same_numbers(simple):
    for one, two in zip(outputs(simple, fitted(simple)), outputs(simple, fitted(simple)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_saved_and_loaded_it_answers_the_same(simple, tmp_path):
    learner = fitted(simple)
    learner.save(tmp_path / "learner")
    loaded = registry.learner(simple.name)()
    loaded.load(tmp_path / "learner", simple.work.task, simple.work.settings)
    for one, two in zip(outputs(simple, learner), outputs(simple, loaded), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_case_without_truth_changes_nothing(simple):
    """The unknown case in the training part gives what the part without it gives."""
    part, unknown = simple.part(), 15
    learner = registry.learner(simple.name)()
    truth = {simple.target.name: None}
    more = type(part)(
        [*part.ids, "unknown"], [*part.prepared, simple.work.ready[unknown]], [*part.truths, truth]
    )  # fmt: skip
    learner.fit(more, simple.work.task, simple.work.settings, 0)
    assert simple.score(outputs(simple, learner)) >= simple.chance


def test_its_answers_are_those_of_the_kind(simple):
    for answer in simple.answers(outputs(simple, fitted(simple))):
        assert answer.refused is None
        assert answer.value is not None


def test_it_has_a_name_and_a_title(simple):
    learner = registry.learner(simple.name)
    assert learner.name == simple.name
    assert learner.title
