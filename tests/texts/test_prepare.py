import json
from functools import reduce

import numpy as np
import pytest
import torch

from galenic.core import registry
from galenic.core.contract import Budget, Field
from galenic.core.errors import PlanError, ValueProblem
from galenic.texts.kinds import TEXT
from galenic.texts.prepare import MOST_LENGTH, WORDS, numbers, piece_numbers
from galenic.texts.read import clean
from galenic.texts.tokens import FIRST, PAD, PIECES, UNKNOWN, pieces
from galenic.texts.vary import Draw

BUDGET = Budget(steps=5)


def field(**options):
    return TEXT.check(Field(name="symptoms", kind="text", columns=["text"], options=options))


def settled(texts, **options):
    own = [field(**options)]
    parts = [WORDS.summarise({"symptoms": None if text is None else clean(text)}, own) for text in texts]
    return WORDS.settle(reduce(WORDS.merge, parts), own, BUDGET)


def prepared(text, settings, **options):
    return WORDS.prepare({"symptoms": clean(text)}, [field(**options)], settings)


TEXTS = ["Fever and a cough.", "No fever but a cough.", "No fever. Rash", "a rash, Mr Miller", None, "no cough"]


def test_the_vocabulary_is_what_two_cases_hold_and_no_name():
    settings, reasons = settled(TEXTS)
    own = settings["texts"]["symptoms"]
    assert own["vocabulary"].split(" ") == [".", "a", "no", "cough", "not:fever", "rash"]
    assert "miller" not in json.dumps(settings)
    assert "6 tokens that stand in 2 training cases" in reasons["symptoms.vocabulary"]
    assert "missing in 1" in reasons["symptoms.length"]
    assert "en-1" in reasons["symptoms.negation"]
    assert own["negation"] == {"on": True, "version": "en-1", "window": 5}
    assert own["length"] == 8
    assert settings["cases"] == 6
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings


def test_the_least_number_of_cases_can_be_raised():
    own = settled(TEXTS, min_cases=3)[0]["texts"]["symptoms"]
    assert own["vocabulary"].split(" ") == [".", "a", "no"]


def test_without_negation_the_word_is_the_word():
    settings, reasons = settled(TEXTS, negation=False)
    assert settings["texts"]["symptoms"]["vocabulary"].split(" ") == [".", "a", "cough", "fever", "no", "rash"]
    assert "off, as the task says" in reasons["symptoms.negation"]
    german, why = settled(["kein Fieber", "Fieber und kein Husten"], language="de")
    assert german["texts"]["symptoms"]["vocabulary"].split(" ") == ["fieber", "kein"]
    assert "no lists for the language 'de'" in why["symptoms.negation"]


def test_arrays_and_places_are_as_promised():
    settings, _ = settled(TEXTS)
    found = prepared("No fever, but hedache", settings)
    array, own = found.arrays["symptoms"], settings["texts"]["symptoms"]
    assert (array.dtype, array.shape) == (np.int32, (8, 1 + PIECES))
    vocabulary = numbers(own["vocabulary"])
    assert list(array[:, 0]) == [vocabulary["no"], vocabulary["not:fever"], UNKNOWN, UNKNOWN, PAD, PAD, PAD, PAD]
    assert min(vocabulary.values()) == FIRST
    numbered = piece_numbers(own["vocabulary"])
    assert own["different_pieces"] == len(numbered) == max(numbered.values())
    for place, token in enumerate(["no", "not:fever"]):
        expected = [numbered[piece] for piece in pieces(token)]
        np.testing.assert_array_equal(array[place, 1 : 1 + len(expected)], sorted(expected))
        assert not array[place, 1 + len(expected) :].any()
    assert not array[2:, 1:].any()
    facts = found.facts["words"]["fields"]["symptoms"]
    assert facts["places"] == [[0, 2], [3, 8], [10, 13], [14, 21]]
    assert facts["unknown"] == 0.5
    assert facts["known"] == 0.5
    assert facts["cut"] == {"tokens": 0, "characters": 0}
    assert json.loads(json.dumps(found.facts, allow_nan=False)) == found.facts


def test_an_unknown_word_has_the_pieces_that_the_vocabulary_has():
    settings, _ = settled(["cough and rash", "rash and cough"])
    array = prepared("coughh rush", settings).arrays["symptoms"]
    whole = prepared("cough rash", settings).arrays["symptoms"]
    assert list(array[:2, 0]) == [UNKNOWN, UNKNOWN]
    shared = set(array[0, 1:]) & set(whole[0, 1:])
    assert set(array[0, 1:]) - {0} == shared - {0}
    assert len(shared - {0}) >= 6
    assert not array[1, 1:].any()


def test_a_text_that_is_too_long_for_the_plan_is_cut_and_says_so():
    settings, _ = settled(TEXTS)
    found = prepared("no cough and a rash " * 10, settings)
    assert found.facts["words"]["fields"]["symptoms"]["cut"]["tokens"] == 42
    assert (found.arrays["symptoms"][:, 0] != PAD).all()
    long, reasons = settled(["cough " * 300, "cough rash", "rash"] * 2)
    assert long["texts"]["symptoms"]["length"] == 304
    longest, _ = settled(["cough " * 3000, "cough rash", "rash"] * 2)
    assert longest["texts"]["symptoms"]["length"] == MOST_LENGTH
    assert "the longest of 6 training texts has 300 tokens" in reasons["symptoms.length"]


def test_a_case_without_a_text_lacks_the_array_and_is_refused():
    settings, _ = settled(TEXTS)
    found = WORDS.prepare({"symptoms": None}, [field()], settings)
    assert found.arrays == {}
    assert found.facts["words"]["refuse"] == ["symptoms: the text is empty"]
    assert WORDS.apply(found, WORDS.draw(np.random.default_rng(0), found, settings), settings) == {}
    assert WORDS.whole(found, settings) == {}


