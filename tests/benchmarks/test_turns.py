"""The turn-taking harness, with small candidates that speak the real protocol."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CANDIDATE = f"""
import sys, time
sys.path.insert(0, {str(BENCHMARKS / "peers")!r})
from speak import serve

def work():
    print("chatter of a library")
    time.sleep(float(sys.argv[1]))
    return {{"voxels": 7}}

def fail():
    raise ValueError("no such volume")

def mark():
    return {{"seconds": 2.0}}

serve("sleeper", {{"work": work, "fail": fail, "mark": mark}}, versions={{"python": "3"}}, threads=int(sys.argv[2]))
"""


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("turns")


@pytest.fixture
def sleeper(turns: ModuleType, tmp_path: Path):
    script = tmp_path / "sleeper.py"
    script.write_text(CANDIDATE)

    def make(name: str, seconds: float, *, line: str = "work", threads: int = 1):
        command = (sys.executable, str(script), str(seconds), str(threads))
        return turns.Candidate(name, command, {"nap": line})

    return make


def test_ratio_is_of_the_medians_and_the_slower_one_is_behind(turns, sleeper, tmp_path):
    both = (sleeper("slow", 0.2), sleeper("fast", 0.02))
    record = turns.run(turns.Comparison("naps", ("slow",), both, rounds=5, warm=1))
    fast, slow = (record["candidates"][name]["measures"]["nap"] for name in ("fast", "slow"))
    assert len(fast["seconds"]) == 5
    assert min(slow["seconds"]) >= 0.2
    assert fast["times_faster_than"]["slow"]["value"] == pytest.approx(slow["median"] / fast["median"], abs=1e-3)
    assert fast["times_faster_than"]["slow"]["low"] > 2
    assert fast["voxels"] == 7
    path = turns.append(record, tmp_path)
    turns.append(record, tmp_path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [record, record]
    assert turns.table(record).row_count == 2


def test_an_action_may_name_its_own_seconds(turns, sleeper):
    record = turns.run(turns.Comparison("marks", ("one",), (sleeper("one", 0, line="mark"),), rounds=2, warm=0))
    assert record["candidates"]["one"]["measures"]["nap"]["seconds"] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"line": "fail"}, "no such volume"),
        ({"line": "dance"}, "unknown command; known: fail, mark, work"),
        ({"threads": 2}, "runs 2 threads, not 1"),
    ],
)
def test_a_candidate_that_fails_is_named_with_its_reason(turns, sleeper, changes, text):
    comparison = turns.Comparison("bad", ("x",), (sleeper("x", 0, **changes),), rounds=1, warm=0)
    with pytest.raises(turns.BenchmarkError, match=text):
        turns.run(comparison)


def test_a_candidate_that_hangs_or_is_absent_ends_the_run(turns, sleeper):
    slow = turns.Comparison("hang", ("x",), (sleeper("x", 30),), rounds=1, warm=0)
    with pytest.raises(turns.BenchmarkError, match="no answer"):
        turns.run(slow, timeout=1)
    gone = turns.Candidate("gone", ("/nonexistent/program",), {"nap": "work"})
    with pytest.raises(turns.BenchmarkError, match="can't be started"):
        turns.run(turns.Comparison("gone", ("gone",), (gone,), rounds=1))


def test_shipped_specs_name_what_they_need(turns):
    unet = BENCHMARKS / "unet2015.toml"
    with pytest.raises(turns.BenchmarkError, match="--set keras_python=VALUE"):
        turns.read_spec(unet, settings={}, only=[])
    read = turns.read_spec(unet, settings={"keras_python": "python", "model": "x"}, only=[], threads=2)
    assert {part for candidate in read.candidates for part in candidate.command} >= {"--threads", "2"}
    settings = dict.fromkeys(("monai_python", "volume", "scan", "roi", "model", "out"), "x")
    assert turns.read_spec(BENCHMARKS / "window.toml", settings=settings, only=[]).references[0] == "monai fp32"
    with pytest.raises(turns.BenchmarkError, match="not among the candidates"):
        turns.read_spec(unet, settings={"model": "x"}, only=["galenic"])
