"""Turn the measured lines into docs/reference/results.md: our scores, the simple methods, published figures.

Works with whatever lines there are, none included. Where a task has several seeds, the mean is given with the least and
the greatest, and the interval is that of the seed nearest to the mean.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "reference" / "measured" / "results.jsonl"
FOLDS = ROOT / "docs" / "reference" / "measured" / "folds.jsonl"
PUBLISHED = Path(__file__).resolve().parent / "published.toml"
PAGE = ROOT / "docs" / "reference" / "results.md"

HEAD = """# Results

Every line comes from `make bench-full` (or a part of it): `galenic train TASK --budget B --seed S`, scores on the test
part, which is read once. Tasks too small for one test part are cross-validated, at the end. The lines lie in
`docs/reference/measured/`; this page is written from them by `make results`.

- **score** is the task's main score. With several seeds it is their mean, then least and greatest in brackets.
- **interval** is the 95 % bootstrap interval over test patients, of the seed nearest to the mean. It says how much the
  test cases leave open; another hospital may lie outside it.
- **simple methods** are scored on the same cases; in brackets ours less theirs, with the 95 % interval of that, the
  same patients drawn for both.
- The sets are small parts of public collections, and the budget is minutes on a CPU. These are no clinical claims.
"""
EMPTY = "\nNo run is recorded yet: `make bench-full` makes the lines.\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines; none where the file is absent."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_published(path: Path = PUBLISHED) -> list[dict[str, Any]]:
    """The figures to stand beside ours."""
    return list(tomllib.loads(path.read_text(encoding="utf-8"))["figures"])


def grouped(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(task, budget) -> its rows, one a seed: of two rows of a seed the later counts."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["budget"]), {})[row["seed"]] = row
    return {key: [own[seed] for seed in sorted(own)] for key, own in sorted(found.items(), key=lambda item: item[0])}


def number(value: float | None) -> str:
    """Three digits after the point; a dash where undefined."""
    return "–" if value is None else f"{value:.3f}"


def seeds(values: list[float]) -> str:
    """`0.870`, or `0.870 (0.866-0.874)` where there are several."""
    if not values:
        return "–"
    return number(mean(values)) + (f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else "")


def nearest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row whose score is nearest to the mean."""
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return rows[0]
    middle = mean(row["value"] for row in known)
    return min(known, key=lambda row: abs(row["value"] - middle))


def line_of(task: str, budget: str, rows: list[dict[str, Any]]) -> list[str]:
    """The cells of one task at one budget."""
    middle = nearest(rows)
    own = [row["value"] for row in rows if row["value"] is not None]
    simple = "; ".join(_simple(one) for one in middle["baselines"]) or "–"
    interval = "–" if middle["low"] is None else f"{number(middle['low'])} to {number(middle['high'])}"
    return [
        f"`{task}`",
        budget,
        str(middle["cases"]),
        str(len(rows)),
        f"{middle['score']} {seeds(own)}",
        interval,
        simple,
    ]


def _simple(one: dict[str, Any]) -> str:
    """A simple method's score, and by how much ours differs on the same cases."""
    gap = one.get("gap") or {}
    text = f"{one['name']} {number(one['value'])}"
    if gap.get("low") is None:
        return text
    return f"{text} ({gap['value']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})"


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    parts = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in parts) + "\n"


def detail_of(task: str, budget: str, rows: list[dict[str, Any]], published: list[dict[str, Any]]) -> str:
    """A section: classes, other scores, how it was trained, what was published, what must be said."""
    middle = nearest(rows)
    plan = middle["plan"]
    text = [f"### {task}, {budget}\n"]
    per_class = [
        [title, seeds([row["classes"][title]["value"] for row in rows if _value(row, title) is not None])]
        for title in middle["classes"]
    ]
    if len(per_class) > 1:
        text.append(table(["class", middle["score"]], per_class))
    text += calls_of(middle)
    others = ", ".join(f"{name} {number(own['value'])}" for name, own in middle["others"].items())
    if others:
        text.append(f"Other scores (seed {middle['seed']}): {others}.\n")
    patch = " x ".join(str(size) for size in plan["patch"] or [])
    text.append(
        f"Trained: `{plan['network']}`, patch {patch or 'none'}, batch {plan['batch']}, {plan['steps']} steps, "
        f"{plan['precision']} {plan['layout']}, {plan['threads']} threads. Seconds: {middle['seconds']['train']:.0f} "
        f"training, {middle['seconds']['evaluate']:.0f} scoring. galenic {middle['galenic']}, {middle['date'][:10]}.\n"
    )
    beside = [
        [one["who"], number(one["value"]), one["source"], one["comparable"]] for one in published if one["task"] == task
    ]
    if beside:
        text.append(table(["beside it", "figure", "source", "comparable?"], beside))
    text += [f"- {warning}" for warning in middle["warnings"]]
    return "\n".join(text) + "\n"


def calls_of(row: dict[str, Any]) -> list[str]:
    """How the calls of each class came out, with intervals; nothing where the task makes none."""
    found = {title: own for title, own in row.get("calls", {}).items() if own.get("sensitivity")}
    lines = [
        [title, *(interval(own[one]) if one in own else "–" for one in ("sensitivity", "ppv", "coverage"))]
        for title, own in found.items()
    ]
    return [table(["class", "sensitivity", "ppv", "coverage of the 90 % sets"], lines)] if lines else []


