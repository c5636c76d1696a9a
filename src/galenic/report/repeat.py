"""The commands that use a model again and that make it again."""

from __future__ import annotations

import shlex

from galenic.report.content import Content


def commands(content: Content) -> list[tuple[str, str]]:
    """(what for, shell command), run beside the model folder's files; hostile names are quoted."""
    seed = content.provenance.get("seed")
    task = str(content.provenance.get("task") or "task.toml")
    again = f"galenic train {shlex.quote(task)} --plan plan.json"
    if seed is not None:
        again += f" --seed {shlex.quote(str(seed))}"
    own = content.provenance.get("command")
    first = [("the command that made it", shlex.join(map(str, own)) if isinstance(own, list) else str(own))]
    return [
        *(first if own else []),
        ("the same training again, by the same plan", f"{again} -o again"),
        ("the scores on new cases, baselines beside them", "galenic evaluate . CASES.csv"),
        ("answers for new files", "galenic predict . INPUT -o OUT"),
    ]
