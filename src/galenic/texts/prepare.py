"""The frame of words: texts of a case become token numbers of one length, by a vocabulary from the training part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galenic.core.contract import Budget, Field, Prepared, Settings, Summary, Values
from galenic.core.errors import PlanError, ValueProblem
from galenic.texts import counts, negation
from galenic.texts.misspelt import is_misspelt
from galenic.texts.read import clean
from galenic.texts.tokens import FIRST, NOT, PIECES, UNKNOWN, Token, counted, is_word, pieces, plain, split
from galenic.texts.vary import Draw, apply_hidden, draw_hidden
from galenic.values import Text

MOST_VOCABULARY = 20_000
MOST_PIECES = 2**15  # different ones; of more, some share a number
MOST_LENGTH = 512
WHOLE_LENGTH = 256  # up to here the longest training text is taken whole
_LONGEST = 2048  # longer texts are counted together
_MULTIPLE = 8
_FEW = 4  # content words; of fewer, one that is known will do
_NEAR = 1 / 3  # of the pieces of a word, from which on they stand for it
_MISSPELT = 0.5  # what a misspelt word counts among the known ones: one of another topic may be taken for it
_COMMON = 0.1  # share of function words from which a text is taken to be of the task's language
_FAR = 0.4  # of the share of known words in training; under it a text is not judged


class Words:
    """The kind text.

    Settings: {"cases": n, "texts": {FIELD: {"vocabulary": words parted by blanks, the most frequent first, "length",
    "language", "negation": {"on", "version", "window"}, "pieces", "different_pieces", "known", "least",
    "word_dropout"}}}.
    Prepared: int32 [length, 1 + pieces]: the token's number (0 padding, 1 unknown, then the vocabulary), and the
    numbers from 1 on of those of its pieces that the vocabulary has, 0 where there are fewer; an unknown word of which
    less than a third is known has none. A case without the text lacks the array.
    facts["words"]: {"refuse": [why the case can't be judged], "fields": {FIELD: {"places": [[start, end]] of each token
    in the normalised text, "unknown": share of tokens, "known": share of its content words, "language": guess,
    "cut": {"tokens", "characters"}}}}.
    """

    name = "words"

    def summarise(self, values: Values, fields: Sequence[Field]) -> Summary:
        """Cases a token stands in (see `counts`), and lengths in tokens."""
        texts: dict[str, Any] = {}
        for field in fields:
            text = _text(values.get(field.name), field)
            own = [] if text is None else [token.text for token in _tokens(text.text, field.options["negation"])]
            texts[field.name] = {
                "missing": int(text is None),
                "lengths": {} if text is None else {str(min(len(own), _LONGEST)): 1},
                "tokens": counts.of(own),
            }
        return {"cases": 1, "texts": texts}

    def merge(self, one: Summary, other: Summary) -> Summary:
        """The summary of the cases of both; in whatever order while no more than `counts.MOST` tokens are met."""
        texts = {}
        for name in one["texts"]:
            ours, theirs = one["texts"][name], other["texts"][name]
            lengths = dict(ours["lengths"])
            for length, number in theirs["lengths"].items():
                lengths[length] = lengths.get(length, 0) + number
            texts[name] = {
                "missing": ours["missing"] + theirs["missing"],
                "lengths": lengths,
                "tokens": counts.merge(ours["tokens"], theirs["tokens"]),
            }
        return {"cases": one["cases"] + other["cases"], "texts": texts}

    def settle(
        self,
        summary: Summary,
        fields: Sequence[Field],
        budget: Budget,  # noqa: ARG002 - time changes nothing here
    ) -> tuple[Settings, dict[str, str]]:
        """Vocabulary, length and limits of each text. ValueProblem where no word stands in enough cases."""
        settings: Settings = {"cases": summary["cases"], "texts": {}}
        reasons: dict[str, str] = {}
        for field in fields:
            own, why = _settle(field, summary["texts"][field.name], summary["cases"])
            settings["texts"][field.name] = own
            reasons |= {f"{field.name}.{key}": text for key, text in why.items()}
        return settings, reasons

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:
        """Arrays and facts as the class says. PlanError where the plan's negation lists are not those installed."""
        arrays: dict[str, NDArray[Any]] = {}
        facts: dict[str, Any] = {}
        refuse: list[str] = []
        for field in fields:
            known = settings["texts"][field.name]
            text = _text(values.get(field.name), field)
            if text is None:
                refuse.append(f"{field.name}: the text is empty")
                continue
            arrays[field.name], facts[field.name] = _prepare(text, known)
            refuse += _refusals(field.name, facts[field.name], known)
        return Prepared(arrays, {"words": {"refuse": refuse, "fields": facts}})

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Draw:
        """Which words of each text are hidden; see `vary`."""
        return draw_hidden(rng, prepared, settings)

    def apply(self, prepared: Prepared, draw: Draw, settings: Settings) -> Mapping[str, Tensor]:
        return apply_hidden(prepared, draw, settings)

    def whole(self, prepared: Prepared, settings: Settings) -> Mapping[str, Tensor]:
        """Tensors of the texts, nothing hidden, without a batch axis."""
        return {name: torch.tensor(prepared.arrays[name]) for name in settings["texts"] if name in prepared.arrays}


