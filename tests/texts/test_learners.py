import json
from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from galenic.core import registry
from galenic.core.contract import Field, Part, Prepared
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.task import Task
from galenic.texts.learners import TfIdf


def fitted(world, part=None) -> TfIdf:
    learner = TfIdf()
    learner.fit(part or world.part, world.task, world.settings, 0)
    return learner


def answers(world, learner, cases):
    return [learner.infer(case)["disease"].argmax() for case in cases]


def test_new_texts_are_told_apart(ill, new_cases):
    learner = fitted(ill)
    labels = ill.settings["row"]["categories"]["disease"]["labels"]
    found = answers(ill, learner, [ill.prepare(symptoms=text) for text in new_cases["text"]])
    right = [labels[number] == truth for number, truth in zip(found, new_cases["disease"], strict=True)]
    assert np.mean(right) >= 0.9


def test_negation_counts_where_it_is_on(ill, unmarked):
    """A text of denied symptoms alone: no reason for the disease, unless the words are taken as they stand."""
    flu = ill.settings["row"]["categories"]["disease"]["labels"].index("flu")

    def of_flu(world, text):
        return float(np.exp(fitted(world).infer(world.prepare(symptoms=text))["disease"][flu]))

    said, denied = "fever, chills and a sore throat", "no fever, no chills and no sore throat"
    assert of_flu(ill, said) > 0.8
    assert of_flu(ill, denied) < 0.34
    assert of_flu(unmarked, denied) > 0.5


def test_weights_are_scikit_learns(ill):
    """The same rows as TfidfVectorizer makes of the token numbers written as words."""
    learner = fitted(ill)
    found = learner._rows([_terms(case) for case in ill.part.prepared]).toarray()
    written = [[str(number) for number in case.arrays["symptoms"][:, 0] if number] for case in ill.part.prepared]
    wanted = [" ".join(str(number) for number in pair if number) for pair in learner.terms]
    theirs = TfidfVectorizer(
        analyzer=lambda words: [*words, *(" ".join(pair) for pair in pairwise(words))],
        vocabulary=wanted, sublinear_tf=True,
    ).fit_transform(written).toarray()  # fmt: skip
    assert found.shape[1] > 100
    np.testing.assert_allclose(found, theirs, atol=1e-12)


def _terms(case):
    from galenic.texts.learners import _terms as terms

    return terms(case.arrays["symptoms"])


def test_answers_are_those_of_the_estimator(ill):
    """The plain sums of `infer` give the probabilities that scikit-learn gives."""
    from sklearn.linear_model import LogisticRegression

    learner = fitted(ill)
    rows = learner._rows([_terms(case) for case in ill.part.prepared])
    truth = [one["disease"] for one in ill.part.truths]
    theirs = LogisticRegression(C=10.0, max_iter=5000).fit(rows, truth).predict_proba(rows)
    for case, expected in zip(ill.part.prepared, theirs, strict=True):
        np.testing.assert_allclose(np.exp(learner.infer(case)["disease"]), expected, atol=1e-4)


def test_two_classes_and_one_without_a_case(ill):
    labels = ill.settings["row"]["categories"]["disease"]["labels"]
    two = [at for at, truth in enumerate(ill.part.truths) if truth["disease"] != labels[1]]
    part = Part(
        [ill.part.ids[at] for at in two], [ill.part.prepared[at] for at in two], [ill.part.truths[at] for at in two]
    )
    learner = fitted(ill, part)
    for at, case in zip(two, part.prepared, strict=True):
        log = learner.infer(case)["disease"]
        assert np.exp(log[1]) < 1e-6
        assert labels[log.argmax()] == ill.part.truths[at]["disease"]
        assert np.exp(log).sum() == pytest.approx(1, abs=1e-5)


def test_a_case_without_a_text_or_truth_is_left_out(ill):
    part = Part(
        [*ill.part.ids, "none", "unknown"], [*ill.part.prepared, Prepared({}), ill.part.prepared[0]],
        [*ill.part.truths, {"disease": "flu"}, {"disease": None}],
    )  # fmt: skip
    one, other = fitted(ill), fitted(ill, part)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(
        one.infer(Prepared({}))["disease"],
        np.log(np.exp(one.bias - one.bias.max()) / np.exp(one.bias - one.bias.max()).sum()),
    )


def test_kept_and_taken_up_again(ill, new_cases, tmp_path):
    learner = fitted(ill)
    learner.save(tmp_path)
    again = TfIdf()
    again.load(tmp_path, ill.task, ill.settings)
    for text in new_cases["text"]:
        case = ill.prepare(symptoms=text)
        np.testing.assert_array_equal(learner.infer(case)["disease"], again.infer(case)["disease"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.safetensors"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "state.json").write_text("[]"),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "state.safetensors").unlink(),
        lambda folder: (folder / "state.safetensors").write_bytes(b"damaged"),
        lambda folder: _change(folder, learner="prior"),
        lambda folder: _change(folder, text="complaint"),
        lambda folder: _arrays(folder, bias=np.zeros(2)),
        lambda folder: _arrays(folder, terms=np.zeros((3, 1), np.int32)),
        lambda folder: _arrays(folder, weights=np.full((3, 3), np.nan)),
        lambda folder: _arrays(folder, terms=None),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(ill, tmp_path, harm):
    fitted(ill).save(tmp_path)
    harm(tmp_path)
    with pytest.raises(ModelFolderError):
        TfIdf().load(tmp_path, ill.task, ill.settings)


def _change(folder, **fields):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | fields))


def _arrays(folder, **changed):
    arrays = load_file(folder / "state.safetensors") | changed
    save_file({name: array for name, array in arrays.items() if array is not None}, folder / "state.safetensors")


def test_it_says_what_it_can_not_do(ill, aged):
    assert TfIdf().fits(ill.task) == ""
    assert "one text and nothing else" in TfIdf().fits(aged.task)
    masks = Task(name="m", inputs=ill.task.inputs, targets=[Field(name="m", kind="mask", columns=["m"])])
    assert "one category" in TfIdf().fits(masks)
    assert registry.learner("tfidf") is TfIdf


def test_one_class_can_not_be_learnt(ill):
    part = Part(ill.part.ids, ill.part.prepared, [{"disease": "flu"}] * len(ill.part.ids))
    with pytest.raises(ValueProblem, match="1 classes"):
        fitted(ill, part)
