"""What a room to come may bring and none has yet: a frame that collates ragged samples, and a kind that ties cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Field, Prepared, Settings, Values
from galenic.core.fit import Job, Work, open_job
from galenic.core.network import Loss, Network
from galenic.core.plan import Training
from galenic.core.progress import Silent
from galenic.core.task import Task
from galenic.core.train import Feed, Trainer

ROOTS = ("ab", "abc", "abcd", "cde", "bd", "acef", "cf", "defg", "ag", "bcg", "eg", "abefg")
COPIES = 4


class Word:
    """A toy kind: letters in a row, tied to those of the same letters in another order."""

    name, frame, from_file, groups = "word", "spelling", False, True

    def check(self, field: Field) -> Field:
        return field

    def open(self, field: Field, table: pd.DataFrame, root: Any) -> Any:
        cells = [None if pd.isna(cell) else str(cell) for cell in table[field.columns[0]]]
        return SimpleNamespace(read=cells.__getitem__)

    def group(self, value: str) -> str:
        return "".join(sorted(value))


class Spelling:
    """A toy frame whose samples differ in length: joined end to end, with an index of the case."""

    name = "spelling"

    def summarise(self, values: Values, fields: Sequence[Field]) -> Settings:
        return {"most": max((len(values[field.name] or "") for field in fields), default=0)}

    def merge(self, one: Settings, other: Settings) -> Settings:
        return {"most": max(one["most"], other["most"])}

    def settle(self, summary: Settings, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
        settings = {**summary, "words": {field.name: {} for field in fields}}
        return settings, {"most": "the longest", "warning: letters": "few letters are known"}

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:
        known = {name: value for name, value in values.items() if value is not None}
        return Prepared({name: np.array([ord(letter) - 97 for letter in word]) for name, word in known.items()})

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> None:
        return None

    def apply(self, prepared: Prepared, draw: None, settings: Settings) -> Mapping[str, Tensor]:
        return {name: torch.from_numpy(prepared.arrays[name]) for name in settings["words"] if name in prepared.arrays}

    def collate(self, samples: Sequence[Mapping[str, Tensor]]) -> Batch:
        values, present = {}, {}
        for name in sorted({name for sample in samples for name in sample}):
            own = [sample.get(name, torch.zeros(0, dtype=torch.long)) for sample in samples]
            values[name] = torch.cat(own)
            values[f"{name}.case"] = torch.repeat_interleave(torch.tensor([len(word) for word in own]))
            present[name] = torch.tensor([name in sample for sample in samples])
        return Batch(values, len(samples), present)


class Bag(Network):
    """The mean of the letters' vectors, whatever the word's length."""

    def __init__(self, task: Task, frames: Mapping[str, Settings]) -> None:
        super().__init__(task, frames)
        self.letters = nn.Embedding(26, 8)
        (target,) = task.targets
        self.head = registry.target(target).head(target, 8, frames["row"])

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:
        letters = self.letters(batch.values["word"])  # (letters of all cases, 8)
        vector = torch.zeros(batch.size, 8).index_add(0, batch.values["word.case"], letters)  # (batch, 8)
        (target,) = self.task.targets
        loss = registry.target(target).loss(self.head(vector), batch.values[target.name], target, self.frames["row"])
        return {target.name: Loss(loss * self.known(batch, target.name))}


@dataclass
class BagPlug:
    name: str = "bag"

    def fits(self, task: Task) -> str:
        return ""

    def plan(self, task: Task, frames: Any, budget: Budget) -> tuple[Settings, dict[str, str]]:
        return {"batch": 6, "learning_rate": 0.05, "weight_decay": 0.0, "optimizer": "adamw"}, {}

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return Bag(task, frames)


@pytest.fixture
def word(monkeypatch) -> Word:
    """The toys, registered as an outside package's would be."""
    kind = Word()
    toys = {("kinds", "word"): kind, ("frames", "spelling"): Spelling(), ("networks", "bag"): BagPlug()}
    known = registry.get
    monkeypatch.setattr(registry, "get", lambda group, name: toys.get((group, name)) or known(group, name))
    return kind


