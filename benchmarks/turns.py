"""Side-by-side timing: candidates in their own processes, one round each in turn, medians, ratios.

Run beside each other, candidates share whatever else the machine is doing. A spec (TOML) names them:

    name = "unet2015"                 # record: docs/reference/measured/unet2015.jsonl
    references = ["torch fp32"]       # ratios are reference seconds / candidate seconds
    rounds = 5
    [[candidates]]
    name = "torch fp32"
    command = ["{python}", "benchmarks/peers/torch_unet.py", "--threads", "{threads}"]
    measures = { forward = "forward", train = "train" }   # measure = the line to send, see peers/speak.py

Placeholders: {python} is this interpreter, {threads} the thread count, all others come from --set KEY=VALUE.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from peers.machine import describe, usable_cpus

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "docs" / "reference" / "measured"
FEWEST_ROUNDS = 5


class BenchmarkError(Exception):
    """The comparison can't be made as asked; the text says why."""


@dataclass(frozen=True)
class Candidate:
    """A process to start, and the line to send for each measure."""

    name: str
    command: tuple[str, ...]
    measures: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """What is compared. `warm` rounds come first and are thrown away: compiling, caches, memory."""

    name: str
    references: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    rounds: int = 5
    warm: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) < len(names) or self.rounds < 1 or self.warm < 0:
            raise BenchmarkError(f"names must differ ({names}), rounds be at least 1, warm rounds at least 0")
        absent = sorted(set(self.references) - set(names))
        if absent or not self.references:
            raise BenchmarkError(f"references {absent} are not among the candidates {names}")


