"""Two processes of torchrun with n cases each learn what one process with 2 n cases learns, uneven shards included."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from itertools import chain

import pytest
import torch

from galenic.core import bundle, ranks
from galenic.core.fit import train_job
from galenic.core.plan import load_plan

BATCHES = (4, 3, 1)  # two each; two and one; one and none

SHARED = """
    import sys
    from pathlib import Path
    import pandas as pd
    from galenic.core import fit, ranks
    from galenic.core.task import load_task

    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for batch in sys.argv[3:]:
        job = fit.Job(
            task=load_task(folder / "task.toml"), table=pd.read_csv(root / "cases.csv"), root=root,
            out=folder / f"two-{batch}", plan=folder / f"{batch}.json", device="cpu",
        )
        fit.train_job(job)
        assert ranks.count() == 2
    ranks.end()
"""


@pytest.fixture(scope="module")
def folder(disc_job, disc_plan, pictures, tmp_path_factory):
    """Both ways, 6 steps of each batch: plain gradient descent, as Adam would blow up the last digit of a gradient."""
    folder = tmp_path_factory.mktemp("ranks")
    how = {"optimizer": "sgd", "learning_rate": 0.02, "schedule": [(0, 6)], "evaluate_every": 3}
    for batch in BATCHES:
        plan = disc_plan(folder / f"{batch}.json", batch=batch, **how)
        work = train_job(disc_job(folder / f"one-{batch}", plan=plan))
    work.task.save(folder / "task.toml")
    (folder / "run.py").write_text(textwrap.dedent(SHARED))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    given = [str(folder / "run.py"), str(pictures), str(folder), *map(str, BATCHES)]
    done = subprocess.run(
        [*run, *given], capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("batch", BATCHES)
def test_two_processes_learn_what_one_does(folder, batch):
    one = bundle.load_weights(folder / f"one-{batch}" / "weights.safetensors")
    two = bundle.load_weights(folder / f"two-{batch}" / "weights.safetensors")
    begun = load_plan(folder / f"{batch}.json")
    assert begun.training.batch == batch
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)


def test_it_did_learn(folder):
    """Equal weights would prove nothing had they not moved."""
    three, four = (bundle.load_weights(folder / f"one-{batch}" / "weights.safetensors") for batch in (3, 4))
    assert max(float((three[name] - four[name]).abs().max()) for name in three) > 1e-3


@pytest.mark.parametrize("batch", BATCHES)
def test_one_process_writes(folder, batch):
    """The folder is what one process leaves, each line of the history once."""
    own = [sorted(path.name for path in (folder / f"{way}-{batch}").iterdir()) for way in ("one", "two")]
    assert own[0] == own[1]
    assert "checkpoint.safetensors" not in own[1]
    lines = [json.loads(line) for line in (folder / f"two-{batch}" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]


class TestAlone:
    def test_one_process_is_the_first_and_all(self):
        assert (ranks.count(), ranks.own(), ranks.first()) == (1, 0, True)
        assert ranks.share([3, 1, 2]) == [3, 1, 2]
        assert ranks.agree({"a": 1}) == {"a": 1}
        assert (ranks.anyone(True), ranks.anyone(False)) == (True, False)
        ranks.meet()

    def test_ending_what_was_not_begun(self):
        ranks.end()
        assert ranks.count() == 1

    def test_shares_differ_by_one_at_most(self, monkeypatch):
        for count in (1, 2, 3, 7):
            monkeypatch.setattr(ranks, "count", lambda count=count: count)
            shares = []
            for own in range(count):
                monkeypatch.setattr(ranks, "own", lambda own=own: own)
                shares.append(ranks.share(list(range(5))))
            assert sorted(chain.from_iterable(shares)) == list(range(5))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
