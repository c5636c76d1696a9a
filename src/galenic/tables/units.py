"""Units that the same quantity is told in, and whether numbers look as if they were in the other one.

Factors are those of molar masses (g/mol) and of the SI's own definitions of inch, pound and degree. Read both ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

# other = scale * own + shift; what the pair is of; and what stands in the names of its columns
KNOWN: tuple[tuple[float, float, str, tuple[str, ...]], ...] = (
    (38.67, 0.0, "cholesterol in mg/dL and mmol/L, 38.67", ("chol", "ldl", "hdl")),
    (88.57, 0.0, "triglycerides in mg/dL and mmol/L, 88.57", ("trigly",)),
    (18.02, 0.0, "glucose in mg/dL and mmol/L, 18.02", ("gluc", "gluk", "sugar")),
    (88.42, 0.0, "creatinine in mg/dL and umol/L, 88.42", ("crea", "krea")),
    (17.10, 0.0, "bilirubin in mg/dL and umol/L, 17.1", ("bili",)),
    (59.48, 0.0, "uric acid in mg/dL and umol/L, 59.48", ("uric", "urate")),
    (6.006, 0.0, "urea in mg/dL and mmol/L, 6.006", ("urea",)),
    (2.801, 0.0, "urea nitrogen in mg/dL and mmol/L, 2.801", ("urea", "bun")),
    (9.008, 0.0, "lactate in mg/dL and mmol/L, 9.008", ("lact",)),
    (4.008, 0.0, "calcium in mg/dL and mmol/L, 4.008", ("calc",)),
    (3.097, 0.0, "phosphate in mg/dL and mmol/L, 3.097", ("phos",)),
    (2.431, 0.0, "magnesium in mg/dL and mmol/L, 2.431", ("magn",)),
    (1.611, 0.0, "haemoglobin in g/dL and mmol/L, 1.611", ("hemoglobin", "haemoglobin", "hgb")),
    (7.501, 0.0, "pressure in mmHg and kPa, 7.501", ("bp", "press", "pco2", "po2")),
    (2.2046, 0.0, "pounds and kilograms, 2.205", ("weight", "mass")),
    (2.54, 0.0, "inches and centimetres, 2.54", ("height", "length", "circum")),
    (3.281, 0.0, "feet and metres, 3.281", ("height", "distance")),
    (1.8, 32.0, "degrees Fahrenheit and Celsius", ("temp",)),
    (12.0, 0.0, "months and years, 12", ("age", "month", "year")),
    (365.25, 0.0, "days and years, 365.25", ("age", "days", "year")),
    (10.0, 0.0, "a factor of 10, such as g/L and g/dL", ()),
    (100.0, 0.0, "a factor of 100, such as metres and centimetres", ()),
    (1000.0, 0.0, "a factor of 1000, such as mg and g", ()),
)
_APART = 1.5  # least factor between a range and itself in the other unit; more for a wide range, whose tails are long
_WIDER = 1.1  # factor by which a new value may lie beyond the range in the other unit
_LARGE = 5.0  # a smaller factor may as well be one between patients, where no name says what a column holds
_SAME_MIDDLE = 1.35  # factor between medians, in one unit, of cases from two places


def of_value(name: str, value: float, low: float, high: float, middle: float) -> str:
    """The pair of units by which `value` of the column `name` would be one of low..high, of median `middle`, or "".

    All positive. Only where the range in the other unit lies well apart from low..high: of weights between 45 and 150
    none can be told to be in pounds.
    """
    fits = [
        (abs(math.log(_back(value, *pair) / middle)), pair[3])
        for pair in _ways(name)
        if _is_apart(pair, low, high) and _within(value, pair, low, high)
    ]
    return min(fits)[1] if fits else ""


def of_median(name: str, found: float, middle: float, quartiles: tuple[float, float]) -> str:
    """The pair of units by which a column of median `found` would be like one of median `middle` and these quartiles.

    "" where none is: the median must come to lie between the quartiles, or within a factor of 1.35 of the other.
    """
    if min(found, middle) <= 0:
        return ""
    fits = []
    for pair in _ways(name):
        own = _back(found, *pair)
        if own <= 0:
            continue
        away = abs(math.log(own / middle))
        if quartiles[0] <= own <= quartiles[1] or away <= math.log(_SAME_MIDDLE):
            fits.append((away, pair[3]))
    return min(fits)[1] if fits else ""


def _ways(name: str) -> Iterator[tuple[float, float, bool, str]]:
    """Each pair that suits a column of this name, in both directions; where the name says nothing, the large ones."""
    own = [pair for pair in KNOWN if any(word in name.lower() for word in pair[3])]
    suited = own + [pair for pair in KNOWN if not pair[3]] if own else [one for one in KNOWN if one[0] >= _LARGE]
    for scale, shift, words, _ in suited:
        yield scale, shift, False, words
        yield scale, shift, True, words


def _over(own: float, scale: float, shift: float, turned: bool, words: str = "") -> float:  # noqa: ARG001 - of a pair
    """A value in the other unit."""
    return (own - shift) / scale if turned else scale * own + shift


def _back(other: float, scale: float, shift: float, turned: bool, words: str = "") -> float:
    return _over(other, scale, shift, not turned, words)


def _is_apart(pair: tuple[float, float, bool, str], low: float, high: float) -> bool:
    under, upper = _over(low, *pair), _over(high, *pair)
    apart = max(_APART, math.cbrt(high / low))
    return under > 0 and (upper * apart <= low or under >= high * apart)


def _within(value: float, pair: tuple[float, float, bool, str], low: float, high: float) -> bool:
    return _back(value, *pair) > 0 and _over(low, *pair) / _WIDER <= value <= _over(high, *pair) * _WIDER
