import contextlib
import json
import zipfile

import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from galenic.core import registry
from galenic.core.contract import Field, Learner, Part, Prepared
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.task import Task
from galenic.tables import keep
from galenic.tables.learners import Boosting, Columns, Logistic, Mean, Prior, Ridge
from galenic.tables.read import Numbers

LEARNERS = [Prior, Logistic, Boosting]
TASK = Task(
    name="two",
    inputs=[
        Field(name="labs", kind="number", columns=["a", "b"]),
        Field(name="sex", kind="category", columns=["sex"]),
    ],
    targets=[
        Field(name="ill", kind="category", columns=["ill"]),
        Field(name="stage", kind="category", columns=["stage"]),
    ],
)
FRAMES = {
    "row": {
        "cases": 80,
        "numbers": {"labs": {"columns": ["a", "b"]}},
        "categories": {
            "sex": {"labels": ["f", "m"], "counts": [40, 40]},
            "ill": {"labels": ["no", "yes"], "counts": [40, 40]},
            "stage": {"labels": ["I", "II", "III", "IV"], "counts": [40, 20, 20, 0]},
        },
    }
}


def cases(seed=0, number=80):
    """Cases whose first number tells the truths, some with gaps, some without a truth, one without its labs."""
    rng = np.random.default_rng(seed)
    prepared, truths = [], []
    for at in range(number):
        z, flags = rng.normal(size=2), (rng.random(2) > 0.1).astype(float)
        arrays = {
            "labs": np.concatenate([z * flags, flags]).astype(np.float32),
            "sex": np.eye(3, dtype=np.float32)[at % 2],
        }
        prepared.append(Prepared(arrays if at != 7 else {"sex": arrays["sex"]}))
        value = z[0] * flags[0]
        stage = None if at % 9 == 0 else "I" if value < 0 else "II" if value < 0.7 else "III"
        truths.append({"ill": "yes" if value > 0 else "no", "stage": stage})
    return Part([str(at) for at in range(number)], prepared, truths)


def fitted(maker) -> Learner:
    learner = maker()
    learner.fit(cases(), TASK, FRAMES, 0)
    return learner


@pytest.mark.parametrize("maker", LEARNERS)
def test_learning_keeping_and_taking_up_again(maker, tmp_path):
    learner = fitted(maker)
    learner.save(tmp_path)
    again = maker()
    again.load(tmp_path, TASK, FRAMES)
    for prepared in cases(1, 20).prepared:
        one, other = learner.infer(prepared), again.infer(prepared)
        assert set(one) == {"ill", "stage"}
        assert (one["ill"].shape, one["stage"].shape) == ((2,), (4,))
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
            assert np.exp(one[name]).sum() == pytest.approx(1, abs=1e-5)
        assert one["stage"][3] == pytest.approx(np.log(1e-7))


@pytest.mark.parametrize("maker", [Logistic, Boosting])
def test_the_truth_is_found_and_the_same_seed_gives_the_same(maker):
    one, other = fitted(maker), fitted(maker)
    new = cases(5, 60)
    right = 0
    for prepared, truth in zip(new.prepared, new.truths, strict=True):
        said = one.infer(prepared)
        np.testing.assert_array_equal(said["ill"], other.infer(prepared)["ill"])
        right += ("no", "yes")[int(said["ill"].argmax())] == truth["ill"]
    assert right >= 50


def test_the_prior_is_how_frequent_each_class_is():
    part = cases()
    share = np.mean([truth["ill"] == "yes" for truth in part.truths])
    assert np.exp(fitted(Prior).infer(part.prepared[0])["ill"][1]) == pytest.approx(share)


@pytest.mark.parametrize("maker", LEARNERS)
def test_each_is_registered_and_says_what_it_can_not_do(maker):
    assert registry.learner(maker.name) is maker
    assert maker().fits(TASK) == ""
    masks = [Field(name="m", kind="mask", columns=["m"])]
    assert "m is not" in maker().fits(TASK.model_copy(update={"targets": masks}))
    assert maker.name in registry.target(TASK.targets[0]).baselines


def test_an_input_that_no_training_case_has_is_left_out(tmp_path):
    part = cases()
    bare = Part(
        part.ids,
        [Prepared({"labs": one.arrays["labs"]}) for one in part.prepared if "labs" in one.arrays],
        part.truths[:79],
    )
    learner = Boosting()
    learner.fit(bare, TASK, FRAMES, 0)
    learner.save(tmp_path)
    again = Boosting()
    again.load(tmp_path, TASK, FRAMES)
    assert again.infer(part.prepared[0])["ill"].shape == (2,)