def test_plain_words_from_python_are_read_as_a_cell_is():
    settings, _ = settled(TEXTS)
    one = WORDS.prepare({"symptoms": " No  fever "}, [field()], settings)
    two = WORDS.prepare({"symptoms": clean("No fever", language="en")}, [field()], settings)
    np.testing.assert_array_equal(one.arrays["symptoms"], two.arrays["symptoms"])
    assert one.facts == two.facts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Ich habe seit gestern Fieber und starke Kopfschmerzen", "in another language"),
        ("J'ai mal à la tête depuis trois jours et de la fièvre", "in another language"),
        ("The council has approved the budget for the new railway station", "about something else"),
        ("lorem ipsum dolor sit amet consectetur", "in another language"),
        ("xyzzy", "in another language"),
        ("Stock markets fell sharply as investors feared higher interest rates", "about something else"),
        ("it is what it is", "no word that says something"),
        ("38.5", "no word that says something"),
        ("发烧三天，咳嗽，没有皮疹", "in another language"),
    ],
)
def test_a_text_that_can_not_be_judged_is_refused(text, reason, ill):
    (refused,) = ill.prepare(symptoms=text).facts["words"]["refuse"]
    assert reason in refused


@pytest.mark.parametrize(
    "text",
    [
        "fever and cough",
        "I have feverr, a coughh and chills since last monday",
        "no fever; itchy rash",
        "headache",
        "feverr coughf chils naussea",
        "I have a ferver, a couhg, naussea and a throbing hedache since yestreday",
        "my neck is stiff and lights hurt, with nausea",
    ],
)
def test_a_text_like_those_of_training_is_not(text, ill):
    assert ill.prepare(symptoms=text).facts["words"]["refuse"] == []


def test_the_refusal_reaches_the_answer(ill):
    target = ill.task.targets[0]
    kind = registry.target(target)
    for text, reason in [(None, "is empty"), ("lorem ipsum dolor sit amet", "another language")]:
        answer = kind.answer(np.zeros(3), ill.prepare(symptoms=text), target, ill.settings["row"], {})
        assert answer.value is None
        assert reason in answer.refused
    fine = kind.answer(np.zeros(3), ill.prepare(symptoms="fever, cough"), target, ill.settings["row"], {})
    assert fine.refused is None


def test_words_are_hidden_as_the_draw_says_and_the_case_stays():
    settings, _ = settled(TEXTS)
    found = prepared("no fever but a rash", settings)
    before = found.arrays["symptoms"].copy()
    hidden = WORDS.apply(found, Draw({"symptoms": [1]}, {"symptoms": [4]}), settings)["symptoms"]
    whole = WORDS.whole(found, settings)["symptoms"]
    assert hidden[:5, 0].tolist() == [before[0, 0], UNKNOWN, before[2, 0], before[3, 0], UNKNOWN]
    assert torch.equal(hidden[1, 1:], whole[1, 1:])
    assert not hidden[4, 1:].any()
    same = [row for row in range(8) if row not in (1, 4)]
    assert torch.equal(hidden[same], whole[same])
    np.testing.assert_array_equal(found.arrays["symptoms"], before)
    nothing = WORDS.apply(found, Draw({"symptoms": []}, {"symptoms": []}), settings)["symptoms"]
    assert torch.equal(nothing, whole)


def test_as_many_words_are_hidden_as_planned(ill):
    settings = ill.settings["words"]
    rng = np.random.default_rng(0)
    spelt = gone = total = 0
    for _ in range(20):
        for case in ill.part.prepared:
            draw = WORDS.draw(rng, case, settings)
            assert not set(draw.spelt["symptoms"]) & set(draw.gone["symptoms"])
            spelt, gone = spelt + len(draw.spelt["symptoms"]), gone + len(draw.gone["symptoms"])
            total += int((case.arrays["symptoms"][:, 0] != PAD).sum())
    share = settings["texts"]["symptoms"]["word_dropout"] / 2
    assert spelt / total == pytest.approx(share, abs=0.01)
    assert gone / total == pytest.approx(share, abs=0.01)
    off = {**settings, "texts": {"symptoms": {**settings["texts"]["symptoms"], "word_dropout": 0.0}}}
    assert WORDS.draw(rng, ill.part.prepared[0], off) == Draw({"symptoms": []}, {"symptoms": []})


def test_a_plan_of_other_negation_lists_is_told():
    settings, _ = settled(TEXTS)
    settings["texts"]["symptoms"]["negation"]["version"] = "en-0"
    with pytest.raises(PlanError, match="en-0"):
        prepared("no fever", settings)


def test_texts_that_share_no_word_are_told():
    with pytest.raises(ValueProblem, match="no word of the text 'symptoms' stands in 2"):
        settled(["fever", "cough"])
    with pytest.raises(ValueProblem, match="no word"):
        settled([None, "38. ", "38."])


def test_many_words_are_cut_to_the_most_frequent(monkeypatch):
    from galenic.texts import counts, prepare

    monkeypatch.setattr(prepare, "MOST_VOCABULARY", 4)
    assert len(settled(TEXTS)[0]["texts"]["symptoms"]["vocabulary"].split(" ")) == 4
    bounded = counts.merge
    monkeypatch.setattr(prepare.counts, "merge", lambda one, other: bounded(one, other, 10))
    settings, reasons = settled([*TEXTS * 5, "some rare words here"])
    assert "too small" in reasons["symptoms.vocabulary"]
    assert settings["texts"]["symptoms"]["known"] < 1
