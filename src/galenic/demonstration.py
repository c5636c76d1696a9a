"""`galenic demo`: a brain's tissues, a breast-cancer table and an ECG, on data inside dependencies, in one report.

The brain is the MNI152 average (Fonov et al., NeuroImage 54:313, 2011) that nilearn holds. As given, two cuts of its
intensity nearly repeat its tissue maps, so every slice gets what scanners add: a smooth bias field and noise.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic import catalog, demonstration_ecg, pictures, verbs
from galenic.core import bundle
from galenic.core.contract import Field
from galenic.core.errors import InputError, MissingExtra, UnsupportedFile
from galenic.core.files import write_aside, write_json
from galenic.core.progress import Progress, Silent
from galenic.core.task import Task
from galenic.formats import nifti
from galenic.report.content import Content
from galenic.report.page import write_report
from galenic.values import Geometry, Image, Mask

Array = NDArray[np.floating]

MARK = "demo.json"
_MAKER = "galenic demo"
HOLDS = ("brain", "breast_cancer", "ecg_lead", "data", "predicted", "report.html", MARK)

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_SHAPE = (189, 233, 197)  # slices, rows, columns of the template, 1 mm
_HEAD = (slice(21, 213), slice(18, 178))  # rows and columns kept of a slice: the brain with a margin
_SLICES = range(48, 144)  # the cerebrum
_PERIOD, _TRAIN, _GAP, _HELD = 24, 12, 3, 6  # slices; each block is followed by a gap that no part has
_VALID_BLOCK = 1
_CLASSES = {"1": "grey matter", "2": "white matter"}
_TABLE_CASES = 5
_CUTS = (
    "Two cuts of the raw values, fitted to the training slices, reach Dice 0.96 (grey) and 0.96 (white) on the test "
    "slices as given, and 0.73 and 0.38 as they are here."
)


@dataclass(frozen=True)
class Scanner:
    """What is added to a slice whose values run from 0 to 255.

    depth: the bias field multiplies by between exp(-depth) and exp(depth). order: highest order of its cosines.
    noise: standard deviation of the Gaussian noise in each of the two channels whose magnitude a scanner stores
    (Gudbjartsson and Patz, Magnetic Resonance in Medicine 34:910, 1995).
    """

    depth: float = 0.4
    order: int = 2
    noise: float = 10.0
    seed: int = 152


@dataclass(frozen=True)
class Added:
    """The draw of one slice: weights [order + 1, order + 1] of the field's cosines, and the noise's seed."""

    weights: Array
    seed: int


@dataclass(frozen=True)
class Template:
    """The averaged brain: t1 [slice, row, column] from 0 to 255; tissue, 1 grey, 2 white, 0 other; its geometry."""

    t1: Array
    tissue: NDArray[np.uint8]
    geometry: Geometry


def demo(
    out: Path | str, *, progress: Progress | None = None, brain_budget: str = "70s", table_budget: str = "400steps",
    ecg_budget: str = "300steps", pixel_mm: int = 1,
) -> Path:  # fmt: skip
    """Train, evaluate and predict the three tasks below `out`; the path of the joint report.

    pixel_mm: 1 takes every pixel of a slice, 4 every fourth in both directions: coarser, and sixteen times quicker.
    An earlier demo in `out` is replaced. Raises MissingExtra without nilearn, InputError where `out` holds anything
    but an earlier demo.
    """
    progress = progress or Silent()
    out = Path(out).resolve()
    template = load_template()
    clear(out)
    progress.stage("making slices of the brain")
    task = write_slices(out / "data" / "brain", template, pixel_mm)
    progress.say("1 of 3: grey and white matter in slices of one averaged brain, by U-Net")
    verbs.train(task, budget=brain_budget, out=out / "brain", progress=progress)
    progress.say("2 of 3: malignant or benign, from a table of measurements")
    verbs.train("breast_cancer", budget=table_budget, out=out / "breast_cancer", progress=progress)
    progress.say("3 of 3: limb or chest lead, from a second of one person's ECG, row by row as it comes in")
    lead = demonstration_ecg.write_windows(out / "data" / "ecg_lead")
    verbs.train(lead, budget=ecg_budget, out=out / "ecg_lead", network="gru", alone=True, progress=progress)
    contents = [_brain_content(out, progress), _breast_content(out, progress), _ecg_content(out)]
    write_report(out / "report.html", contents)
    return out / "report.html"


def clear(out: Path) -> None:
    """Make `out` ready: new, or emptied of what an earlier demo left; InputError where it holds anything else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", todo="name a folder for the demo with -o")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and not _is_demo(out):
        raise InputError(
            f"{out} is not empty and was not made by galenic demo",
            allowed="a new or empty folder, or one that an earlier demo made, which is replaced",
            todo="name another folder with -o",
        )
    if there - set(HOLDS):
        raise InputError(
            f"{out} holds an earlier demo and more: {', '.join(sorted(there - set(HOLDS))[:5])}",
            todo="move those away, or name another folder with -o",
        )
    for name in sorted(there - {MARK}):
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    write_json(out / MARK, {"made by": _MAKER, "version": version("galenic"), "scanner": vars(Scanner())})


