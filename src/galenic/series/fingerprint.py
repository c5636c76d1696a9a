"""The mergeable summary of series, and every decision taken from it.

Each variable's values are kept in the bins of `core.sketch`, which are fixed beforehand, with count, mean and sum of
squares a bin, merged as Chan, Golub and LeVeque (1979) do. So the moments of what lies between two quantiles are known
without looking at a value again: one slip (a pH of 735) must not set the scale of a variable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from galenic.core import sketch
from galenic.core.contract import Budget, Field, Settings, Summary
from galenic.core.errors import ValueProblem
from galenic.series import sound
from galenic.values import Series

MAX_VARIABLES = 2000
TAIL = 0.001  # share of the values at either end that sets no scale and is cut to where it begins
SKEWED = 20.0  # a variable above 0 whose quantiles lie further apart than this is taken by its logarithm
RARE = 0.005  # share of the training cases; a variable measured in fewer is left out
STEPS, LONG_STEPS, LONG_SECONDS = 64, 128, 3600
COMMON = 0.05  # share of the training cases from which on a rate is one that a waveform may have
SAMPLES = 4096  # of a waveform; longer ones are taken at a lower rate
LEAST_RATE_HZ = 60.0  # that a waveform is thinned to
_ROUND_HOURS = (
    *(seconds / 3600 for seconds in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)),
    1 / 60, 1 / 30, 1 / 12, 1 / 6, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24, 48, 168, 336, 720, 2160, 8766,
)  # fmt: skip

Bins = dict[str, list[float]]  # bin -> [count, mean, sum of squares about the mean]


def summarise(values: Mapping[str, Any], fields: Sequence[Field]) -> Summary:
    """The summary of one case: {"cases": 1, "series": {FIELD: {...}}}; JSON, bounded, naming no case."""
    return {"cases": 1, "series": {field.name: _one(values.get(field.name)) for field in fields}}


def _one(series: Series | None) -> dict[str, Any]:
    if series is None or not series.measured:
        return {"cases": 0, "variables": {}, "hours": sketch.of(math.nan), "gaps": {}, "rates": {}, "samples": {}}
    gaps, counts = np.unique(sketch.bins_of(np.diff(np.asarray(series.times_hours, np.float64))), return_counts=True)
    rate = f"{series.rate_hz:g}"
    return {
        "cases": 1,
        "variables": _variables(series),
        "hours": sketch.of(float(series.times_hours[-1])),
        "gaps": {str(gap): int(count) for gap, count in zip(gaps, counts, strict=True)},
        "rates": {rate: 1},
        "samples": {str(sketch.bins_of(np.array([float(len(series.values))]))[0]): 1},
    }


def _variables(series: Series) -> dict[str, Any]:
    """Count, range, bins, unit and median of each measured variable."""
    row, column = np.nonzero(np.isfinite(series.values))
    if not len(row):
        return {}
    flat = np.asarray(series.values[row, column], np.float64)
    bins = sketch.bins_of(flat)
    keys, place, counts = np.unique(np.stack([column, bins]), axis=1, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    means = np.bincount(place, flat) / counts
    squares = np.bincount(place, (flat - means[place]) ** 2)
    done: dict[str, Any] = {}
    for at in np.unique(column):
        own, mine = keys[0] == at, flat[column == at]
        median = float(np.median(mine))
        done[series.variables[at]] = {
            "cases": 1, "count": len(mine), "low": float(mine.min()), "high": float(mine.max()),
            "bins": {
                str(key): [int(count), float(mean), float(square)]
                for key, count, mean, square in zip(keys[1, own], counts[own], means[own], squares[own], strict=True)
            },
            "units": {series.units[at]: 1},
            "medians": {"cases": 1, "low": median, "high": median}, "signal": _signal(series, at),
        }  # fmt: skip
    return done


def _signal(series: Series, at: int) -> dict[str, dict[str, int]]:
    """What tells a waveform's channel from a fault, by bin; {} of a history."""
    told = sound.told(np.asarray(series.values[:, at], np.float64), series.rate_hz) if series.rate_hz > 0 else {}
    return {name: {str(sketch.bins_of(np.array([share]))[0]): 1} for name, share in told.items()}


