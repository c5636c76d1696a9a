"""What a report draws of answers: each figure against what it should show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from galenic.core.contract import Field
from galenic.core.figures import Figure, Sheet
from galenic.tables.kinds import CATEGORY, NUMBER

ILL = Field(name="ill", kind="category", columns=["ill"], target=True)
LOS = Field(name="los", kind="number", columns=["los"], options={"unit": "days"}, target=True)


def records(count=300, classes=2, seed=0, positive=1):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[truth]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [f"class {number}" for number in range(classes)] if classes > 2 else ["no", "yes"]
    return [
        {"labels": labels, "positive": positive, "p": row.tolist(), "truth": int(own), "among": [],
         "called": int(row.argmax())}
        for row, own in zip(p, truth, strict=True)
    ]  # fmt: skip


def of_category(judged, **others):
    ids = [f"c{at}" for at in range(len(judged))]
    drawn = CATEGORY.figures(ids, {"this model": judged, **others}, ILL)
    return {one.title: one for one in drawn}


def line(figure, name):
    return next(own for own in figure.lines if own.name == name)


def test_everything_that_is_promised_is_there():
    found = of_category(records())
    assert list(found) == ["ROC", "Precision and recall", "Calibration", "Decision curve", "Probabilities", "Confusion",
                           "The most wrong cases"]  # fmt: skip
    assert {name for name, one in found.items() if isinstance(one, Sheet)} == {"Confusion", "The most wrong cases"}


def test_the_roc_curve_is_scikit_learns_and_stands_beside_the_simple_method():
    judged, simple = records(60), records(60, seed=1)
    figure = of_category(judged, trees=simple)["ROC"]
    truth = np.array([one["truth"] for one in judged])
    p = np.array([one["p"][1] for one in judged])
    alarms, hits, _ = metrics.roc_curve(truth, p, drop_intermediate=False)
    own = line(figure, "this model")
    np.testing.assert_allclose(own.x, alarms)
    np.testing.assert_allclose(own.y, hits)
    assert [one.name for one in figure.lines] == ["this model", "trees", "chance"]
    assert f"this model, area {metrics.roc_auc_score(truth, p):.3f}" in figure.spoken


def test_precision_and_recall_are_scikit_learns():
    judged = records(60)
    truth, p = np.array([one["truth"] for one in judged]), np.array([one["p"][1] for one in judged])
    precision, recall, _ = metrics.precision_recall_curve(truth, p)
    own = line(of_category(judged)["Precision and recall"], "this model")
    np.testing.assert_allclose(own.x, recall[:-1][::-1])
    np.testing.assert_allclose(own.y, precision[:-1][::-1])
    assert line(of_category(judged)["Precision and recall"], "chance").y == pytest.approx([truth.mean()] * 2)


def test_many_cases_make_no_longer_a_line():
    for figure in (one for one in of_category(records(5000)).values() if isinstance(one, Figure)):
        assert all(len(own.x) <= 201 for own in figure.lines)
    ends = line(of_category(records(5000))["ROC"], "this model")
    assert (ends.x[0], ends.y[0], ends.x[-1], ends.y[-1]) == (0, 0, 1, 1)


def test_calibration_is_by_groups_of_equally_many():
    judged = records(300)
    own = line(of_category(judged)["Calibration"], "this model")
    p, truth = (np.array([one[name] for one in judged]) for name in ("p", "truth"))
    order = np.argsort(p[:, 1], kind="stable")
    assert len(own.x) == 10
    assert own.x[0] == pytest.approx(p[order[:30], 1].mean())
    assert own.y[-1] == pytest.approx((truth[order[-30:]] == 1).mean())
    assert len(line(of_category(records(12))["Calibration"], "this model").x) == 1


def test_the_decision_curve_meets_calling_everyone_and_nobody():
    judged = records()
    figure = of_category(judged)["Decision curve"]
    ours, everyone = line(figure, "this model"), line(figure, "call everyone")
    share = np.mean([one["truth"] for one in judged])
    at = np.array(everyone.x)
    np.testing.assert_allclose(everyone.y, share - (1 - share) * at / (1 - at))
    assert ours.y[0] == pytest.approx(everyone.y[0], abs=0.01)
    assert max(ours.y) <= share + 1e-9
    assert line(figure, "call nobody").y == [0.0, 0.0]


def test_histograms_are_shares_of_each_side():
    figure = of_category(records())["Probabilities"]
    assert [own.name for own in figure.lines] == ["yes", "not yes"]
    assert all(sum(own.y) == pytest.approx(1) for own in figure.lines)


def test_the_most_wrong_come_first_with_their_ids():
    judged = records(40)
    sheet = of_category([*judged, {**judged[0], "p": []}])["The most wrong cases"]
    given = [one["p"][one["truth"]] for one in judged]
    order = np.argsort(given, kind="stable")[:10]
    assert [row[0] for row in sheet.rows] == [f"c{at}" for at in order]
    assert sheet.rows[0][3] == f"{min(given):.3f}"
    assert len(sheet.head) == len(sheet.rows[0])


def test_confusion_shows_refusals_only_where_there_are_some():
    judged = records(40)
    assert of_category(judged)["Confusion"].head == ["truth", "called no", "called yes"]
    refused = of_category([*judged, {**judged[0], "p": [], "called": -1}])["Confusion"]
    assert refused.head[-1] == "refused"
    assert sum(int(row[-1]) for row in refused.rows) == 1
    assert sum(int(cell) for row in refused.rows for cell in row[1:]) == 41


def test_several_classes_have_a_line_each():
    found = of_category(records(300, classes=9, positive=-1))
    assert "Decision curve" not in found
    assert len(found["ROC"].lines) == 7
    assert "most probable class" in found["Calibration"].x


@given(st.integers(1, 12), st.integers(2, 4), st.integers(0, 50), st.integers(-1, 1))
@settings(deadline=None, max_examples=60)
def test_few_cases_and_missing_classes_are_borne(count, classes, seed, positive):
    for one in of_category(records(count, classes=classes, seed=seed, positive=positive)).values():
        if isinstance(one, Figure):
            assert all(np.isfinite(own.x).all() and np.isfinite(own.y).all() for own in one.lines)
        else:
            assert all(len(row) == len(one.head) for row in one.rows)


def test_nothing_answered_is_nothing_drawn():
    assert CATEGORY.figures([], {}, ILL) == []
    assert CATEGORY.figures(["a"], {"this model": [{**records(1)[0], "p": []}]}, ILL) == []
    assert NUMBER.figures(["a"], {"this model": [{"value": None, "low": None, "high": None, "truth": 1.0}]}, LOS) == []


def test_numbers_are_drawn_over_their_truths_and_the_worst_listed():
    rng = np.random.default_rng(0)
    truth = rng.normal(10, 3, 30)
    value = truth + rng.normal(0, 1, 30)
    judged = [{"value": v, "low": None, "high": None, "truth": t} for v, t in zip(value, truth, strict=True)]
    against, errors, sheet = NUMBER.figures([f"c{at}" for at in range(30)], {"this model": judged}, LOS)
    assert against.x == "truth [days]"
    np.testing.assert_allclose(line(against, "a case").y, value)
    assert sum(line(errors, "cases").y) == 30
    order = np.argsort(-np.abs(value - truth))[:10]
    assert [row[0] for row in sheet.rows] == [f"c{at}" for at in order]
