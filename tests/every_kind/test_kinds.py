"""What the contract promises of kinds and frames, over all that is registered."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
import torch

from galenic.core import registry
from galenic.core.contract import Budget

UNKNOWN = 15


class TestRegistered:
    """Who registers something and forgets it here is told."""

    def test_every_kind_has_its_maker(self, covered):
        assert covered["makers"] == set(registry.names("kinds"))

    def test_every_target_has_its_chance_and_a_network(self, covered):
        assert covered["targets"] == covered["learnt"]
        assert covered["targets"] == {
            name for name in registry.names("kinds") if hasattr(registry.kind(name), "answer")
        }  # fmt: skip

    def test_every_network_and_learner_is_tested(self, covered):
        assert covered["networks"] == covered["small"] == set(registry.names("networks"))
        assert covered["learners"] == set(registry.names("learners"))

    @pytest.mark.parametrize("group", ["kinds", "frames", "networks", "learners"])
    def test_names_are_those_of_the_entry_points(self, group):
        assert all(registry.get(group, name).name == name for name in registry.names(group))

    @pytest.mark.parametrize("name", registry.names("kinds"))
    def test_kinds_are_whole(self, name):
        kind = registry.kind(name)
        assert kind.frame in registry.names("frames")
        assert isinstance(kind.from_file, bool)
        assert isinstance(kind.groups, bool)
        if hasattr(kind, "answer"):
            assert kind.main_score in kind.definitions
            assert all(one.text for one in kind.definitions.values())
            assert set(kind.baselines) <= set(registry.names("learners"))
            assert kind.quick_cases > 0


def alike(one, other) -> bool:
    """Equal JSON, numbers up to the last digits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return one == pytest.approx(other, rel=1e-9, abs=1e-9)
    return one == other


class TestFrames:
    def test_summaries_merge_in_any_way(self, simple):
        frames = simple.work.frames
        a, b, c = (frames.summarise(simple.work.cases.values(row)) for row in (0, 1, UNKNOWN))
        left, right = frames.merge(frames.merge(a, b), c), frames.merge(a, frames.merge(b, c))
        assert alike(left, right)
        assert alike(frames.merge(a, b), frames.merge(b, a))

    def test_summaries_are_json_and_settle_after_a_journey(self, simple):
        work = simple.work
        total = work.frames.summarise(work.cases.values(simple.rows[0]))
        for row in simple.rows[1:]:
            total = work.frames.merge(total, work.frames.summarise(work.cases.values(row)))
        sent = json.loads(json.dumps(total, allow_nan=False))
        here, reasons = work.frames.settle(total, Budget(steps=20))
        there, _ = work.frames.settle(sent, Budget(steps=20))
        assert here == there == json.loads(json.dumps(here, allow_nan=False))
        assert all(isinstance(text, str) and text for text in reasons.values())

    def test_a_summary_names_no_case(self, simple):
        text = json.dumps(simple.work.frames.summarise(simple.work.cases.values(0)))
        assert "case00" not in text
        assert "P0" not in text

    def test_preparation_is_exact_and_its_facts_are_json(self, simple):
        work = simple.work
        for row in (0, UNKNOWN):
            one, two = (work.frames.prepare(work.cases.values(row), work.settings) for _ in range(2))
            assert one.arrays.keys() == two.arrays.keys()
            assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)
            assert json.loads(json.dumps(one.facts, allow_nan=False)) == two.facts

    def test_a_draw_is_plain_data_and_can_be_replayed(self, simple):
        work = simple.work
        for name, frame in work.frames.frames.items():
            own, prepared = work.settings[name], work.ready[0]
            for seed in range(8):
                draw = frame.draw(np.random.default_rng(seed), prepared, own)
                again = frame.draw(np.random.default_rng(seed), prepared, own)
                assert draw == again
                plain = json.loads(json.dumps(dataclasses.asdict(draw), allow_nan=False)) if draw is not None else None
                replayed = None if plain is None else type(draw)(**plain)
                first, second, third = (frame.apply(prepared, one, own) for one in (draw, draw, replayed))
                for key, tensor in first.items():
                    assert torch.equal(tensor, second[key])
                    assert torch.equal(tensor, third[key])

    def test_applying_leaves_the_prepared_case_as_it_was(self, simple):
        work = simple.work
        before = {name: array.copy() for name, array in work.ready[1].arrays.items()}
        for seed in range(6):
            work.frames.sample(np.random.default_rng(seed), work.ready[1], work.settings)
        assert all(np.array_equal(before[name], array) for name, array in work.ready[1].arrays.items())

    def test_the_whole_case_is_shaped_as_a_sample(self, simple):
        work = simple.work
        for name, frame in work.frames.frames.items():
            prepared, own = work.ready[0], work.settings[name]
            whole = frame.whole(prepared, own)
            sample = frame.apply(prepared, frame.draw(np.random.default_rng(0), prepared, own), own)
            assert {key: (t.shape, t.dtype) for key, t in whole.items()} == {
                key: (t.shape, t.dtype) for key, t in sample.items()
            }