def job_of(folder, *, patients: bool = False) -> Job:
    """Every root in several orders; whether it has an `a` is to be learnt. One case lacks its word, one its truth."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.permutation(list(root))) for root in ROOTS for _ in range(COPIES)]
    table = pd.DataFrame({"id": [f"c{at:02}" for at in range(len(words))], "word": words})
    table["answer"] = np.where(table["word"].str.contains("a"), "yes", "no")
    table.loc[5, "word"], table.loc[9, "answer"] = None, None
    if patients:
        table["patient"] = [f"P{at % 9}" for at in range(len(words))]
    task = Task(
        name="toy", inputs=[Field(name="word", kind="word", columns=["word"])],
        targets=[Field(name="answer", kind="category", columns=["answer"])],
    )  # fmt: skip
    return Job(task=task, table=table, root=folder, out=folder / "out", budget="40steps", network="bag", device="cpu")


@pytest.fixture
def work(word, tmp_path) -> Work:
    return open_job(job_of(tmp_path), Silent())


def samples_of(work: Work, rows: Sequence[int]) -> list[dict[str, Tensor]]:
    return [work.frames.sample(np.random.default_rng(0), work.ready[row], work.settings) for row in rows]


class TestRagged:
    def test_a_frame_collates_its_own_fields_and_the_others_are_stacked(self, work):
        batch = work.frames.collate(samples_of(work, [0, 9, 12, 5]))
        spelt = ["" if row == 5 else work.job.table["word"][row] for row in (0, 9, 12, 5)]
        assert len({len(word) for word in spelt}) > 2
        assert "".join(chr(97 + int(letter)) for letter in batch.values["word"]) == "".join(spelt)
        assert batch.values["word.case"].tolist() == [at for at, word in enumerate(spelt) for _ in word]
        assert batch.values["answer"].shape == (4,)
        assert batch.size == 4
        assert batch.present["word"].tolist() == [True, True, True, False]

    def test_collating_takes_nothing_from_the_samples(self, work):
        samples = samples_of(work, [0, 1])
        work.frames.collate(samples)
        assert all({"word", "answer"} <= sample.keys() for sample in samples)

    def test_the_loop_learns_from_ragged_batches(self, work, tmp_path):
        plan = Training(
            **work.network_settings, precision="f32", layout="default", schedule=[(0, 120)], evaluate_every=1000,
            warmup=1, ema=0.9, seconds_per_step=0.01, threads=1,
        )  # fmt: skip
        rows = work.taught(work.split.rows("train"))
        feed = Feed(work.ready, rows, 0, plan.batch)
        trainer = Trainer(
            work.build(), plan, feed, seed=0, folder=tmp_path, device=torch.device("cpu"), score=lambda network: 0.0
        )
        whole = work.frames.collate(samples_of(work, rows))
        before = float(trainer.network.losses(whole, 0.0)["answer"].value.mean().detach())
        trainer.run(Silent())
        after = float(trainer.finish().losses(whole, 0.0)["answer"].value.mean().detach())
        assert after < 0.5 * before


class TestGroups:
    def test_what_a_kind_ties_stays_in_one_part(self, work):
        parts: dict[str, set[str]] = {}
        for row, part in enumerate(work.split.parts):
            if row != 5:
                parts.setdefault("".join(sorted(work.job.table["word"][row])), set()).add(part)
        assert len(parts) == len(ROOTS)
        assert all(len(own) == 1 for own in parts.values())
        assert {"train", "valid", "calib", "test"} == set(work.split.parts)

    def test_a_kind_that_ties_nothing_is_not_asked(self, word, tmp_path, monkeypatch):
        monkeypatch.setattr(Word, "groups", False)
        parts = open_job(job_of(tmp_path), Silent()).split.parts
        assert any(len(set(parts[at : at + COPIES])) > 1 for at in range(0, len(parts), COPIES))

    def test_a_known_patient_comes_first(self, word, tmp_path):
        job = job_of(tmp_path, patients=True)
        parts = open_job(job, Silent()).split.parts
        by_patient = {patient: set() for patient in job.table["patient"]}
        for patient, part in zip(job.table["patient"], parts, strict=True):
            by_patient[patient].add(part)
        assert all(len(own) == 1 for own in by_patient.values())


def test_a_frame_says_a_warning_under_its_own_name(work):
    """Reasons are kept as frame.decision; what is shown as a warning is known by how its name begins."""
    assert work.reasons["spelling.most"] == "the longest"
    assert work.reasons["warning: letters"] == "few letters are known"
