"""A DICOM folder in, DICOM SEG and SR out: `galenic predict` on the CT of ibsi-lung-ct, the whole process, by step.

The set holds one CT. A small 3-D network is trained on blocks of its own slices (air by a threshold, and the tumour),
for speed alone: how well it does says nothing. Each round is a process of its own, from its start to its end. "network"
is every call of the picked runtime; "open" reads the model and compiles its network; "prepare" crops and normalises,
"answer" blends the tiles, picks the strongest class and goes back to the DICOM grid; "import" is all that happens
before the command's own work. Bar: the network is more than half of the whole.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

STEPS = ("import", "open", "read", "prepare", "network", "answer", "write SEG", "write SR", "other")
AIR_HU = -500
BLOCKS = {"train": (0, 34), "valid": (36, 42), "test": (44, 60)}  # slices; the gaps are in no part


def make_cases(series: Path, contours: Path, folder: Path) -> Path:
    """Blocks of the one CT as NIfTI, a mask each (1 air, lungs included; 2 tumour); the path of the task."""
    import numpy as np

    from galenic.formats import dicom, nifti
    from galenic.values import Geometry, Image, Mask

    image = dicom.read_image(series)
    tumour = nifti.read_mask(contours).array > 0
    if tumour.shape != image.shape:
        raise SystemExit(f"the mask has the shape {tumour.shape}, the CT {image.shape}")
    label = np.where(tumour, 2, image.array[0] < AIR_HU).astype(np.uint8)
    rows = [("id", "image", "mask", "split")]
    folder.mkdir(parents=True, exist_ok=True)
    for part, (low, high) in BLOCKS.items():
        kept = image.geometry
        geometry = Geometry(kept.spacing_mm, kept.to_mm(np.array([[low, 0, 0]]))[0], kept.direction)
        block = Image(image.array[:, low:high], geometry, "CT", "HU")
        nifti.write_image(block, folder / f"{part}.nii")
        nifti.write_mask(Mask(label[low:high], geometry, {1: "air", 2: "tumour"}), folder / f"{part}.mask.nii.gz")
        rows.append((part, f"{part}.nii", f"{part}.mask.nii.gz", part))
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    task = folder / "task.toml"
    task.write_text(
        'name = "one_ct"\ntable = "cases.csv"\nwithin_one_subject = true\n'
        '[[inputs]]\nname = "image"\nkind = "image"\ncolumns = ["image"]\noptions = { modality = "CT" }\n'
        '[[targets]]\nname = "mask"\nkind = "mask"\ncolumns = ["mask"]\n'
        'options = { classes = { 1 = "air", 2 = "tumour" } }\n',
        encoding="utf-8",
    )
    return task


class Clock:
    """Seconds by step, and a wrapper that adds a function's time to one of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, step: str, seconds: float) -> None:
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(step, time.perf_counter() - began)

        return call


def child(model: Path, series: Path, out: Path) -> None:
    """`galenic predict` in this process with a clock on each step; the last line on stdout is JSON."""
    from galenic import verbs
    from galenic.core.cases import Cases
    from galenic.core.model import Model
    from galenic.core.runtime import Opened
    from galenic.images import write

    clock = Clock()
    begun = _process_started()
    clock.add("import", time.time() - begun)

    verbs.load_model = clock.timed("open", verbs.load_model)
    Cases.values = clock.timed("read", Cases.values)
    Model.prepare = clock.timed("prepare", Model.prepare)
    Opened.__call__ = clock.timed("network", Opened.__call__)
    Model.answer = clock.timed("answer", Model.answer)
    write.dicom_seg.write_seg = clock.timed("write SEG", write.dicom_seg.write_seg)
    write.dicom_sr.write_sr = clock.timed("write SR", write.dicom_sr.write_sr)
    (written,) = verbs.predict(model, [series], out)
    if written.refused is not None:
        raise SystemExit(written.refused)
    clock.add("answer", -clock.seconds["network"])
    names = [path.name for path in written.paths]
    print(json.dumps({"steps": clock.seconds, "files": names}), flush=True)


def _process_started() -> float:
    """When this process began, in seconds since 1970 (proc(5): clock ticks after boot; boot from /proc/stat)."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def one_round(model: Path, series: Path, out: Path) -> dict[str, float]:
    """Seconds by step of one fresh process, and of the whole."""
    for path in out.glob("*"):
        path.unlink()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", model, series, out], check=True, stdout=subprocess.PIPE, text=True
    )
    whole = time.perf_counter() - began
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])["steps"]
    return {**found, "other": whole - sum(found.values()), "whole": whole}


@dataclasses.dataclass(frozen=True)
class Table:
    """Medians over the rounds of each step and of the whole, in seconds."""

    steps: dict[str, float]
    whole: float

    @property
    def share(self) -> float:
        return self.steps["network"] / self.whole

    def lines(self) -> list[str]:
        rows = [f"{step:10} {seconds:7.2f} s  {seconds / self.whole:6.1%}" for step, seconds in self.steps.items()]
        return [*rows, f"{'whole':10} {self.whole:7.2f} s"]


def prepare_model(folder: Path, budget: str) -> tuple[Path, Path]:
    """The model folder, trained if absent, and the DICOM series from galenic's data cache."""
    from galenic import verbs
    from galenic.catalog import tables
    from galenic.cli.bars import Bars

    (row,) = tables.cases("ibsi-lung-ct").to_dict("records")
    series = Path(row["image"])
    model = folder / "model"
    if not (model / "provenance.json").is_file():
        task = make_cases(series, Path(row["label"]), folder / "cases")
        with Bars() as bars:
            verbs.train(task, budget=budget, out=model, progress=bars)
    return model, series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench-dicom"))
    parser.add_argument("--budget", default="3m", help="for the network's training, if there is none yet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    from galenic.core.model import runtime_folder
    from galenic.core.runtime import read_choice
    from records import keep, verdict

    model, series = prepare_model(given.folder, given.budget)
    out = given.folder / "out"
    out.mkdir(exist_ok=True)
    one_round(model, series, out)  # files and libraries from disk
    rounds = [one_round(model, series, out) for _ in range(given.rounds)]
    steps = {step: median(own.get(step, 0.0) for own in rounds) for step in STEPS}
    table = Table(steps, median(own["whole"] for own in rounds))
    choice = read_choice(runtime_folder(model, 0, 1))
    picked = choice.chosen.title if choice else ""
    print(f"ibsi-lung-ct, DICOM to DICOM SEG and SR, {given.rounds} processes, {picked}")
    print("\n".join(table.lines()))
    met = table.share > 0.5
    print(f"the network takes {table.share:.0%} of the whole; bar more than 50 %: {verdict(met)}")
    figures = {"picked": picked, "steps": table.steps, "whole": table.whole, "share": table.share, "met": met}
    keep("dicom_to_seg", {"rounds": given.rounds, **figures}, wanted=given.record)


if __name__ == "__main__":
    main()