@lru_cache(maxsize=16)
def numbers(vocabulary: str) -> Mapping[str, int]:
    """Token -> number, of a vocabulary as settings hold it."""
    return {token: FIRST + place for place, token in enumerate(vocabulary.split(" "))}


@lru_cache(maxsize=16)
def piece_numbers(vocabulary: str) -> Mapping[int, int]:
    """Hash of a piece -> number, of all pieces of the vocabulary's words; from 1 on, MOST_PIECES at most."""
    different = sorted({piece for token in vocabulary.split(" ") for piece in pieces(token)})
    return {piece: 1 + place % MOST_PIECES for place, piece in enumerate(different)}


def _text(value: Any, field: Field) -> Text | None:
    """A Text, also of plain words, as a caller from Python gives them; ValueProblem for what is no text."""
    if value is None or isinstance(value, Text):
        return value
    if not isinstance(value, str):
        raise ValueProblem(f"{type(value).__name__} for the text {field.name}", allowed="words")
    return clean(value, language=field.options["language"])


def _tokens(text: str, marked: bool, window: int = negation.WINDOW) -> list[Token]:
    found = split(text)
    return counted(found, negation.negated(found, window) if marked else [False] * len(found))


def _settle(field: Field, own: Mapping[str, Any], cases: int) -> tuple[Settings, dict[str, str]]:
    least, language = field.options["min_cases"], field.options["language"]
    words, total, under = own["tokens"]["words"], own["tokens"]["total"], own["tokens"]["under"]
    vocabulary = counts.frequent(words, least, MOST_VOCABULARY)
    if not any(map(is_word, vocabulary)):
        raise ValueProblem(
            f"no word of the text {field.name!r} stands in {least} training cases",
            allowed="texts that share words",
            todo="give more cases, or look at what the column holds",
        )
    kept = set(vocabulary)
    content = {token: count for token, count in words.items() if _is_content(token, language)}
    # what was lost over the bound is not known by name, and counted as unknown content
    lost = total - sum(words.values())
    known = sum(count for token, count in content.items() if token in kept) / max(sum(content.values()) + lost, 1)
    length, longest = _length(own["lengths"])
    settings: Settings = {
        "vocabulary": " ".join(vocabulary),
        "length": length,
        "language": language,
        "negation": _negation(field),
        "pieces": PIECES,
        "different_pieces": max(piece_numbers(" ".join(vocabulary)).values()),
        "known": round(known, 4),
        "least": round(_FAR * known, 4),
        "word_dropout": 0.2,
    }
    bound = f"; counts may be {under} too small, as over {counts.MOST} different ones were met" if under else ""
    return settings, {
        "vocabulary": f"the {len(vocabulary)} tokens that stand in {least} training cases or more, of {len(words)}"
        f"{bound}; rarer ones may name a person and are not kept",
        "length": f"the longest of {cases - own['missing']} training texts has {longest} tokens; missing in "
        f"{own['missing']}; up to {WHOLE_LENGTH} all are taken whole, else 99 % of them, {MOST_LENGTH} at most",
        "negation": _why_negation(settings["negation"], language),
        "language": "as the task says",
        "pieces": "of a longer word those with the least hashes stand for all (Broder 1997)",
        "different_pieces": f"all that the words of the vocabulary have; over {MOST_PIECES} some share a number",
        "known": "share of the training texts' words that say something which the vocabulary has",
        "least": f"{_FAR:g} of that share: under it a text is of another language or about something else, and refused",
        "word_dropout": "a word in five is hidden while training: half leave their pieces, which learn to stand for "
        "words that are misspelt or new (Bojanowski 2017), half leave nothing (Iyyer, ACL 2015)",
    }


