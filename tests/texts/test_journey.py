"""From a table with a text column to a model folder that answers."""

import csv

import pandas as pd
import pytest

from galenic import verbs
from galenic.core.errors import LeakageError, ValueProblem
from galenic.values import Text


@pytest.fixture(scope="module")
def folder(tmp_path_factory, told_cases):
    """A model trained on the table of cases for a few steps; two of its texts are not there."""
    home = tmp_path_factory.mktemp("journey")
    frame = told_cases.drop(columns="age")
    frame.loc[[3, 40], "text"] = None
    frame.to_csv(home / "cases.csv", index=False)
    out = home / "model"
    verbs.train(
        home / "cases.csv", inputs=["text:text"], targets=["disease:category"], budget="80steps", out=out, device="cpu"
    )
    return out


def test_the_simple_method_and_the_scores_stand_in_the_folder(folder):
    metrics = verbs.read_metrics(folder)
    own = metrics["targets"]["disease"]
    names = {one["name"] for one in own["baselines"]}
    assert names == {
        "class frequencies",
        "logistic regression",
        "gradient-boosted trees",
        "TF-IDF and logistic regression",
    }
    assert own["scores"]["accuracy"]["value"] >= 0.8
    assert (folder / "learners" / "tfidf" / "state.safetensors").is_file()


def test_no_rare_word_stands_in_what_is_shared(folder, told_cases):
    shared = [path for path in folder.rglob("*") if path.is_file() and "private" not in path.parts]
    assert {"plan.json", "metrics.json", "card.md"} <= {path.name for path in shared}
    for path in shared:
        assert "c001" not in path.read_bytes().decode("latin-1")


def test_it_answers_texts_and_refuses_what_is_none(folder):
    model = verbs.load(folder, device="cpu")
    said = model(text=Text("I have fever, chills and a cough", "en"))["disease"]
    assert said.value == "flu"
    assert said.refused is None
    assert model(text="itchy rash and dry skin")["disease"].value == "eczema"
    assert "is empty" in model(text="")["disease"].refused
    with pytest.raises(ValueProblem, match="int for the text text"):
        model(text=5)
    assert "another language" in model(text="Seit gestern habe ich hohes Fieber und Husten")["disease"].refused


def test_a_table_is_answered_row_by_row_and_nothing_is_lost(folder, tmp_path):
    rows = [
        ("a", "itchy rash"),
        ("b", None),
        ("c", "bonjour tout le monde"),
        ("d", "throbbing headache, nausea and a stiff neck; no fever"),
    ]
    pd.DataFrame(rows, columns=["id", "text"]).to_csv(tmp_path / "new.csv", index=False)
    written = {one.id: one for one in verbs.predict(folder, [tmp_path / "new.csv"], tmp_path / "out", device="cpu")}
    assert set(written) == set("abcd")
    assert "is empty" in written["b"].refused
    assert "language" in written["c"].refused
    for name, value in (("a", "eczema"), ("d", "migraine")):
        (path,) = written[name].paths
        with path.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
        assert row["answer"] == value


def test_a_text_column_of_numbers_is_told(folder, tmp_path):
    pd.DataFrame({"id": ["a"], "text": [38.5]}).to_csv(tmp_path / "new.csv", index=False)
    (own,) = verbs.predict(folder, [tmp_path / "new.csv"], tmp_path / "out", device="cpu")
    assert "holds float64" in own.refused


def test_the_same_text_in_two_parts_is_a_leak(tmp_path, told_cases):
    frame = told_cases.drop(columns="age")
    frame["split"] = ["test" if at % 5 == 0 else "train" for at in range(len(frame))]
    frame.loc[1, "text"] = frame.loc[0, "text"].upper()
    frame.to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(LeakageError):
        verbs.check(tmp_path / "cases.csv", inputs=["text:text"], targets=["disease:category"], budget="2steps")
