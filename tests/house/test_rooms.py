"""Rooms are alike: who knows one room knows all."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from galenic.core import registry

COMMON = {"__init__.py", "read.py", "prepare.py", "vary.py", "measure.py", "show.py", "kinds.py", "networks"}

# A further file of a room, and why it is one.
MORE = {
    "images": {
        "answers.py": "from a network's output to a mask on the input's grid",
        "baselines.py": "the simple methods for masks",
        "body.py": "which voxels are air, so that they are never computed",
        "dense.py": "a mask from a dense network, by tiles, whole or streamed",
        "fingerprint.py": "the mergeable summary, and the decisions taken from it",
        "frame.py": "the frame that images and masks share",
        "guess.py": "which columns of a bare table hold pictures, and which rather masks",
        "layouts.py": "folders of known layout as tables of cases",
        "losses.py": "Dice and cross-entropy",
        "rules.py": "what a mask is judged by",
        "strongest.py": "labels of a volume whose probabilities are too large to keep",
        "tile.py": "tiles chosen to compute few voxels",
        "vectors.py": "what the networks share that make one vector of a whole picture",
        "whole.py": "the grid and the variation of pictures that are seen whole",
        "write.py": "a mask in the form of its image",
    },
    "series": {
        "events.py": "tables of timed measurements, long or wide, as one matrix over time",
        "fingerprint.py": "the mergeable summary, and the decisions taken from it",
        "learners.py": "the simple method for waveforms",
        "live.py": "a trained model fed measurement by measurement",
        "sound.py": "which values and signals can't be sound measurements",
        "recurrent.py": "what recurrent networks share: inputs side by side, the state pooled, a step at a time",
        "step.py": "a recurrent network fed row by row, as at the bedside",
        "unrolled.py": "a recurrent layer's passes by hand, for training on the CPU",
    },
    "tables": {
        "bounds.py": "the lowest and highest that a task allows",
        "calls.py": "from which probability on a class is called",
        "category.py": "the kind category",
        "checks.py": "what options and prepared cases must be, for both kinds",
        "keep.py": "scikit-learn's parts as skops, with a closed list of types",
        "doubts.py": "what looks wrong in a table to learn from",
        "learners.py": "the simple methods for categories and numbers",
        "limits.py": "numbers that no patient has, by what training showed",
        "measure_number.py": "scores of a number",
        "number.py": "the kind number",
        "units.py": "known pairs of units",
        "write.py": "an answer as a row",
    },
    "texts": {
        "counts.py": "mergeable counts of words",
        "english.py": "function words and the phrases of negation",
        "learners.py": "the simple method for texts",
        "misspelt.py": "whether a word is one of the vocabulary misspelt",
        "negation.py": "which words are negated",
        "tokens.py": "words, numbers and marks, and the pieces of a word",
    },
}


def _listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "__pycache__"}


def _targets(room: str) -> list[str]:
    """The room's kinds that can be learnt."""
    own = [one.name for one in entry_points(group="galenic.kinds") if one.value.startswith(f"galenic.{room}.")]
    return [name for name in own if hasattr(registry.kind(name), "answer")]


@pytest.mark.parametrize("room", sorted(MORE))
def test_rooms_hold_the_usual_files(room: str, root: Path) -> None:
    found = _listed(root / "src" / "galenic" / room)
    assert "kinds.py" in found, "kinds.py is a room's door"
    assert {"read.py", "prepare.py"} <= found
    assert "measure.py" in found or not _targets(room), "a kind that can be learnt is measured"
    assert found - COMMON - set(MORE[room]) == set(), "use a usual name, or say here why there is one more file"


@pytest.mark.parametrize("room", sorted(MORE))
def test_a_network_a_file(room: str, root: Path) -> None:
    """Each registered network of a room lives in networks/NAME.py."""
    prefix = f"galenic.{room}."
    own = {
        entry.name: entry.value for entry in entry_points(group="galenic.networks") if entry.value.startswith(prefix)
    }
    assert own, f"{room} registers no network"
    for name, value in own.items():
        assert value.split(":")[0] == f"{prefix}networks.{name}"
    files = _listed(root / "src" / "galenic" / room / "networks") - {"__init__.py"}
    assert files == {f"{name}.py" for name in own}


def test_every_folder_of_the_house_is_known(root: Path) -> None:
    folders = {path.name for path in (root / "src" / "galenic").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {"catalog", "cli", "core", "formats", "report", "tasks", *MORE}


def test_kinds_come_from_the_doors() -> None:
    for entry in entry_points(group="galenic.kinds"):
        if entry.value.startswith("galenic."):
            assert entry.value.split(":")[0].endswith(".kinds"), entry


def test_commands_have_a_file_each(root: Path) -> None:
    from typer.main import get_command

    from galenic.cli.door import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert commands <= {path.stem for path in (root / "src" / "galenic" / "cli").glob("*.py")}


def test_tests_follow_the_house(root: Path) -> None:
    """A folder of the package has its folder of tests."""
    parts = {path.name for path in (root / "src" / "galenic").iterdir() if path.is_dir()} - {"__pycache__", "tasks"}
    tested = {path.name for path in (root / "tests").iterdir() if path.is_dir() and list(path.glob("test_*.py"))}
    assert parts - tested == set()
