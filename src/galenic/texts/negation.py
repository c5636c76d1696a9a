"""Which words of a text are negated: a declared step, written in the plan with the version of its lists.

After NegEx (Chapman et al., Journal of Biomedical Informatics 34:301, 2001): a trigger negates the words of a window
that follow it (or come before it), until a terminator, a mark or another trigger; a pseudo-negation negates nothing.
Beyond NegEx: the window begins anew at each member of a list ("denies fever, chills, cough, nausea or rash"); a trigger
that nothing follows answers what stands before it ("fever: no"); and a clause of its own ends the reach ("no fever, my
throat hurts"). Marked are words alone, and no function words. Grammar is not parsed: "no appetite, stomach pain" marks
the pain too, and a negation by a word's own meaning ("afebrile", "the fever has gone") is left to the learner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galenic.texts import english
from galenic.texts.tokens import ENDS, MARKS, Token

WINDOW = 5
_JOINERS = frozenset({",", "or", "nor"})
_ASKS = frozenset({":", "-", "?"})
_BRIEF = 3  # words before a bare "no" at the end of a clause: "fever no, cough yes"


@dataclass(frozen=True)
class Trigger:
    """A phrase, tokens[start:stop]; role: pseudo, before, after, end. reach: words that it negates at most."""

    start: int
    stop: int
    role: str
    reach: int


_ROLES: dict[tuple[str, ...], tuple[str, int]] = {
    **dict.fromkeys(english.TERMINATORS, ("end", 0)),
    **dict.fromkeys(english.BEFORE, ("before", 0)),
    **dict.fromkeys(english.NEXT, ("before", 1)),
    **dict.fromkeys(english.LAST, ("after", 1)),
    **dict.fromkeys(english.AFTER, ("after", 0)),
    **dict.fromkeys(english.PSEUDO, ("pseudo", 0)),
}
_LONGEST = max(map(len, _ROLES))


def version(language: str) -> str:
    """The version of the lists for a language; "" where there are none, and nothing is marked."""
    return english.VERSION if language == english.LANGUAGE else ""


def function_words(language: str) -> frozenset[str]:
    """The function words of a language; none where no list is kept."""
    return english.FUNCTION if language == english.LANGUAGE else frozenset()


def negated(tokens: Sequence[Token], window: int = WINDOW) -> list[bool]:
    """True for each token that is a negated English word; marks, numbers, triggers and function words are never."""
    words = [token.text for token in tokens]
    triggers = list(_triggers(words, window))
    held = {at for trigger in triggers for at in range(trigger.start, trigger.stop)}
    stops = {trigger.start for trigger in triggers}
    found: set[int] = set()
    for trigger in triggers:
        if trigger.role == "before":
            found.update(_forward(words, trigger, stops))
        elif trigger.role == "after":
            found.update(_backward(words, trigger, held))
    return [
        at in found and at not in held and token.is_word and token.text not in english.FUNCTION
        for at, token in enumerate(tokens)
    ]


def _triggers(words: Sequence[str], window: int) -> Iterator[Trigger]:
    """Phrases from left to right, the longest first, none within another."""
    at = 0
    while at < len(words):
        size, (role, reach) = _longest(words, at)
        if size:
            yield _by_place(words, Trigger(at, at + size, role, reach or window))
        at += size or 1


def _longest(words: Sequence[str], at: int) -> tuple[int, tuple[str, int]]:
    for size in range(min(_LONGEST, len(words) - at), 0, -1):
        role = _ROLES.get(tuple(words[at : at + size]))
        if role is not None:
            return size, role
    only_answer = words[at] in english.ANSWERS and _nothing_follows(words, at)
    return (1, ("before", 0)) if only_answer else (0, ("", 0))


def _by_place(words: Sequence[str], trigger: Trigger) -> Trigger:
    """A trigger that nothing follows answers what stands before it, or negates nothing ("No, I have fever")."""
    if trigger.role != "before" or not _nothing_follows(words, trigger.stop - 1):
        return trigger
    single = trigger.stop - trigger.start == 1 and words[trigger.start] in english.ANSWERS
    if single and _answers(words, trigger.start):
        return Trigger(trigger.start, trigger.stop, "after", trigger.reach)
    return Trigger(trigger.start, trigger.stop, "pseudo", 0)


def _nothing_follows(words: Sequence[str], at: int) -> bool:
    """True where the word is the last of its clause, or of an entry of a form ("fever: no cough: yes")."""
    rest = words[at + 1 : at + 2 + _BRIEF]
    if not rest or rest[0] in MARKS:
        return True
    marks = [word for word in rest if word in MARKS]
    return at > 0 and words[at - 1] == ":" and marks[:1] == [":"]


def _answers(words: Sequence[str], at: int) -> bool:
    """True for a word after "fever:", "fever -" or "fever?", for more than a bare "no", or after a brief phrase."""
    if at == 0:
        return False
    if words[at - 1] in _ASKS:
        return True
    before = 0
    while before < at and words[at - 1 - before] not in MARKS:
        before += 1
    return before > 0 and (words[at] not in ("no", "not", "never") or before <= _BRIEF)


def _forward(words: Sequence[str], trigger: Trigger, stops: set[int]) -> Iterator[int]:
    left = trigger.reach
    for at in range(trigger.stop, len(words)):
        word = words[at]
        if word in _JOINERS and trigger.reach > 1:
            if word == "," and _opens(words, at + 1):
                return
            left = trigger.reach
            continue
        if word in MARKS or at in stops or left == 0 or (word == "and" and _opens(words, at + 1)):
            return
        yield at
        left -= 1


def _opens(words: Sequence[str], at: int) -> bool:
    """True where a clause of its own begins, as with "my" or "and I"."""
    if at < len(words) and words[at] == "and":
        at += 1
    return at < len(words) and words[at] in english.OPENERS


def _backward(words: Sequence[str], trigger: Trigger, held: set[int]) -> Iterator[int]:
    at = trigger.start - 1
    if at >= 0 and words[at] in _ASKS and (words[at] not in ENDS or trigger.stop - trigger.start == 1):
        at -= 1
    for left in range(trigger.reach):
        place = at - left
        if place < 0 or words[place] in MARKS or place in held:
            return
        yield place
