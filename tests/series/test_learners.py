import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from galenic.core.contract import Field, Part, Prepared
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.task import Task
from galenic.series.learners import Kernels, Rocket, draw

LABELS = ["calm", "fast", "never"]
FRAMES = {
    "clock": {"series": {"ecg": {"padded": True}}},
    "row": {"categories": {"rhythm": {"labels": LABELS}}},
}
TASK = Task(
    name="rhythms",
    inputs=[Field(name="ecg", kind="series", columns=["ecg"], options={"waveform": True})],
    targets=[Field(name="rhythm", kind="category", columns=["rhythm"])],
)


def beat(rng, hertz, length=120, samples=120):
    """[samples, 2]: a noisy sine on the first `length` samples, and 1 where they are real."""
    wave = np.sin(2 * np.pi * (hertz * np.arange(length) / 100 + rng.random())) + rng.normal(0, 0.5, length)
    array = np.zeros((samples, 2), np.float32)
    array[:length, 0] = (wave - wave.mean()) / wave.std()
    array[:length, 1] = 1
    return Prepared({"ecg": array})


def part_of(rng, cases):
    truths = [LABELS[at % 2] for at in range(cases)]
    prepared = [beat(rng, 3 if truth == "calm" else 5, int(rng.integers(80, 121))) for truth in truths]
    return Part([str(at) for at in range(cases)], prepared, [{"rhythm": truth} for truth in truths])


@pytest.fixture(scope="module")
def fitted():
    learner = Rocket()
    learner.fit(part_of(np.random.default_rng(0), 40), TASK, FRAMES, 0)
    return learner


def test_rhythms_never_seen_are_told_apart(fitted):
    new = part_of(np.random.default_rng(1), 40)
    found = [LABELS[own["rhythm"].argmax()] for own in fitted.infer_many(new.prepared)]
    assert np.mean([one == truth["rhythm"] for one, truth in zip(found, new.truths, strict=True)]) >= 0.9


def test_one_case_is_answered_as_among_many(fitted):
    new = part_of(np.random.default_rng(2), 7)
    for one, many in zip(new.prepared, fitted.infer_many(new.prepared), strict=True):
        own = fitted.infer(one)["rhythm"]
        np.testing.assert_allclose(own, many["rhythm"], atol=1e-5)
        assert np.exp(own[:2]).sum() == pytest.approx(1, abs=1e-5)
        assert own[2] < np.log(1e-3)  # a label without a training case


@settings(max_examples=25, deadline=None)
@given(
    length=st.sampled_from([3, 7, 9]), dilation=st.integers(1, 3), padded=st.booleans(), channels=st.integers(1, 3),
    samples=st.integers(27, 40), real=st.integers(14, 27), seed=st.integers(0, 99),
)  # fmt: skip
def test_features_are_the_formula_written_out(length, dilation, padded, channels, samples, real, seed):
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(2, channels, length)).astype(np.float32), np.array([0.3, -0.2], np.float32)
    signal = rng.normal(size=(channels, samples)).astype(np.float32)
    reach = (length - 1) * dilation // 2
    kernels = Kernels(dilation, reach if padded else 0, weights, bias)
    there = torch.arange(samples)[None] < real
    found = kernels.features(torch.from_numpy(signal)[None], there)[0].numpy()
    ends = 0 if padded else reach
    for number in range(2):
        outputs = []
        for middle in range(ends, min(real, samples - ends)):
            total = float(bias[number])
            for at in range(length):
                place = middle - reach + at * dilation
                if 0 <= place < samples:
                    total += float(weights[number, :, at] @ signal[:, place])
            outputs.append(total)
        share = np.mean([own > 0 for own in outputs]) if outputs else 0.0
        assert found[number] == pytest.approx(share, abs=1e-6)
        assert found[2 + number] == pytest.approx(max(outputs, default=0.0), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 3000), samples=st.integers(1, 5000), channels=st.integers(1, 12), seed=st.integers(0, 99))
def test_kernels_fit_the_signal(count, samples, channels, seed):
    kernels = draw(np.random.default_rng(seed), count, samples, channels)
    for own in kernels:
        assert (own.weights.shape[2] - 1) * own.dilation < max(samples, 2)
        assert own.weights.shape[1] == channels
        assert (np.abs(own.weights).sum(axis=2) > 0).any(axis=1).all()
    again = draw(np.random.default_rng(seed), count, samples, channels)
    assert all((one.weights == other.weights).all() for one, other in zip(kernels, again, strict=True))


def test_what_was_saved_answers_alike(fitted, tmp_path):
    fitted.save(tmp_path)
    again = Rocket()
    again.load(tmp_path, TASK, FRAMES)
    new = part_of(np.random.default_rng(3), 5)
    for one, other in zip(fitted.infer_many(new.prepared), again.infer_many(new.prepared), strict=True):
        np.testing.assert_allclose(one["rhythm"], other["rhythm"], atol=1e-12)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "state.json").write_text(json.dumps({"learner": "rocket", "target": "sex"})),
        lambda folder: (folder / "state.safetensors").write_bytes(b"no"),
        lambda folder: save_file({"mean": np.zeros(3)}, folder / "state.safetensors"),
        lambda folder: save_file(
            load_file(folder / "state.safetensors") | {"weights": np.zeros((2, 4))}, folder / "state.safetensors"
        ),
    ],
)
def test_a_damaged_state_is_told(fitted, tmp_path, harm):
    fitted.save(tmp_path)
    harm(tmp_path)
    with pytest.raises(ModelFolderError, match="rocket"):
        Rocket().load(tmp_path, TASK, FRAMES)


def test_one_class_alone_can_not_be_learnt():
    part = part_of(np.random.default_rng(0), 6)
    with pytest.raises(ValueProblem, match="fewer than two classes"):
        Rocket().fit(Part(part.ids[::2], part.prepared[::2], part.truths[::2]), TASK, FRAMES, 0)


def test_it_reads_waveforms_and_answers_one_category():
    history = TASK.model_copy(update={"inputs": [Field(name="stay", kind="series", columns=["stay"])]})
    number = TASK.model_copy(update={"targets": [Field(name="age", kind="number", columns=["age"])]})
    assert Rocket().fits(TASK) == ""
    assert Rocket().fits(history) == "it reads waveforms"
    assert Rocket().fits(number) == "it answers one category"
