import numpy as np
import pytest

from galenic.core import registry, simple
from galenic.core.contract import Field
from galenic.core.errors import TaskError
from galenic.core.task import Task
from galenic.texts.kinds import TEXT, WIDE
from galenic.texts.read import clean

FIELD = Field(name="symptoms", kind="text", columns=["text"])


def test_the_registry_knows_it_as_an_input_only():
    assert registry.kind("text") is TEXT
    with pytest.raises(TaskError, match="'text' as the kind of the target"):
        registry.target(FIELD)


def test_options_are_completed_and_checking_twice_changes_nothing():
    done = TEXT.check(FIELD)
    assert done.options == {"language": "en", "negation": True, "min_cases": 2}
    assert TEXT.check(done) == done
    german = TEXT.check(FIELD.model_copy(update={"options": {"language": "de"}}))
    assert german.options == {"language": "de", "negation": False, "min_cases": 2}


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ([], {}),
        (["a", "b"], {}),
        (["a*"], {}),
        (["a"], {"stem": True}),
        (["a"], {"language": "English"}),
        (["a"], {"language": 3}),
        (["a"], {"negation": "yes"}),
        (["a"], {"language": "de", "negation": True}),
        (["a"], {"min_cases": 1}),
        (["a"], {"min_cases": True}),
        (["a"], {"min_cases": 2.0}),
    ],
)
def test_a_wrong_field_is_told(columns, options):
    with pytest.raises(TaskError):
        TEXT.check(Field(name="x", kind="text", columns=columns, options=options))


def test_the_same_words_are_one_group_however_written():
    one = TEXT.group(clean("I have a fever, and chills."))
    assert one == TEXT.group(clean("i have a FEVER and chills"))
    assert one != TEXT.group(clean("I have chills, and a fever."))
    assert TEXT.group(None) is None


def test_features_are_counts_of_words_that_say_something(ill):
    field, settings = ill.task.inputs[0], ill.settings["words"]
    none = TEXT.features(ill.prepare(symptoms="I am not since").arrays["symptoms"], field, settings)
    assert none.shape == (WIDE,)
    assert not none.any()
    once = TEXT.features(ill.prepare(symptoms="I have a fever").arrays["symptoms"], field, settings)
    twice = TEXT.features(ill.prepare(symptoms="fever and fever again").arrays["symptoms"], field, settings)
    assert np.flatnonzero(once).tolist() == np.flatnonzero(twice).tolist()
    assert once.max() == pytest.approx(np.log(2))
    assert twice.max() == pytest.approx(np.log(3))
    denied = TEXT.features(ill.prepare(symptoms="I have no fever").arrays["symptoms"], field, settings)
    assert np.flatnonzero(denied).tolist() != np.flatnonzero(once).tolist()


def test_a_text_brings_its_own_simple_method(ill):
    names = simple.names_of(ill.task)
    assert set(names) == {"prior", "logistic", "boosting", "tfidf"}
    masks = Task(name="m", inputs=[FIELD], targets=[Field(name="m", kind="mask", columns=["m"])])
    assert "tfidf" not in simple.names_of(registry.checked(masks))