class Child:
    """A started candidate. Use as a context manager: leaving it ends the process."""

    def __init__(self, candidate: Candidate, *, threads: int, timeout: float) -> None:
        self.candidate, self.timeout = candidate, timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        try:
            self._process = subprocess.Popen(
                candidate.command,
                cwd=ROOT,
                env={**os.environ, **counts},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._errors.close()
            raise BenchmarkError(f"{candidate.name} can't be started: {error}") from None
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.about = self._hear("its first line")
            if self.about.get("threads") != threads:
                raise BenchmarkError(f"{candidate.name} runs {self.about.get('threads')} threads, not {threads}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, line: str) -> dict[str, Any]:
        """Send a command and wait for its figures."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchmarkError(f"{self.candidate.name} has ended\n{self._tail()}") from None
        reply = self._hear(repr(line))
        if "error" in reply or "seconds" not in reply:
            raise BenchmarkError(f"{self.candidate.name}, {line!r}: {reply.get('error', 'no seconds')}\n{self._tail()}")
        return reply

    def close(self) -> None:
        """End the process: by end of input, or by force if it does not listen."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _hear(self, what: str) -> dict[str, Any]:
        until = time.monotonic() + self.timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise BenchmarkError(f"{self.candidate.name}: no answer to {what} in {self.timeout:g} s") from None
            if line is None:
                raise BenchmarkError(f"{self.candidate.name} ended before {what}\n{self._tail()}")
            if line.startswith("{"):
                return json.loads(line)

    def _tail(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]


def run(comparison: Comparison, *, timeout: float = 900, say: Console | None = None) -> dict[str, Any]:
    """Start all, take turns, and return the record. The order is rotated from round to round.

    `timeout`: seconds that one start or one measurement may take.
    """
    load = round(os.getloadavg()[0], 2)
    children: list[Child] = []
    replies: dict[str, dict[str, list[dict[str, Any]]]] = {
        c.name: {measure: [] for measure in c.measures} for c in comparison.candidates
    }
    try:
        for candidate in comparison.candidates:
            children.append(Child(candidate, threads=comparison.threads, timeout=timeout))
        for turn in range(comparison.warm + comparison.rounds):
            if say:
                say.print(f"round {turn + 1} of {comparison.warm + comparison.rounds}", style="dim")
            shift = turn % len(children)
            for child in children[shift:] + children[:shift]:
                for measure, line in child.candidate.measures.items():
                    reply = child.ask(line)
                    if turn >= comparison.warm:
                        replies[child.candidate.name][measure].append(reply)
        abouts = {child.candidate.name: child.about for child in children}
    finally:
        for child in children:
            child.close()
    figures = {name: {m: _figures(r) for m, r in measures.items()} for name, measures in replies.items()}
    return {
        "name": comparison.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": comparison.rounds,
        "warm": comparison.warm,
        "threads": comparison.threads,
        "machine": describe(),
        "load_before": load,
        "references": list(comparison.references),
        "candidates": {
            name: {"versions": abouts[name].get("versions", {}), "measures": _with_ratios(name, figures, comparison)}
            for name in figures
        },
    }


def _figures(replies: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of every round and their median; of other numbers the largest, as for peak memory."""
    seconds = [round(reply["seconds"], 5) for reply in replies]
    others: dict[str, float] = {}
    for reply in replies:
        for key, value in reply.items():
            if key != "seconds" and isinstance(value, int | float):
                others[key] = max(value, others.get(key, value))
    return {"median": median(seconds), "seconds": seconds, **others}


def _with_ratios(name: str, figures: dict[str, dict[str, Any]], comparison: Comparison) -> dict[str, Any]:
    """Add to each measure its ratio to each reference: of the medians, and the range over the rounds."""
    measures = {}
    for measure, own in figures[name].items():
        ratios = {}
        for reference in comparison.references:
            theirs = figures[reference].get(measure)
            if theirs is not None:
                rounds = [a / b for a, b in zip(theirs["seconds"], own["seconds"], strict=True)]
                value = theirs["median"] / own["median"]
                ratios[reference] = {
                    k: round(v, 3)
                    for k, v in zip(("value", "low", "high"), (value, min(rounds), max(rounds)), strict=True)
                }
        measures[measure] = {**own, "times_faster_than": ratios}
    return measures


def table(record: dict[str, Any]) -> Table:
    """The record as a table: a row a measure and candidate."""
    title = f"{record['name']}: {record['rounds']} rounds in turn, {record['threads']} threads"
    shown = Table(title=title)
    for heading in ("measure", "candidate"):
        shown.add_column(heading)
    for heading in ("median s", "best s", "peak MiB", *(f"x {name}" for name in record["references"])):
        shown.add_column(heading, justify="right", no_wrap=True)
    measures = dict.fromkeys(m for c in record["candidates"].values() for m in c["measures"])
    for measure in measures:
        for name, candidate in record["candidates"].items():
            if measure in candidate["measures"]:
                shown.add_row(measure, name, *_cells(candidate["measures"][measure], record["references"]))
        shown.add_section()
    return shown


def _cells(figures: dict[str, Any], references: list[str]) -> list[str]:
    peak = figures.get("peak_rss_mib")
    cells = [f"{figures['median']:.3f}", f"{min(figures['seconds']):.3f}", "-" if peak is None else f"{peak:.0f}"]
    for reference in references:
        ratio = figures["times_faster_than"].get(reference)
        cells.append("-" if ratio is None else f"{ratio['value']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})")
    return cells


def append(record: dict[str, Any], folder: Path = RECORDS) -> Path:
    """Add the record as one line to `folder/NAME.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['name']}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return path


def read_spec(path: Path, *, settings: dict[str, str], only: list[str], **changes: int) -> Comparison:
    """A comparison from its TOML file; `settings` fill the placeholders, `changes` replace rounds, warm, threads."""
    try:
        spec = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path}: {error}") from None
    threads = changes.get("threads", usable_cpus())
    filled = {"python": sys.executable, "threads": str(threads), **settings}
    candidates = []
    for given in spec.pop("candidates"):
        if only and given["name"] not in only:
            continue
        try:
            command = tuple(part.format_map(filled) for part in given["command"])
        except KeyError as error:
            raise BenchmarkError(
                f"{given['name']}: give --set {error.args[0]}=VALUE, or leave it out by --only"
            ) from None
        candidates.append(Candidate(given["name"], command, given["measures"]))
    spec["references"] = tuple(name for name in spec["references"] if not only or name in only)
    try:
        return Comparison(candidates=tuple(candidates), **{**spec, **changes, "threads": threads})
    except TypeError as error:
        raise BenchmarkError(f"{path}: {error}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--only", action="append", default=[], metavar="CANDIDATE", help="may be given several times")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--warm", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one start or one measurement")
    parser.add_argument("--record", type=Path, default=RECORDS, help="folder of the JSON lines")
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = 140
    changes = {key: getattr(given, key) for key in ("rounds", "warm", "threads") if getattr(given, key) is not None}
    try:
        settings = {key: value for key, _, value in (pair.partition("=") for pair in given.settings)}
        comparison = read_spec(given.spec, settings=settings, only=given.only, **changes)
        if comparison.rounds < FEWEST_ROUNDS and not given.no_record:
            raise BenchmarkError(f"a record needs at least {FEWEST_ROUNDS} rounds; to try things out, add --no-record")
        record = run(comparison, timeout=given.timeout, say=console)
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
    console.print(table(record))
    if not given.no_record:
        append(record, given.record)


if __name__ == "__main__":
    main()