def _negation(field: Field) -> dict[str, Any]:
    version = negation.version(field.options["language"])
    return {"on": field.options["negation"], "version": version, "window": negation.WINDOW}


def _why_negation(own: Mapping[str, Any], language: str) -> str:
    if own["on"]:
        return (
            f"negated words are tokens of their own (NegEx, Chapman 2001; lists {own['version']}, window "
            f"{own['window']} words)"
        )
    return "off, as the task says" if own["version"] else f"off: there are no lists for the language {language!r}"


def _length(lengths: Mapping[str, int]) -> tuple[int, int]:
    """(planned length, longest): a multiple of 8."""
    sizes = np.repeat([int(length) for length in lengths], list(lengths.values()))
    longest = int(sizes.max())
    wanted = longest if longest <= WHOLE_LENGTH else min(math.ceil(np.quantile(sizes, 0.99)), MOST_LENGTH)
    return max(-(-wanted // _MULTIPLE) * _MULTIPLE, _MULTIPLE), longest


def _prepare(text: Text, known: Settings) -> tuple[NDArray[np.int32], dict[str, Any]]:
    marking = known["negation"]
    if marking["on"] and marking["version"] != negation.version(known["language"]):
        raise PlanError(
            f"the plan was made with the negation lists {marking['version']}",
            allowed=negation.version(known["language"]),
            todo="train again, or use the galenic that made the plan",
        )
    tokens = _tokens(text.text, marking["on"], marking["window"])
    vocabulary = numbers(known["vocabulary"])
    found = [vocabulary.get(token.text, UNKNOWN) for token in tokens]
    kept = min(len(tokens), known["length"])
    array = np.zeros((known["length"], 1 + known["pieces"]), dtype=np.int32)
    array[:kept, 0] = found[:kept]
    for place, token in enumerate(tokens[:kept]):
        own = _pieces(token.text, known["vocabulary"])
        array[place, 1 : 1 + len(own)] = own
    share = _known_share([token.text for token in tokens], known["vocabulary"], known["language"])
    return array, {
        "places": [[token.start, token.end] for token in tokens[:kept]],
        "unknown": round(found.count(UNKNOWN) / max(len(found), 1), 4),
        **share,
        "cut": {"tokens": len(tokens) - kept, "characters": text.cut},
    }


def _pieces(token: str, vocabulary: str) -> list[int]:
    """Numbers of the token's pieces that the vocabulary has; none where these are less than a third."""
    numbered = piece_numbers(vocabulary)
    own = pieces(token)
    found = sorted({numbered[piece] for piece in own if piece in numbered})
    return found if len(found) >= _NEAR * len(own) else []


def _is_content(token: str, language: str) -> bool:
    return is_word(token) and plain(token) not in negation.function_words(language)


def _known_share(tokens: Sequence[str], vocabulary: str, language: str) -> dict[str, Any]:
    """Share of the text's different content words that the vocabulary knows, negated or not; one of its words misspelt
    counts half. And the language guess.

    The guess is no more than this: the task's language, where a tenth of the words are its function words or most
    content words are known; else "".
    """
    words = [plain(token) for token in tokens if is_word(token)]
    function = negation.function_words(language)
    content = sorted({word for word in words if word not in function})
    whole = numbers(vocabulary)
    strange = [word for word in content if word not in whole and NOT + word not in whole]
    misspelt = sum(is_misspelt(word, vocabulary) for word in strange)
    seen = len(content) - len(strange) + _MISSPELT * misspelt
    common = sum(word in function for word in words) / max(len(words), 1)
    known = seen / max(len(content), 1)
    guess = language if common >= _COMMON or known >= 0.5 else ""
    return {"content": len(content), "known": round(known, 4), "language": guess}


def _refusals(name: str, facts: Mapping[str, Any], known: Settings) -> list[str]:
    """Why this text can't be judged: too little in it that training has seen."""
    content, share = facts["content"], facts["known"]
    if not content:
        return [f"{name}: the text holds no word that says something"]
    if share and (content < _FEW or share >= known["least"]):
        return []
    what = "is about something else than the training texts" if facts["language"] else "seems to be in another language"
    return [
        f"{name}: the text {what}: {share:.0%} of its {content} content words are known, "
        f"{known['known']:.0%} in training"
    ]


WORDS = Words()
