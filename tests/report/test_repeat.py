"""The commands that a report and a card print."""

from __future__ import annotations

import shlex
from dataclasses import replace

from galenic.report.content import Content
from galenic.report.repeat import commands


def again(content: Content) -> list[str]:
    return shlex.split(next(command for purpose, command in commands(content) if "again" in purpose))


def test_a_shipped_task_is_repeated_from_the_folder_alone(content: Content) -> None:
    assert again(content) == ["galenic", "train", "task.toml", "--plan", "plan.json", "--seed", "7", "-o", "../again"]


def test_own_cases_are_named_by_private(content: Content) -> None:
    own = {key: value for key, value in content.task.items() if key != "data"}
    run = {"asked": {"split": "/data/parts.csv", "from": None}, "exact": False}
    words = again(replace(content, task=own, run=run))
    assert words[2] == "private/task.toml"
    assert words[words.index("--split") + 1] == "private/split.csv"
    assert "--from" not in words
    assert "/data" not in " ".join(words), "the card may leave the hospital"
    told = commands(replace(content, task=own, run=run))[0][0]
    assert "needs private/" in told


def test_a_fine_tuned_and_exact_run_says_so(content: Content) -> None:
    words = again(replace(content, run={"asked": {"from": "/models/first", "split": None}, "exact": True}))
    assert words[words.index("--from") + 1] == "MODEL"
    assert "--exact" in words


def test_nothing_is_written_into_the_model_folder(content: Content) -> None:
    for _, command in commands(content):
        words = shlex.split(command)
        if "-o" in words:
            assert words[words.index("-o") + 1].startswith("../")