def merge(one: Summary, other: Summary) -> Summary:
    """The summary of the cases of both; in whatever order, up to the last digits of the moments."""
    return {
        "cases": one["cases"] + other["cases"],
        "series": {name: _merge_field(own, other["series"][name]) for name, own in one["series"].items()},
    }


def _merge_field(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    names = one["variables"] | other["variables"]
    if len(names) > MAX_VARIABLES:
        raise ValueProblem(
            f"more than {MAX_VARIABLES} different variables in a series",
            allowed="fewer", todo="name those that matter with the option `variables`",
        )  # fmt: skip
    variables = {
        name: _merge_variable(one["variables"][name], other["variables"][name])
        if name in one["variables"] and name in other["variables"]
        else own
        for name, own in names.items()
    }
    return {
        "cases": one["cases"] + other["cases"],
        "variables": variables,
        "hours": sketch.merge(one["hours"], other["hours"]),
        **{key: _added(one[key], other[key]) for key in ("gaps", "rates", "samples")},
    }


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    done = dict(one)
    for name, count in other.items():
        done[name] = done.get(name, 0) + count
    return done


def _merge_variable(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    less, more = sorted((one["bins"], other["bins"]), key=len)
    bins = dict(more)
    for key, own in less.items():
        bins[key] = _joined(bins[key], own) if key in bins else own
    return {
        "cases": one["cases"] + other["cases"], "count": one["count"] + other["count"],
        "low": min(one["low"], other["low"]), "high": max(one["high"], other["high"]),
        "bins": bins, "units": _added(one["units"], other["units"]),
        "medians": {
            "cases": one["medians"]["cases"] + other["medians"]["cases"],
            "low": min(one["medians"]["low"], other["medians"]["low"]),
            "high": max(one["medians"]["high"], other["medians"]["high"]),
        },
        "signal": {
            name: _added(one["signal"].get(name, {}), other["signal"].get(name, {}))
            for name in one["signal"] | other["signal"]
        },
    }  # fmt: skip


def _joined(one: Sequence[float], other: Sequence[float]) -> list[float]:
    count = one[0] + other[0]
    gap = other[1] - one[1]
    mean = (one[1] * one[0] + other[1] * other[0]) / count
    return [count, mean, one[2] + other[2] + gap * gap * one[0] * other[0] / count]


def settle(summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
    """The grid of time, and the variables with their scales; see `prepare.Clock` for the settings."""
    reasons: dict[str, str] = {}
    settings: Settings = {"cases": summary["cases"], "series": {}}
    histories = []
    for field in fields:
        own = summary["series"][field.name]
        waveform = _is_waveform(field, own)
        histories += [] if waveform else [field]
        if not own["variables"]:
            raise ValueProblem(f"nothing of the series {field.name!r} was measured in training", todo="leave it out")
        settings["series"][field.name] = (_waveform if waveform else _history)(field, own, reasons)
    if histories:
        settings |= _grid([summary["series"][field.name] for field in histories], histories, budget, reasons)
    settings["vary"] = _vary(bool(histories), reasons)
    return settings, reasons


def _is_waveform(field: Field, own: Mapping[str, Any]) -> bool:
    """As the field says; where it does not, by whether most training cases have a rate."""
    said = field.options.get("waveform")
    rated = sum(count for rate, count in own["rates"].items() if float(rate) > 0)
    return 2 * rated > own["cases"] if said is None else bool(said)


def _history(field: Field, own: Mapping[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    """Variables in rising order with centre, scale and range."""
    least = max(1, math.ceil(RARE * own["cases"]))
    wanted = field.options.get("variables") or sorted(own["variables"])
    known = {name: own["variables"][name] for name in wanted if name in own["variables"]}
    kept = [name for name, one in known.items() if one["cases"] >= least]
    rare = [name for name in known if name not in kept]
    scales = {name: _scale(known[name]) for name in kept}
    logs = [name for name in kept if scales[name]["log"]]
    reasons[f"{field.name}.scale"] = (
        f"z-scored by mean and spread of what lies between the {TAIL:g} and {1 - TAIL:g} quantiles in training; what "
        "lies beyond is taken as these"
    )
    if logs:
        reasons[f"{field.name}.log"] = f"by the logarithm, as they are above 0 and skewed: {', '.join(logs)}"
    if rare:
        reasons[f"{field.name}.rare"] = f"left out, measured in fewer than {least} training cases: {', '.join(rare)}"
    units = {name: _unit(known[name]["units"]) for name in kept}
    mixed = [name for name in kept if len(set(map(plain_unit, known[name]["units"])) - {""}) > 1]
    if mixed:
        reasons[f"{field.name}.units"] = (
            f"{', '.join(mixed)} stand in several units in training; values in another than the most frequent one "
            "are not used"
        )
    if few := sound.unchecked(kept, [known[name]["cases"] for name in kept]):
        reasons[f"{field.name}.unchecked"] = few
    return {
        "waveform": False, "variables": kept, "units": [units[name] for name in kept],
        "cases": [known[name]["cases"] for name in kept], "medians": [known[name]["medians"] for name in kept],
        "least": [known[name]["low"] for name in kept], "greatest": [known[name]["high"] for name in kept],
        **{key: [scales[name][key] for name in kept] for key in ("log", "mean", "sd", "low", "high")},
    }  # fmt: skip


def _waveform(field: Field, own: Mapping[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    """Channels, the rate and the length that all cases are brought to."""
    wanted = field.options.get("variables") or sorted(own["variables"])
    kept = [name for name in wanted if own["variables"].get(name, {"cases": 0})["cases"] >= 0.5 * own["cases"]]
    if not kept:
        raise ValueProblem(f"no channel of {field.name!r} stands in half of the training cases")
    rates = {float(rate): count for rate, count in own["rates"].items()}
    rate = max(rates, key=lambda one: (rates[one], one))
    counts = {int(key): count for key, count in own["samples"].items()}
    long = round(sketch.ranked(counts, math.ceil(0.95 * (sum(counts.values()) - 1))))
    varies = sketch.ranked(counts, 0) < 0.98 * long
    longest = round(own["hours"]["high"] * 3600 * rate) + 1 if not varies else long
    thin = max(1, min(math.ceil(longest / SAMPLES), int(rate // LEAST_RATE_HZ)))
    samples = min(math.ceil(longest / thin), SAMPLES)
    reasons[f"{field.name}.samples"] = (
        f"{samples} samples at {rate / thin:g} a second: "
        + ("as long as the longest twentieth of the training cases" if varies else "as all training cases")
        + (f", every {thin} taken as one so that at most {SAMPLES} are left" if thin > 1 else "")
    )
    signal = [sound.limits(own["variables"][name]["signal"]) for name in kept]
    reasons[f"{field.name}.signal"] = _of_signal(kept, signal)
    low, high = _rates(field, rates, rate, reasons)
    reasons[f"{field.name}.scale"] = "each case by its own mean and spread: gain and baseline differ between devices"
    return {
        "waveform": True, "variables": kept, "units": [_unit(own["variables"][name]["units"]) for name in kept],
        "rate_hz": rate / thin, "given_hz": rate, "samples": samples, "padded": bool(varies),
        "expected_hz": field.options.get("rate_hz"), "least_hz": low, "most_hz": high,
        "signal": signal,
    }  # fmt: skip


def _of_signal(variables: Sequence[str], signal: Sequence[Mapping[str, float]]) -> str:
    """What a channel's limits are, in words."""
    bare = [name for name, limits in zip(variables, signal, strict=True) if not limits]
    done = (
        "a channel is refused that lies still, or is noise, mains hum or one tone, by more than a third of the way "
        "from 99 % of the training cases to a pure fault"
    )
    few = f"; not so, as fewer than {sound.ENOUGH_SIGNALS} training cases tell: {', '.join(bare)}"
    return done + few if bare else done


def _rates(field: Field, rates: Mapping[float, int], usual: float, reasons: dict[str, str]) -> tuple[float, float]:
    """The lowest and highest rate that a case may have: the one the task names, else those met in training.

    A rate of few training cases may be an error of the header; it does not count.
    """
    named, key = field.options.get("rate_hz"), f"{field.name}.rate"
    if named is not None:
        reasons[key] = f"{named:g} Hz, as the task names it; a case at another rate is refused"
        return named, named
    least = COMMON * sum(rates.values())
    common = [rate for rate, count in rates.items() if count >= least and rate > 0] or [usual]
    rare = sorted(rate for rate in rates if rate not in common)
    told = f"{usual:g} Hz, the commonest of the training cases' own"
    if len(common) > 1:
        told += f" (they go from {min(common):g} to {max(common):g} Hz, brought to it; a case beyond these is refused)"
    else:
        told += "; a case at another rate is refused"
    if rare:
        told += f"; {', '.join(f'{rate:g}' for rate in rare)} Hz in less than {COMMON:.0%} of them does not count"
    reasons[key] = told
    return min(common), max(common)


def _scale(own: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and spread between the outer quantiles, plain or of logarithms; `low` and `high` are where these lie."""
    bins = {int(key): one for key, one in own["bins"].items()}
    counts = {key: int(one[0]) for key, one in bins.items()}
    total = own["count"]
    edges = [sketch.bin_at(counts, round(share * (total - 1))) for share in (TAIL, 1 - TAIL)]
    inner = [one for key, one in sorted(bins.items()) if edges[0] <= key <= edges[1]]
    low = own["low"] if edges[0] == min(bins) else inner[0][1]
    high = own["high"] if edges[1] == max(bins) else inner[-1][1]
    log = low > 0 and high / low > SKEWED
    points = np.array([[one[0], math.log(one[1]) if log else one[1], 0.0 if log else one[2]] for one in inner])
    mean = float((points[:, 0] * points[:, 1]).sum() / points[:, 0].sum())
    square = (points[:, 2] + points[:, 0] * (points[:, 1] - mean) ** 2).sum() / points[:, 0].sum()
    return {"log": bool(log), "mean": mean, "sd": math.sqrt(square), "low": low, "high": high}


def plain_unit(unit: str) -> str:
    """A unit without what writers differ in: case, blanks, UCUM's brackets and annotations."""
    return "".join(unit.split()).lower().replace("[", "").replace("]", "").partition("{")[0]


def _unit(units: Mapping[str, int]) -> str:
    """The most frequent unit that is told."""
    told = {unit: count for unit, count in units.items() if unit}
    return max(sorted(told), key=lambda unit: told[unit]) if told else ""


def _grid(
    found: Sequence[Mapping[str, Any]], fields: Sequence[Field], budget: Budget, reasons: dict[str, str]
) -> dict[str, Any]:
    """One grid for all histories of a task: step_hours, steps."""
    until = [field.options["until_hours"] for field in fields if "until_hours" in field.options]
    hours = [own["hours"] for own in found]
    counts: dict[int, int] = {}
    for one in hours:
        for key, count in one["bins"].items():
            counts[int(key)] = counts.get(int(key), 0) + count
    length = max(until) if until else sketch.ranked(counts, math.ceil(0.95 * (sum(counts.values()) - 1)))
    length = max(length, _ROUND_HOURS[0])
    gaps: dict[int, int] = {}
    for own in found:
        for key, count in own["gaps"].items():
            gaps[int(key)] = gaps.get(int(key), 0) + count
    usual = sketch.ranked(gaps, sum(gaps.values()) // 2) if gaps else length
    most = LONG_STEPS if (budget.seconds or 0) >= LONG_SECONDS else STEPS
    least = max(min(usual, length), length / most) * 0.99  # a quantile is known within 0.5 %
    step = next((own for own in _ROUND_HOURS if own >= least), _ROUND_HOURS[-1])
    steps = max(1, math.ceil(length / step - 0.02))
    reasons["grid"] = (
        f"{steps} steps of {_in_words(step)}: "
        + ("up to the time that the task names" if until else "as long as the longest twentieth of the training cases")
        + f", a round step of at least the usual gap between measurements ({_in_words(usual)}), at most {most} "
        "steps"
    )
    return {"step_hours": step, "steps": steps}


def _in_words(hours: float) -> str:
    """In the unit in which it is a number from 1 up; seconds below a minute."""
    if hours >= 1:
        return f"{hours:.3g} h"
    return f"{60 * hours:.3g} min" if 60 * hours >= 0.999 else f"{3600 * hours:.2g} s"


def _vary(histories: bool, reasons: dict[str, str]) -> dict[str, Any]:
    reasons["vary"] = (
        "histories: a share of the measured values is hidden, the others tremble; waveforms: moved in time by a share "
        "of their length, stretched in height, noise added; all in units of the spread"
    )
    return {"hide": 0.1 if histories else 0.0, "tremble": 0.0, "shift": 0.05, "stretch": 0.2, "noise": 0.05}