class TestInputs:
    def test_features_are_plain_numbers_of_one_length(self, simple):
        work = simple.work
        for field in work.task.inputs:
            kind = registry.kind(field.kind)
            found = [
                kind.features(work.ready[row].arrays[field.name], field, work.settings[kind.frame])
                for row in simple.rows
            ]
            assert {own.shape for own in found} == {(len(found[0]),)}
            assert np.isfinite(found).all()

    def test_no_patient_stands_on_both_sides(self, simple):
        parts = defaultdict(set)
        for patient, part in zip(simple.work.cases.patients(), simple.work.split.parts, strict=True):
            parts[patient].add(part)
        assert all(len(own) == 1 for own in parts.values())
        assert {"train", "valid", "test"} <= set(simple.work.split.parts)


class TestAnswers:
    def test_the_truth_is_judged_perfect(self, simple):
        """Outputs made of the truth give the best score, through answer, judge and scores."""
        truths = [simple.work.ready[row].arrays[simple.target.name] for row in simple.rows]
        outputs, best = simple.maker.perfect(truths), simple.maker.best
        assert simple.score(outputs) == pytest.approx(best, abs=1e-6)
        assert simple.kind.quick(outputs, truths, simple.target) == pytest.approx(best, abs=1e-3)

    def test_scores_are_those_defined(self, simple):
        learner = registry.learner(simple.name)()
        learner.fit(simple.part(), simple.work.task, simple.work.settings, 0)
        outputs = [learner.infer(simple.work.ready[row])[simple.target.name] for row in simple.rows]
        truths = [one[simple.target.name] for one in simple.part().truths]
        judged = [
            simple.kind.judge(answer, truth, simple.target)
            for answer, truth in zip(simple.answers(outputs), truths, strict=True)
        ]
        assert json.loads(json.dumps(judged, allow_nan=False)) == judged
        found = simple.kind.scores(judged, simple.target)
        assert set(found[""]) == set(simple.kind.definitions)
        assert all(set(own) <= set(simple.kind.definitions) for own in found.values())
        nothing = simple.kind.scores([], simple.target)[""]
        assert all(np.isnan(value) for value in nothing.values())

    def test_what_is_written_is_there_and_reads_back(self, simple, tmp_path):
        learner = registry.learner(simple.name)()
        learner.fit(simple.part(), simple.work.task, simple.work.settings, 0)
        row = simple.rows[0]
        output = learner.infer(simple.work.ready[row])[simple.target.name]
        settings = simple.work.settings[simple.kind.frame]
        answer = simple.kind.answer(output, simple.work.ready[row], simple.target, settings, {})
        paths = simple.kind.write(answer, simple.work.cases.values(row), tmp_path / "out" / "case", form="auto")
        assert paths
        assert sorted(paths) == sorted(path for path in (tmp_path / "out").iterdir())
        if simple.kind.from_file:
            column = simple.target.columns[0]
            table = pd.DataFrame({column: [str(paths[0])]})
            back = simple.kind.open(simple.target, table, tmp_path).read(0)
            np.testing.assert_array_equal(back.array, answer.value.array)
            assert back.geometry.close_to(answer.value.geometry)
        else:
            assert str(answer.value) in paths[0].read_text()