def _is_demo(folder: Path) -> bool:
    try:
        told = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("made by") == _MAKER


def load_template() -> Template:
    """The brain and its tissue classes (a map above one half); MissingExtra without nilearn."""
    found = find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("nilearn", "demo", "the demo")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    t1, grey, white = (nifti.read_image(folder / _FILE.format(name)) for name in ("t1", "gm", "wm"))
    for image in (t1, grey, white):
        if image.shape != _SHAPE:
            raise UnsupportedFile(
                f"nilearn's template {image.source} has the shape {image.shape}",
                allowed=f"{_SHAPE}",
                todo="install a nilearn that galenic[demo] allows",
            )
    tissue = np.zeros(_SHAPE, np.uint8)
    tissue[grey.array[0] > 127.5] = 1
    tissue[(white.array[0] > 127.5) & (white.array[0] > grey.array[0])] = 2
    return Template(t1.array[0], tissue, t1.geometry)


def part_of(height: int) -> str:
    """The part of slice `height`: blocks of 12 train, 6 test (one block of them valid), 3 left out between; else ""."""
    if height not in _SLICES:
        return ""
    block, at = divmod(height - _SLICES.start, _PERIOD)
    if at < _TRAIN:
        return "train"
    if _TRAIN + _GAP <= at < _TRAIN + _GAP + _HELD:
        return "valid" if block == _VALID_BLOCK else "test"
    return ""


def draw_added(rng: np.random.Generator, scanner: Scanner) -> Added:
    """Normal weights for the cosines of summed order 1 to `order`."""
    down, right = np.indices((scanner.order + 1, scanner.order + 1))
    used = (down + right > 0) & (down + right <= scanner.order)
    return Added(rng.normal(size=used.shape) * used, int(rng.integers(2**31)))


def bias_field(shape: tuple[int, int], added: Added, depth: float) -> Array:
    """exp of a sum of cosines that is brought to [-depth, depth], [row, column]."""
    waves = [np.cos(np.pi * np.outer(np.arange(len(added.weights)), np.linspace(0, 1, size))) for size in shape]
    total = waves[0].T @ added.weights @ waves[1]
    low, high = float(total.min()), float(total.max())
    field: Array = np.exp(depth * (2 * (total - low) / max(high - low, 1e-12) - 1))
    return field


def as_scanned(plane: Array, added: Added, scanner: Scanner) -> NDArray[np.uint16]:
    """A slice [row, column] with field and noise, as whole numbers, as a scanner stores it."""
    rng = np.random.default_rng(added.seed)
    one, other = rng.normal(0, scanner.noise, (2, *plane.shape))
    stored: NDArray[np.uint16] = (
        np.hypot(plane * bias_field(plane.shape, added, scanner.depth) + one, other).round().astype(np.uint16)
    )
    return stored


def scanned_slice(template: Template, height: int, scanner: Scanner, pixel_mm: int = 1) -> tuple[Image, Mask]:
    """One axial slice [192, 160] and its tissues, front up and the body's right on the left; drawn by its own seed."""
    plane = template.t1[height][_HEAD][::-pixel_mm, ::-pixel_mm]
    tissue = template.tissue[height][_HEAD][::-pixel_mm, ::-pixel_mm]
    geometry = template.geometry
    corner = geometry.to_mm(np.array([[height, _HEAD[0].stop - 1, _HEAD[1].stop - 1]]))[0]
    place = Geometry(pixel_mm * geometry.spacing_mm[1:], corner, -geometry.direction[:, 1:])
    added = draw_added(np.random.default_rng([scanner.seed, height]), scanner)
    names = {0: "other"} | {int(value): name for value, name in _CLASSES.items()}
    return Image(as_scanned(plane, added, scanner)[np.newaxis], place, "MR"), Mask(
        np.ascontiguousarray(tissue), place, names
    )


def write_slices(folder: Path, template: Template, pixel_mm: int = 1) -> Path:
    """Write images, masks, cases.csv and task.toml; the path of the task."""
    scanner = Scanner()
    rows = []
    for height in _SLICES:
        part = part_of(height)
        if not part:
            continue
        own = f"slice-{height:03d}"
        image, mask = scanned_slice(template, height, scanner, pixel_mm)
        nifti.write_image(image, folder / f"{own}.nii.gz")
        nifti.write_mask(mask, folder / f"{own}_mask.nii.gz")
        rows.append({"id": own, "split": part, "image": f"{own}.nii.gz", "label": f"{own}_mask.nii.gz"})
    table = folder / "cases.csv"
    with write_aside(table) as aside:
        pd.DataFrame(rows).to_csv(aside, index=False)
    _task(table.resolve(), scanner, pixel_mm).save(folder / "task.toml")
    return folder / "task.toml"


