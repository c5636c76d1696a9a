"""How often sound cases are refused, and wrong ones are: heart_disease without the networks, by the preparation alone.

Sound: a fifth of the cases is held out, twenty times, and each hospital once; none of their values is changed. Wrong:
the same held-out cases with one column in another unit, or at zero, each case by itself. No answer is looked at: a
refusal comes before it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from galenic import sources
from galenic.core import registry
from galenic.core.cases import Cases, open_cases
from galenic.core.contract import Budget, Values
from galenic.core.frames import Frames
from galenic.core.progress import Silent
from galenic.core.ready import summarise
from galenic.tables.read import Numbers
from records import keep

TASK = "heart_disease"
SLIPS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "cholesterol in mmol/L": ("chol", lambda value: value / 38.67),
    "blood pressure in kPa": ("trestbps", lambda value: value / 7.501),
    "age in months": ("age", lambda value: value * 12),
    "blood pressure of zero": ("trestbps", lambda value: 0 * value),
    "heart rate of zero": ("thalach", lambda value: 0 * value),
    "age of zero": ("age", lambda value: 0 * value),
    "blood pressure of the other sign": ("trestbps", lambda value: -value),
}


def slipped(values: Values, column: str, slip: Callable[[float], float]) -> Values | None:
    """The case with one number changed; None where it has none."""
    given = values["measurements"]
    place = list(given.columns).index(column) if given is not None else -1
    if given is None or np.isnan(given.values[place]):
        return None
    changed = given.values.copy()
    changed[place] = slip(changed[place])
    return {**values, "measurements": Numbers(given.columns, changed)}


def refused(frames: Frames, settings: Mapping[str, dict[str, object]], cases: Sequence[Values]) -> int:
    facts = [frames.prepare(case, settings).facts["row"] for case in cases]
    return sum(1 for own in facts if own["far"] or own.get("refuse"))


def tried(cases: Cases, frames: Frames, rows: Sequence[int]) -> dict[str, tuple[int, int]]:
    """What -> (refused, cases) of the rows, held out from all others."""
    learnt = sorted(set(range(len(cases))) - set(rows))
    settings, _ = frames.settle(summarise(frames, cases, learnt, Silent()), Budget(seconds=60))
    own = [cases.values(row) for row in rows]
    found = {"sound": (refused(frames, settings, own), len(own))}
    for name, (column, slip) in SLIPS.items():
        wrong = [case for values in own if (case := slipped(values, column, slip)) is not None]
        found[name] = (refused(frames, settings, wrong), len(wrong))
    return found


def added(parts: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, dict[str, float]]:
    done = {}
    for name in parts[0]:
        hits, all_of = (sum(part[name][at] for part in parts) for at in (0, 1))
        done[name] = {"refused": hits, "cases": all_of, "share": round(hits / max(all_of, 1), 4)}
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="append to docs/reference/measured/refusals.jsonl")
    args = parser.parse_args()
    found = sources.find(TASK)
    task = registry.checked(found.task)
    cases, frames = open_cases(found.table, found.root, task), Frames(task)
    fifth = len(cases) // 5
    drawn = [np.random.default_rng(seed).permutation(len(cases))[:fifth].tolist() for seed in range(args.splits)]
    sites = cases.table["site"]
    by_site = {str(site): np.flatnonzero(sites == site).tolist() for site in sorted(set(sites))}
    chance = added([tried(cases, frames, rows) for rows in drawn])
    hospitals = {site: added([tried(cases, frames, rows)])["sound"] for site, rows in by_site.items()}
    for name, own in chance.items():
        print(f"{name}: {own['refused']} of {own['cases']} refused ({own['share']:.1%})")
    for site, own in hospitals.items():
        print(f"sound, {site} held out: {own['refused']} of {own['cases']} refused ({own['share']:.1%})")
    measured = {"task": TASK, "splits": args.splits, "by_chance": chance, "hospital_held_out": hospitals}
    keep("refusals", measured, wanted=args.record)


if __name__ == "__main__":
    main()
