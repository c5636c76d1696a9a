"""The commands that use a model again and that make it again."""

from __future__ import annotations

import shlex

from galenic.report.content import Content


def commands(content: Content) -> list[tuple[str, str]]:
    """(what for, shell command), run in the model folder. No path of the user's is named, as the card may be exported.

    A model of own cases is made again from private/task.toml, which knows where they are. What the commands write
    lies beside the folder, as all that lies in it is exported.
    """
    asked = content.run.get("asked") or {}
    own = not content.task.get("data")
    words = ["galenic", "train", "private/task.toml" if own else "task.toml", "--plan", "plan.json"]
    purpose = "the same training again, by the same plan"
    if asked.get("split"):
        words += ["--split", "private/split.csv"]
    if own or asked.get("split"):
        purpose += " (needs private/, which an export leaves out)"
    if asked.get("from"):
        words += ["--from", "MODEL"]
        purpose += "; MODEL is the folder that it was fine-tuned from"
    seed = content.provenance.get("seed")
    if seed is not None:
        words += ["--seed", str(seed)]
    if content.run.get("exact"):
        words.append("--exact")
    return [
        (purpose, shlex.join([*words, "-o", "../again"])),
        ("the scores on new cases, baselines beside them", "galenic evaluate . CASES.csv"),
        ("answers for new files", "galenic predict . INPUT -o ../OUT"),
    ]
