"""Stopped at any moment, by Ctrl-C or by the system: a status that says so, nothing half-written, and --resume."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from typer.testing import Result

from galenic import catalog
from galenic.core import bundle

Run = Callable[..., Result]
GALENIC = [sys.executable, "-m", "galenic.cli"]
TRAIN = ["train", "breast_cancer"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def stopped(
    words: list[str],
    ready: Callable[[str], bool],
    number: int = signal.SIGINT,
    *,
    to: Callable[[int], int] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal once `ready` says so of what it has told on stderr; `to` picks the process."""
    # a shell that runs the tests in its background has Ctrl-C ignored, and a child would inherit that
    listens = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as folder:
        said, told = Path(folder) / "stdout", Path(folder) / "stderr"
        with (
            said.open("w") as out,
            told.open("w") as err,
            subprocess.Popen(words, stdout=out, stderr=err, preexec_fn=listens, env=ONE_THREAD) as running,
        ):
            deadline = time.monotonic() + 120
            while not ready(told.read_text()) and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert running.poll() is None, told.read_text()
            os.kill(running.pid if to is None else to(running.pid), number)
        return subprocess.CompletedProcess(words, running.returncode, said.read_text(), told.read_text())


def half_written(folder: Path) -> list[Path]:
    return list(folder.rglob(".aside-*"))


def scores(folder: Path) -> dict:
    """metrics.json without the clock's part."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if name != "seconds"}


class TestTraining:
    def test_it_says_how_to_go_on(self, tmp_path: Path) -> None:
        out = tmp_path / "model"
        done = stopped(
            [*GALENIC, *TRAIN, "--budget", "5m", "-o", str(out)], lambda told: "probing this device: " in told
        )
        assert done.returncode == 3, done.stderr
        last = done.stderr.splitlines()[-2:]
        assert last[0].startswith("stopped: training into ")
        assert last[1] == "what to do: continue with the same command and --resume"
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert not (out / "metrics.json").exists()
        assert half_written(out) == []

    @pytest.mark.slow
    def test_it_goes_on(self, run: Run, tmp_path: Path) -> None:
        words = [*TRAIN, "--budget", "10s", "-o", str(tmp_path / "model")]
        assert stopped([*GALENIC, *words], lambda told: "probing this device: " in told).returncode == 3
        resumed = run(*words, "--resume")
        assert resumed.exit_code == 0, resumed.stderr
        assert (tmp_path / "model" / "metrics.json").is_file()


class TestFinishing:
    """Between the last step and the seal: the weights are there, and what follows them is done again."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_stopped_and_resumed_it_is_the_run_that_was_not(
        self, run: Run, model: tuple[Path, Result], tmp_path: Path, number: signal.Signals
    ) -> None:
        out, (whole, _) = tmp_path / "model", model
        words = [*TRAIN, "--plan", str(whole / "plan.json"), "-o", str(out)]
        done = stopped([*GALENIC, *words], lambda told: "picking the fastest runtime that agrees: " in told, number)
        if number == signal.SIGINT:
            assert done.returncode == 3, done.stderr
            assert done.stderr.splitlines()[-1] == "what to do: continue with the same command and --resume"
            assert "Traceback" not in done.stderr
            assert half_written(out) == []
        else:
            assert done.returncode == -signal.SIGKILL
            (out / ".aside-left.json").write_text("half")
        assert not (out / "provenance.json").exists()
        weights = (out / "weights.safetensors").read_bytes()
        resumed = run(*words, "--resume")
        assert resumed.exit_code == 0, resumed.stderr
        assert (out / "weights.safetensors").read_bytes() == weights
        assert bundle.verify(out)["seed"] == bundle.verify(whole)["seed"]
        assert bundle.public_files(out) == bundle.public_files(whole)
        assert half_written(out) == []


def test_predicting_leaves_whole_answers(model: tuple[Path, Result], tmp_path: Path) -> None:
    cases = catalog.cases("breast-cancer-wisconsin").drop(columns="diagnosis")
    table = pd.concat([cases.assign(id=cases["id"] + f"-{time}") for time in range(20)])
    table.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out"
    words = [*GALENIC, "predict", str(model[0]), str(tmp_path / "new.csv"), "-o", str(out)]
    done = stopped(words, lambda told: out.is_dir() and sum(1 for _ in out.iterdir()) > 20)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "stopped"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    written = sorted(out.iterdir())
    assert 20 <= len(written) < len(table)  # what was counted may have been the folder in which one is written
    assert half_written(out) == []
    assert {len(path.read_text(encoding="utf-8").splitlines()) for path in written} == {2}


def second_rank(launcher: int) -> int:
    """The process that torchrun started as the second."""
    return next(one.pid for one in psutil.Process(launcher).children() if one.environ().get("RANK") == "1")


@pytest.mark.slow
def test_two_processes_train_stop_and_go_on(tmp_path: Path) -> None:
    """Under torchrun: Ctrl-C that reaches one process stops both, where they can go on to the same weights."""

    def under_torchrun(out: Path, *more: str) -> list[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
        return [*launch, "-m", "galenic.cli", *TRAIN, "-o", str(out), "--device", "cpu", *more]

    def whole(out: Path, *more: str) -> None:
        words = under_torchrun(out, *more)
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=ONE_THREAD)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("model folder: ") == 1
        assert "fault" not in done.stderr
        bundle.verify(out)

    through, cut = tmp_path / "through", tmp_path / "cut"
    whole(through, "--budget", "3000steps")
    plan = ("--plan", str(through / "plan.json"))
    done = stopped(
        under_torchrun(cut, *plan), lambda told: (cut / "history.jsonl").exists(), signal.SIGINT, to=second_rank
    )
    assert done.returncode != 0
    assert "stopped: training into " in done.stderr
    assert "fault" not in done.stderr
    assert (cut / "checkpoint.safetensors").is_file()
    assert not (cut / "weights.safetensors").exists()
    assert half_written(cut) == []
    whole(cut, *plan, "--resume")
    one, two = (bundle.load_weights(folder / "weights.safetensors") for folder in (through, cut))
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    assert scores(cut)["targets"] == scores(through)["targets"]