def interval(own: dict[str, Any]) -> str:
    """A figure with its interval; a dash where undefined."""
    if own["value"] is None or own["low"] is None:
        return number(own["value"])
    return f"{number(own['value'])} ({number(own['low'])} to {number(own['high'])})"


def _value(row: dict[str, Any], title: str) -> float | None:
    return row["classes"].get(title, {}).get("value")


def cross_validated(rows: list[dict[str, Any]]) -> str:
    """The section of tasks whose every case is held out once; "" without lines."""
    if not rows:
        return ""
    kept: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
    for row in rows:
        kept.setdefault((row["task"], row["folds"], row["network"], row["budget"]), {})[row["seed"]] = row
    text = [
        "## Cross-validated\n",
        "`python benchmarks/folds.py TASK`: every case is held out once, and all held-out answers are scored together, "
        "each by the model that has not seen it; the folds lie in `benchmarks/folds/`. The model is a "
        "[blend](../why/blend.md) where its valid part said so; its network alone and the simple methods are fitted on "
        "the same cases. Means over the seeds, with the least and the greatest; the gap is ours less theirs with its "
        "paired 95 % interval, of the seed nearest to the mean.\n",
        "The 90 s of icu_mortality are of one network a fold. `folds = 5` was set in its task after they were seen, so "
        "that its 2 m figures, on the same cases, are not wholly untouched by them.\n",
    ]
    for (task, folds, network, budget), by_seed in sorted(kept.items()):
        text += [
            f"### {task}, {network}, {budget} a fold, " + (f"{folds} folds\n" if folds.isdigit() else f"by {folds}\n")
        ]
        text.append(_held_out([by_seed[seed] for seed in sorted(by_seed)]))
    return "\n".join(text)


def _held_out(rows: list[dict[str, Any]]) -> str:
    """The tables of one task: the model and what stands beside it; then each fold."""
    main = rows[0]["main"]
    middle = nearest([{**row, **row["scores"][main]} for row in rows])
    names = list(middle["scores"])
    interval = middle["scores"][main]
    lines = [["the model", *(seeds([row["scores"][name]["value"] for row in rows]) for name in names), ""]]
    for one in middle["beside"]:
        of_all = [own for row in rows for own in row["beside"] if own["name"] == one["name"]]
        gap = one["gaps"].get(main, {})
        told = f"{gap['difference']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f}" if gap else ""
        cells = [seeds([own["scores"][name]["value"] for own in of_all if name in own["scores"]]) for name in names]
        lines.append([one["name"], *cells, told])
    text = [table(["", *names, f"gap of {main}"], lines)]
    many = "s" if len(rows) > 1 else ""
    text.append(
        f"{middle['cases']} cases, {len(rows)} seed{many}; 95 % interval of {main} {number(interval['low'])} to "
        f"{number(interval['high'])}; {middle['seconds']:.0f} s a fold on {middle['threads']} thread"
        f"{'s' if middle['threads'] > 1 else ''}.\n"
    )
    classes = {title: own for title, own in middle["classes"].items() if "coverage" in own}
    if classes:
        cells = [
            [title, *(number(own.get(name, {}).get("value")) for name in ("sensitivity", "ppv", "coverage"))]
            for title, own in classes.items()
        ]
        if len(cells) <= 8:
            text.append(table(["class", "sensitivity", "ppv", "coverage of the 90 % sets"], cells))
        else:
            least = min(cells, key=lambda cell: cell[3])
            text.append(f"The class with the least coverage of the 90 % sets: {least[0]}, {least[3]}.\n")
    simple = [name for name in next(iter(middle["by_fold"].values())) if name not in ("cases", "model")]
    cells = [
        [fold, number(own["model"]["value"]), *(number(own.get(name)) for name in simple)]
        for fold, own in middle["by_fold"].items()
    ]
    text.append(table(["held out", "the model", *simple], cells))
    return "\n".join(text)


def page(rows: list[dict[str, Any]], published: list[dict[str, Any]], folds: list[dict[str, Any]] | None = None) -> str:
    """The whole of results.md."""
    groups = grouped(rows)
    text = [HEAD]
    if not groups:
        text.append(EMPTY)
    else:
        heads = ["task", "budget", "test cases", "seeds", "score", "interval", "simple methods"]
        text.append(table(heads, [line_of(*key, own) for key, own in groups.items()]))
        text.append("## Each task\n")
        text += [detail_of(*key, own, published) for key, own in groups.items()]
    text += [own for own in [cross_validated(folds or [])] if own]
    measured = {task for task, _ in groups} | {row["task"] for row in folds or []}
    waiting = [one for one in published if one["task"] not in measured]
    if waiting:
        text.append("## Figures of tasks that are not measured here yet\n")
        cells = [
            [f"`{one['task']}`", one["who"], number(one["value"]), one["source"], one["comparable"]] for one in waiting
        ]
        text.append(table(["task", "who", "figure", "source", "comparable?"], cells))
    return "\n".join(part.rstrip("\n") + "\n" for part in text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    rows = read_lines(given.record)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(rows, read_published(), read_lines(FOLDS)), encoding="utf-8")
    print(f"{given.out}: {len(rows)} runs")


if __name__ == "__main__":
    main()