def _task(table: Path, scanner: Scanner, pixel_mm: int) -> Task:
    low, high = np.exp([-scanner.depth, scanner.depth])
    return Task(
        name="brain",
        title="Grey and white matter in slices of one averaged brain",
        table=str(table),
        within_one_subject=True,
        notes=[
            "One averaged brain that nobody has (MNI152, in nilearn): a smoke test of the tool, not a clinical claim.",
            f"Axial slices 1 mm apart, in blocks of {_TRAIN} to train and {_HELD} to test (one block of these to "
            f"validate); the {_GAP} slices between two blocks are left out.",
            "As given, two cuts of the intensity nearly repeat the tissue maps. So each slice (values 0 to 255) is "
            f"multiplied by a smooth field from {low:.2f} to {high:.2f} (cosines up to order {scanner.order}, normal "
            f"weights) and gets a magnitude image's noise, standard deviation {scanner.noise:g}; seed {scanner.seed}.",
            _CUTS if pixel_mm == 1 else f"Of each slice every {pixel_mm}th pixel is taken in both directions.",
        ],
        inputs=[Field(name="image", kind="image", columns=["image"], options={"modality": "MR"})],
        targets=[Field(name="tissue", kind="mask", columns=["label"], options={"classes": _CLASSES})],
    )  # fmt: skip


def _brain_content(out: Path, progress: Progress) -> Content:
    """The model's part of the report, with the mask that was written for one noisy test slice."""
    ids = _test_ids(out / "brain")
    given = out / "data" / "brain" / f"{ids[len(ids) // 2]}.nii.gz"
    written = verbs.predict(out / "brain", [given], out / "predicted" / "brain", progress=progress)
    entry = catalog.load("mni152")
    told = {
        "set": entry.title, "origin": entry.origin, "licence": entry.licence, "licence_note": entry.licence_note,
        "citation": entry.citation, "predicted_from_a_file": _told(out, given, written),
    }  # fmt: skip
    content = pictures.content_of(out / "brain", smoke=True)
    return dataclasses.replace(content, data=content.data | told)


def _breast_content(out: Path, progress: Progress) -> Content:
    """The model's part of the report, with the answers to a table of test cases whose diagnosis was taken out."""
    table = catalog.cases("breast-cancer-wisconsin").set_index("id", drop=False)
    given = out / "data" / "breast_cancer" / "new.csv"
    with write_aside(given) as aside:
        ids = _test_ids(out / "breast_cancer")[:_TABLE_CASES]
        table.loc[ids].drop(columns="diagnosis").to_csv(aside, index=False)
    written = verbs.predict(out / "breast_cancer", [given], out / "predicted" / "breast_cancer", progress=progress)
    content = pictures.content_of(out / "breast_cancer", smoke=True)
    return dataclasses.replace(content, data=content.data | {"predicted_from_a_table": _told(out, given, written)})


def _ecg_content(out: Path) -> Content:
    """The model's part of the report, with what it said of the test windows row by row."""
    live, apart = demonstration_ecg.live(out / "ecg_lead", out / "data" / "ecg_lead")
    path = out / "predicted" / "ecg_lead" / "live.csv"
    with write_aside(path) as aside:
        live.to_csv(aside, index=False)
    chances = live.filter(like="p(chest)")
    right = {name: ((own > 0.5) == (live["truth"] == "chest")).mean() for name, own in chances.items()}
    some = [*chances][4 :: len([*chances]) // 5]
    told = ", ".join(f"{100 * right[name]:.0f} % after {name.split('after ')[1]}" for name in some)
    content = pictures.content_of(out / "ecg_lead", smoke=True)
    said = (
        f"{path.relative_to(out).as_posix()}: {len(live)} test windows, a row every "
        f"{1000 / demonstration_ecg.THINNED:.0f} ms; called rightly {told}; the last answer is that of the whole "
        f"window within {apart:.0e}"
    )
    return dataclasses.replace(content, data=content.data | {"fed_row_by_row": said})


def _test_ids(folder: Path) -> list[str]:
    split = pd.read_csv(folder / bundle.PRIVATE / "split.csv", dtype=str)
    return [str(own) for own in split.loc[split["part"] == "test", "id"]]


def _told(out: Path, given: Path, written: list[verbs.Written]) -> str:
    """What was read, and for each case what was answered and where it was written."""
    lines = []
    for one in written:
        answer = one.answer.value if one.answer is not None and isinstance(one.answer.value, str) else ""
        where = ", ".join(path.relative_to(out).as_posix() for path in one.paths)
        lines.append(f"{one.id}: " + (one.refused or " in ".join(filter(None, (answer, where)))))
    return f"{given.relative_to(out).as_posix()} gave " + "; ".join(lines)
