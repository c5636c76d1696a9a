"""The loop: same seed same numbers, killed and resumed the same as never killed, and a budget that is kept."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from galenic.core import bundle, checkpoint
from galenic.core.decide import _steps
from galenic.core.errors import BudgetError, DigestError, PlanError, TableError, ValueProblem
from galenic.core.finish import cases_digest
from galenic.core.fit import _train_member, open_job, train_job
from galenic.core.plan import load_plan, parse_budget
from galenic.core.progress import Silent
from galenic.core.train import Feed, Trainer, as_layout


def weights(folder, name: str = "weights.safetensors"):
    return bundle.load_weights(folder / name)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(folder) -> list[dict]:
    """The lines of history.jsonl without the clock's part."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def work(disc_job, disc_plan, tmp_path_factory):
    """The tiny job opened, its plan obeyed: 24 steps."""
    folder = tmp_path_factory.mktemp("work")
    return open_job(disc_job(folder, plan=disc_plan(folder / "given.json")), Silent())


class Told(Silent):
    """What a training told on its way."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str, total: float | None = None, unit: str = "") -> None:
        self.lines.append(title)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def begun(disc_job, tmp_path_factory, told):
    """A training as a user starts it, probe and all: 7 steps, seed 7."""
    return train_job(disc_job(tmp_path_factory.mktemp("begun") / "out", seed=7, budget="7steps"), told)


def trainer_of(work, folder, **training) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    plan = load_plan(work.job.plan).training.model_copy(update=training, deep=True)
    feed = Feed(work.ready, work.split.rows("train"), 0, plan.batch)

    def score(network) -> float:
        with torch.no_grad():
            return -float(sum(p.abs().sum() for p in network.parameters()))

    return Trainer(work.build(), plan, feed, seed=0, folder=folder, device=torch.device("cpu"), score=score)


KILLED = """
    import sys
    from pathlib import Path
    import pandas as pd
    import torch
    from galenic.core import fit, train
    from galenic.core.task import load_task

    train.SAVE_SECONDS = 0.0
    torch.set_num_threads(int(sys.argv[4]))
    root, out, plan = (Path(one) for one in sys.argv[1:4])
    job = fit.Job(
        task=load_task(out.parent / "task.toml"), table=pd.read_csv(root / "cases.csv"), root=root, out=out, plan=plan,
        device="cpu", resume=out.exists(),
    )
    fit.train_job(job)