@pytest.mark.parametrize("maker", [Logistic, Boosting])
def test_what_can_not_be_learnt_from_is_told(maker):
    part = cases()
    with pytest.raises(ValueProblem, match="two classes"):
        maker().fit(Part(part.ids, part.prepared, [{"ill": "no", "stage": "I"}] * 80), TASK, FRAMES, 0)
    with pytest.raises(ValueProblem, match="no input has a value"):
        maker().fit(Part(part.ids, [Prepared({})] * 80, part.truths), TASK, FRAMES, 0)


def test_a_prior_without_truths_is_told():
    part = cases()
    with pytest.raises(ValueProblem, match="no truth"):
        Prior().fit(Part(part.ids, part.prepared, [{}] * 80), TASK, FRAMES, 0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logistic")
    fitted(Logistic).save(folder)
    return folder


def test_a_type_that_is_not_on_the_list_is_refused(tmp_path):
    skops.io.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "model.skops")
    with pytest.raises(ModelFolderError, match="LinearRegression"):
        keep.load(tmp_path / "model.skops")


@pytest.mark.parametrize(
    "node",
    [
        {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": {}},
        {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode", "content": {}},
        {"__class__": "dict", "__module__": "builtins", "__loader__": "MethodNode", "content": {}},
        {"__class__": ["os"], "__module__": {}, "__loader__": ["ObjectNode"]},
    ],
)
def test_a_file_that_would_call_something_is_refused(node, kept, tmp_path):
    file = tmp_path / "model.skops"
    with zipfile.ZipFile(kept / "model_0.skops") as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "schema.json":
                schema = json.loads(data)
                schema["content"]["content"]["memory"] = node
                data = json.dumps(schema).encode()
            new.writestr(entry.filename, data)
    with pytest.raises(ModelFolderError):
        keep.load(file)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_damaged_files_only_our_own_errors_come_out(kept, tmp_path, place, noise):
    for name in ("model_0.skops", "state.json"):
        whole = (kept / name).read_bytes()
        at = place % len(whole)
        for other in ("model_0.skops", "model_1.skops", "state.json"):
            (tmp_path / other).write_bytes((kept / other).read_bytes())
        (tmp_path / name).write_bytes(whole[:at] + noise + whole[at + len(noise) * (place % 2) :])
        with contextlib.suppress(ModelFolderError):  # anything else fails the test
            Logistic().load(tmp_path, TASK, FRAMES)


@pytest.mark.parametrize("maker", LEARNERS)
def test_the_state_of_another_learner_task_or_plan_is_refused(maker, tmp_path, kept):
    with pytest.raises(ModelFolderError):
        maker().load(tmp_path, TASK, FRAMES)
    fitted(maker).save(tmp_path)
    one = TASK.model_copy(update={"targets": TASK.targets[:1]})
    with pytest.raises(ModelFolderError, match="holds the state"):
        maker().load(tmp_path, one, FRAMES)
    other = Prior if maker is not Prior else Logistic
    with pytest.raises(ModelFolderError, match="holds the state"):
        other().load(tmp_path, TASK, FRAMES)


def test_a_prior_of_other_labels_is_refused(tmp_path):
    fitted(Prior).save(tmp_path)
    frames = json.loads(json.dumps(FRAMES))
    frames["row"]["categories"]["ill"]["labels"].append("perhaps")
    with pytest.raises(ModelFolderError, match="other labels"):
        Prior().load(tmp_path, TASK, frames)


class TestColumns:
    """A picture beside two numbers: the learner sees the numbers alone."""

    BOTH = TASK.model_copy(update={"inputs": [*TASK.inputs, Field(name="scan", kind="image", columns=["scan"])]})

    def part(self):
        part = cases()
        rng = np.random.default_rng(1)
        scans = [rng.normal(size=(1, 6, 6)).astype(np.float32) for _ in part.prepared]
        held = [Prepared({**own.arrays, "scan": scan}) for own, scan in zip(part.prepared, scans, strict=True)]
        return Part(part.ids, held, part.truths)

    def test_it_fits_where_something_stands_beside_plain_columns(self):
        assert Columns().fits(self.BOTH) == ""
        assert "beside" in Columns().fits(TASK)
        alone = TASK.model_copy(update={"inputs": self.BOTH.inputs[2:]})
        assert "beside" in Columns().fits(alone)

    def test_it_is_the_logistic_regression_without_the_picture(self):
        part = self.part()
        columns, logistic = Columns(), Logistic()
        frames = {**FRAMES, "space": {"images": {"scan": {}}}}
        columns.fit(part, self.BOTH, frames, 0)
        logistic.fit(cases(), TASK, FRAMES, 0)
        for prepared in part.prepared[:9]:
            for name, found in columns.infer(prepared).items():
                np.testing.assert_allclose(found, logistic.infer(prepared)[name], rtol=1e-5)

    def test_its_state_comes_back(self, tmp_path):
        part, columns, frames = self.part(), Columns(), {**FRAMES, "space": {"images": {"scan": {}}}}
        columns.fit(part, self.BOTH, frames, 0)
        columns.save(tmp_path)
        again = Columns()
        again.load(tmp_path, self.BOTH, frames)
        assert np.array_equal(again.infer(part.prepared[0])["ill"], columns.infer(part.prepared[0])["ill"])


OF_NUMBERS = [Mean, Ridge, Boosting]
LOS = TASK.model_copy(update={"targets": [Field(name="los", kind="number", columns=["los"], target=True)]})
WITH_LOS = {"row": {**FRAMES["row"], "numbers": {**FRAMES["row"]["numbers"], "los": {"mean": [10.0], "sd": [4.0]}}}}


def stays(seed=0, number=80):
    """The same cases; the first number tells the length of stay, which two of them lack."""
    part = cases(seed, number)
    truths = []
    for at, prepared in enumerate(part.prepared):
        z = float(prepared.arrays["labs"][0]) if "labs" in prepared.arrays else 0.0
        truths.append({"los": None if at in (3, 5) else Numbers(("los",), np.array([10 + 4 * z]))})
    return Part(part.ids, part.prepared, truths)


@pytest.mark.parametrize("maker", OF_NUMBERS)
def test_numbers_are_learnt_kept_and_taken_up_again(maker, tmp_path):
    learner = maker()
    learner.fit(stays(), LOS, WITH_LOS, 0)
    learner.save(tmp_path)
    again = maker()
    again.load(tmp_path, LOS, WITH_LOS)
    new, errors = stays(1, 60), []
    for prepared, truth in zip(new.prepared, new.truths, strict=True):
        one, other = learner.infer(prepared)["los"], again.infer(prepared)["los"]
        np.testing.assert_array_equal(one, other)
        assert one.shape == (1,)
        if truth["los"] is not None:
            errors.append(one[0] - (truth["los"].values[0] - 10) / 4)
    least = {"mean": 2.0, "ridge": 0.3, "boosting": 0.6}[maker.name]
    assert np.sqrt(np.mean(np.square(errors))) < least


def test_the_mean_is_that_of_the_training_cases():
    learner, part = Mean(), stays()
    learner.fit(part, LOS, WITH_LOS, 0)
    values = [truth["los"].values[0] for truth in part.truths if truth["los"] is not None]
    assert learner.infer(part.prepared[0])["los"][0] == pytest.approx((np.mean(values) - 10) / 4)


@pytest.mark.parametrize("maker", OF_NUMBERS)
def test_learners_of_numbers_are_registered_and_say_what_they_can_not_do(maker):
    assert registry.learner(maker.name) is maker
    assert maker.name in registry.target(LOS.targets[0]).baselines
    assert maker().fits(LOS) == ""
    both = LOS.model_copy(update={"targets": [*LOS.targets, TASK.targets[0]]})
    assert (maker().fits(both) == "") == (maker is Boosting)
    assert "los is not" in Prior().fits(LOS)


def test_trees_answer_a_category_and_a_number_at_once(tmp_path):
    both = LOS.model_copy(update={"targets": [TASK.targets[0], *LOS.targets]})
    part, more = cases(), stays()
    truths = [one | other for one, other in zip(part.truths, more.truths, strict=True)]
    learner = Boosting()
    learner.fit(Part(part.ids, part.prepared, truths), both, WITH_LOS, 0)
    learner.save(tmp_path)
    again = Boosting()
    again.load(tmp_path, both, WITH_LOS)
    said = again.infer(part.prepared[0])
    assert (said["ill"].shape, said["los"].shape) == ((2,), (1,))
    (tmp_path / "model_0.skops").replace(tmp_path / "moved")
    (tmp_path / "model_1.skops").replace(tmp_path / "model_0.skops")
    (tmp_path / "moved").replace(tmp_path / "model_1.skops")
    with pytest.raises(ModelFolderError, match="does not fit the plan"):
        Boosting().load(tmp_path, both, WITH_LOS)


@pytest.mark.parametrize("maker", OF_NUMBERS)
def test_numbers_that_can_not_be_learnt_from_are_told(maker):
    part = stays()
    with pytest.raises(ValueProblem, match="los"):
        maker().fit(Part(part.ids, part.prepared, [{"los": None}] * 80), LOS, WITH_LOS, 0)
    if maker is not Mean:
        one = Numbers(("los",), np.array([3.0]))
        with pytest.raises(ValueProblem, match="fewer than two values"):
            maker().fit(Part(part.ids, part.prepared, [{"los": one}] * 80), LOS, WITH_LOS, 0)
