"""What counts as negated, phrase by phrase: negated words stand in [brackets]."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.texts import english
from galenic.texts.negation import negated, version
from galenic.texts.read import clean
from galenic.texts.tokens import split

PHRASES = [
    # before
    "no [fever]",
    "No [fever] or [chills]",
    "without [fever]",
    "w/o [fever]",
    "denies [chest] [pain] or [cough] but has a rash",
    "She denied any [chest] [pain].",
    "never had a [seizure]",
    "I don't have a [rash]",
    "I dont have a [rash]",
    "I haven't had any [fever] and my head aches",
    "he is not [jaundiced]",
    "there is no evidence of [pneumonia]",
    "negative for [malaria] and [dengue]",
    "free of [pain]",
    "neither [fever] nor [cough]",
    "absence of [bowel] [sounds]",
    "I have no sense of [smell]",
    "no longer [itchy]",
    "I can't [sleep]",
    # lists
    "denies [fever], [chills], [cough], [nausea], [vomiting], [rash] or [pain]",
    "no [fever], [cough], nor [rash]; headache",
    # after
    "[fever]: no",
    "[fever] - no",
    "[Fever]? No. Cough? Yes.",
    "[fever]: none, cough: mild",
    "[fever]: no cough: yes",
    "[fever] no, cough yes",
    "[chest] [pain] absent.",
    "[fever] is absent",
    "[pneumonia] was ruled out, but cough remains",
    "[meningitis] is unlikely",
    "rash on the arms; [blisters] not seen",
    "[fever] denied.",
    # one word alone
    "non-[itchy] rash",
    "non [productive] cough",
    "[pain]-free walking",
    # pseudo-negations
    "not only fever",
    "not only fever but also cough",
    "no increase in cough",
    "no change in the rash",
    "no relief of pain",
    "gram negative sepsis",
    "I can't stop coughing",
    "the cough won't go away",
    "the rash is not improving",
    "not without pain",
    "I have no idea why my head hurts",
    "not sure if fever or flu",
    "without warning my chest hurts",
    "no doubt a rash",
    # the scope ends
    "no [fever] but cough",
    "no [fever] however cough",
    "no [fever]. Cough.",
    "no [fever]; cough",
    "no [fever]\ncough",
    "no [fever] (cough since Monday)",
    "no [fever], my throat hurts",
    "no [fever] and I cough",
    "no [fever] and has a rash",
    "no [symptoms] other than fever",
    "no [fever] except at night with sweats",
    "no [pain] because of the tablets",
    "no [swelling] in the [left] [lower] painful leg",
    "No, I have fever",
    "no: rash",
    "Yes, fever",
    # nothing to negate
    "I have a fever and a rash",
    "notable rash, nodules and nosebleeds",
    "knot in my stomach",
    "no",
    "not",
    "no 38.5",
]


def marked(text):
    tokens = split(text)
    done = text
    for token, against in reversed(list(zip(tokens, negated(tokens), strict=True))):
        if against:
            done = f"{done[: token.start]}[{done[token.start : token.end]}]{done[token.end :]}"
    return done


@pytest.mark.parametrize("phrase", PHRASES)
def test_the_negated_words_of(phrase):
    assert marked(re.sub(r"[\[\]]", "", phrase)) == phrase


def test_the_window_is_five_words_and_can_be_another():
    tokens = split("no red hot dry sore throat pain here")
    assert [token.text for token, against in zip(tokens, negated(tokens), strict=True) if against] == [
        "red", "hot", "dry", "sore", "throat",
    ]  # fmt: skip
    assert sum(negated(tokens, 2)) == 2
    assert sum(negated(tokens, 1)) == 1


@given(
    st.lists(st.sampled_from([*"abc,.:;-", "no", "not", "fever", "denies", "but", "or", "and", "is", "absent", "only"]))
)
def test_any_row_of_words_is_bounded(words):
    text = clean(" ".join(words))
    if text is None:
        return
    tokens = split(text.text)
    found = negated(tokens)
    assert len(found) == len(tokens)
    for token, against in zip(tokens, found, strict=True):
        if against:
            assert token.is_word
            assert token.text not in english.FUNCTION
            assert token.text not in ("no", "not", "denies", "but")
    if not {"no", "not", "denies", "absent"} & set(words):
        assert not any(found)


def test_a_full_stop_parts_what_is_judged():
    """Each sentence alone gives what they give together."""
    sentences = ["no fever", "denies pain or cough", "a rash", "not only itching", "chills absent"]
    apart = [any(negated(split(one))) for one in sentences]
    tokens = split(". ".join(sentences))
    together = negated(tokens)
    place = 0
    for one, alone in zip(sentences, apart, strict=True):
        size = len(split(one))
        assert any(together[place : place + size]) == alone
        place += size + 1


def test_the_lists_are_sound():
    assert version("en") == english.VERSION
    assert version("de") == version("") == ""
    lists = [english.BEFORE, english.AFTER, english.PSEUDO, english.TERMINATORS, english.NEXT, english.LAST]
    for phrases in lists:
        assert all(phrase and all(word == word.lower() for word in phrase) for phrase in phrases)
        assert all([token.text for token in split(" ".join(phrase))] == list(phrase) for phrase in phrases)
    for at, one in enumerate(lists):
        for other in lists[at + 1 :]:
            assert one & other == set()