"""


class TestKilled:
    def test_by_the_system_at_any_moment_and_resumed(self, disc_job, disc_plan, pictures, tmp_path):
        plan = disc_plan(tmp_path / "plan.json", schedule=[(0, 80)], evaluate_every=10)
        through = train_job(disc_job(tmp_path / "through", plan=plan))
        through.task.save(tmp_path / "task.toml")
        out = tmp_path / "killed"
        run = [sys.executable, "-c", textwrap.dedent(KILLED), str(pictures), str(out), str(plan)]
        process = subprocess.Popen([*run, str(torch.get_num_threads())])
        deadline = time.monotonic() + 60
        while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "weights.safetensors").exists()
        train_job(disc_job(out, plan=plan, resume=True))
        assert same(weights(out), weights(tmp_path / "through"))
        assert history(out) == history(tmp_path / "through")
        assert not (out / "checkpoint.safetensors").exists()
        assert load_plan(out / "plan.json") == load_plan(tmp_path / "through" / "plan.json")

    @pytest.mark.parametrize(
        ("optimizer", "layout", "precision"),
        [("adamw", "default", "f32"), ("adamw", "channels_last", "bf16"), ("sgd", "channels_last", "f32")],
    )
    def test_at_any_step_in_any_layout(self, work, tmp_path, optimizer, layout, precision):
        how = {"optimizer": optimizer, "layout": layout, "precision": precision}
        how |= {"schedule": [(0, 12)], "evaluate_every": 4}
        through = trainer_of(work, tmp_path / "through", **how)
        through.run(Silent())
        for stop in (1, 4, 7):
            first = trainer_of(work, tmp_path / "cut", **how)
            first.resume()
            while first.step < stop:
                first.one_step()
                if first.step % 4 == 0:
                    first.evaluate()
            first.save()
            second = trainer_of(work, tmp_path / "cut", **how)
            assert second.resume()
            assert second.step == stop
            second.run(Silent())
            assert same(second.network.state_dict(), through.network.state_dict())
            assert same(second.average, through.average)
            assert (second.best, second.best_step, second.losses) == (through.best, through.best_step, through.losses)
            assert same(second.finish().state_dict(), {**through.kept})
            second.clear()

    def test_lines_after_the_checkpoint_and_a_half_line_are_dropped(self, work, tmp_path):
        first = trainer_of(work, tmp_path)
        for _ in range(4):
            first.one_step()
        first.evaluate()
        first.save()
        first.one_step()
        first.evaluate()
        with (tmp_path / "history.jsonl").open("a") as file:
            file.write('{"seconds": 1, "st')
        second = trainer_of(work, tmp_path)
        second.resume()
        assert [line["step"] for line in history(tmp_path)] == [4]

    def test_a_damaged_checkpoint_is_told(self, work, tmp_path):
        first = trainer_of(work, tmp_path)
        first.save()
        whole = first.file.read_bytes()
        for data in (whole[:100], b"", whole[:-10], b"\xff" * 100):
            first.file.write_bytes(data)
            with pytest.raises(DigestError, match="damaged"):
                trainer_of(work, tmp_path).resume()

    def test_nothing_to_take_up(self, work, tmp_path):
        (tmp_path / "history.jsonl").write_text("of another run\n")
        trainer = trainer_of(work, tmp_path)
        assert checkpoint.load(trainer.file, trainer.network, trainer.optimizer) is None
        assert not trainer.resume()
        assert not trainer.history.exists()

    def test_the_parts_and_the_seed_are_those_it_began_with(self, begun, disc_job, tmp_path):
        """Resumed without the seed or the split that it was started with, it must not learn from its test cases."""
        again = open_job(disc_job(begun.job.out, resume=True), Silent())
        assert again.split.parts == begun.split.parts != open_job(disc_job(tmp_path / "x"), Silent()).split.parts
        assert again.seed == 7
        assert again.split.origin == begun.split.origin == "by chance, seed 7"


class TestSameNumbers:
    def test_the_same_seed(self, work, tmp_path):
        one, two, other = (trainer_of(work, tmp_path / name) for name in "abc")
        other.seed = other.feed.seed = 1
        for trainer in (one, two, other):
            torch.rand(3)  # what others drew before is no matter
            trainer.run(Silent())
        assert same(one.network.state_dict(), two.network.state_dict())
        assert not same(one.network.state_dict(), other.network.state_dict())

    def test_with_torch_held_to_what_is_deterministic(self, work, tmp_path):
        torch.use_deterministic_algorithms(True)
        try:
            trainer = trainer_of(work, tmp_path)
            trainer.one_step()
            trainer.one_step()
        finally:
            torch.use_deterministic_algorithms(False)
        assert trainer.step == 2

    def test_a_plan_repeats_a_run(self, begun, disc_job, tmp_path):
        again = train_job(disc_job(tmp_path, plan=begun.job.out / "plan.json"))
        assert same(weights(begun.job.out), weights(tmp_path))
        assert begun.split.parts == again.split.parts
        assert cases_digest(begun) == cases_digest(again)

    def test_other_threads_than_the_plan_was_made_with_are_told(self, disc_job, disc_plan, tmp_path):
        """Sums are cut up by threads, so the last digits hang on their number."""
        here = torch.get_num_threads()
        warning = f"planned for {here + 1} threads, run with {here}: numbers may differ in the last digits"
        plan = disc_plan(tmp_path / "plan.json", threads=here + 1, schedule=[(0, 2)])
        for name, how, warned in (
            ("other", {"plan": plan}, True),
            ("same", {"plan": tmp_path / "other" / "plan.json"}, False),
        ):
            told = Told()
            train_job(disc_job(tmp_path / name, **how), told)
            kept = load_plan(tmp_path / name / "plan.json")
            assert (f"warning: {warning}" in told.lines) == warned
            assert kept.reasons.get("warning: threads") == (warning if warned else None)
            assert kept.training.threads == here

    def test_a_run_resumed_on_other_threads_says_so_to_the_end(self, disc_job, disc_plan, tmp_path):
        here = torch.get_num_threads()
        plan = disc_plan(tmp_path / "plan.json", schedule=[(0, 2)])
        train_job(disc_job(tmp_path / "out", plan=plan))
        begun = load_plan(tmp_path / "out" / "plan.json")
        begun.training.threads = here + 1
        begun.save(tmp_path / "out" / "plan.json")
        for _ in range(2):
            told = Told()
            train_job(disc_job(tmp_path / "out", resume=True), told)
            assert sum(line.startswith("warning: planned for") for line in told.lines) == 1

    def test_every_case_comes_once_an_epoch(self, work):
        feed = Feed(work.ready, work.split.rows("train"), 3, 4)
        rows = [row for step in range(len(feed.rows)) for _, row in feed.rows_of(step)]
        epochs = np.reshape(rows, (4, len(feed.rows)))
        assert all(sorted(epoch) == sorted(feed.rows) for epoch in epochs)
        assert epochs[0].tolist() != epochs[1].tolist()
        assert feed.rows_of(2) == Feed(work.ready, feed.rows, 3, 4).rows_of(2)


class TestBudget:
    def test_steps_are_kept_and_told(self, begun):
        plan = load_plan(begun.job.out / "plan.json")
        assert plan.training.schedule == [(0, 7)]
        assert history(begun.job.out)[-1]["step"] == 7
        assert "too small to learn" in plan.reasons["warning: budget"]

    def test_a_budget_too_small_is_told_before_it_is_spent(self, begun, told):
        warning = next(at for at, line in enumerate(told.lines) if "too small to learn" in line)
        assert told.lines[warning].startswith("warning: the budget 7steps gives 7 steps")
        assert told.lines.index("probing this device") < warning < told.lines.index("training")

    @pytest.mark.parametrize(
        ("text", "steps"), [("9steps", 9), ("1.5epochs", 75), ("0.001epochs", 1), ("60s", 511), ("1m", 511)]
    )
    def test_the_budget_in_steps(self, text, steps):
        """100 cases in batches of 2; of a minute 5 s went to the set-up, and 7 % stay for the scores."""
        assert _steps(parse_budget(text), 0.1, 100, 2, 5.0, 0) == steps

    def test_a_budget_that_the_set_up_used_up_is_told(self):
        with pytest.raises(BudgetError, match="used up before training starts"):
            _steps(parse_budget("10s"), 0.1, 100, 2, 9.9, 0)

    def test_the_clock_leaves_a_whole_model_that_a_plan_repeats(self, work, disc_job, tmp_path):
        """Time is up at once: one look at the clock later the best weights so far are there."""
        plan = load_plan(work.job.plan)
        plan.budget, plan.training.schedule, plan.training.seconds_per_step = "1s", [(0, 10_000)], 0.01
        member = open_job(disc_job(tmp_path / "stopped", plan=work.job.plan), Silent(), time.monotonic() - 60)
        member.job.out.mkdir()
        began = time.monotonic()
        _train_member(
            member, plan, member.split.parts, 0, device=torch.device("cpu"), adapt=True, progress=Silent()
        )  # fmt: skip
        assert time.monotonic() - began < 20
        stopped = load_plan(tmp_path / "stopped" / "plan.json")
        steps = stopped.training.steps
        assert 0 < steps < 10_000
        assert stopped.reasons["clock"] == f"the clock ended training at step {steps} of 10000, within 1s"
        assert history(tmp_path / "stopped")[-1]["step"] == steps
        member.build().load_state_dict(weights(tmp_path / "stopped"))
        train_job(disc_job(tmp_path / "again", plan=tmp_path / "stopped" / "plan.json"))
        assert same(weights(tmp_path / "stopped"), weights(tmp_path / "again"))
        assert "clock" not in load_plan(tmp_path / "again" / "plan.json").reasons

    def test_slow_steps_look_at_the_clock_at_once(self, work, tmp_path):
        trainer = trainer_of(work, tmp_path, seconds_per_step=30.0)
        assert trainer.run(Silent(), until=time.monotonic())
        assert trainer.step == 1

    def test_a_pace_that_is_not_the_probed_one_moves_the_end(self, work, tmp_path, monkeypatch):
        trainer = trainer_of(work, tmp_path, schedule=[(0, 1000)])
        trainer.step = 100
        now = time.monotonic()
        assert not trainer._look_at_clock(now + 10, now - 20, True)  # 100 steps in 20 s, 10 s left
        assert trainer.plan.schedule[1] == (100, pytest.approx(150, abs=1))
        assert not trainer._look_at_clock(now + 10, now - 20, True)
        assert len(trainer.plan.schedule) == 2


class TestBest:
    def test_the_best_step_is_kept_and_not_the_last(self, work, tmp_path):
        trainer = trainer_of(work, tmp_path, evaluate_every=4)
        scores = iter([0.1, 0.7, float("nan"), 0.3, 0.7, 0.2])
        averages = []

        def score(network) -> float:
            averages.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            return next(scores)

        trainer.score = score
        trainer.run(Silent())
        assert (trainer.best, trainer.best_step) == (0.7, 8)
        assert same(trainer.finish().state_dict(), averages[1])
        assert [line["score"] for line in history(tmp_path)] == [0.1, 0.7, None, 0.3, 0.7, 0.2]

    def test_where_no_score_is_defined_the_last_stays(self, work, tmp_path):
        trainer = trainer_of(work, tmp_path)
        trainer.score = lambda network: float("-inf")
        trainer.run(Silent())
        assert same(trainer.finish().state_dict(), trainer.average)

    def test_scoring_changes_nothing_in_training(self, work, tmp_path):
        often, never = trainer_of(work, tmp_path / "o", evaluate_every=1), trainer_of(work, tmp_path / "n")
        often.run(Silent())
        never.run(Silent())
        assert same(often.network.state_dict(), never.network.state_dict())


class TestGradientsThatAreNotFinite:
    """As bfloat16 gives them at times for tiny volumes."""

    @staticmethod
    def spoilt(trainer: Trainer, times: int) -> None:
        left = iter([True] * times)
        weight = next(trainer.network.parameters())
        weight.register_hook(lambda gradient: gradient * float("nan") if next(left, False) else gradient)

    def test_the_step_is_taken_again_in_float32(self, work, tmp_path):
        trainer = trainer_of(work, tmp_path, precision="bf16")
        self.spoilt(trainer, 1)
        trainer.run(Silent())
        assert trainer.mended == 1
        assert all(tensor.isfinite().all() for tensor in trainer.finish().state_dict().values())

    def test_what_float32_does_not_mend_ends_the_training(self, work, tmp_path):
        trainer = trainer_of(work, tmp_path, precision="f32")
        self.spoilt(trainer, 1)
        with pytest.raises(ValueProblem, match="at step 0 the gradient is not finite"):
            trainer.run(Silent())


def test_channels_last_is_a_layout_and_no_other_network(work):
    network = as_layout(work.build(), "channels_last")
    assert same(network.state_dict(), work.build().state_dict())
    assert any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters())


class TestRefused:
    def test_another_network_than_the_plan_is_for(self, disc_job, disc_plan, tmp_path):
        with pytest.raises(PlanError, match="unet2015"):
            open_job(disc_job(tmp_path, plan=disc_plan(tmp_path / "p.json"), network="unet2015"), Silent())

    def test_a_plan_of_other_fields(self, disc_job, disc_plan, tmp_path):
        path = disc_plan(tmp_path / "p.json")
        path.write_text(path.read_text().replace('"mask"', '"lesion"'))
        with pytest.raises(PlanError, match="knows nothing of the fields mask"):
            open_job(disc_job(tmp_path, plan=path), Silent())

    def test_cases_without_any_truth(self, disc_job, tmp_path):
        job = disc_job(tmp_path)
        job.table["split"] = ["train"] * 8 + ["valid"] * 2 + ["test"] * 6
        job.table["mask"] = job.table["mask"].where(job.table.index < 4)
        work = open_job(job, Silent())
        assert work.taught(work.split.rows("train")) == [0, 1, 2, 3]
        with pytest.raises(TableError, match="none of 2 cases has a truth of mask"):
            work.taught(work.split.rows("valid"))
