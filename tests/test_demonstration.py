"""The demo: its slices are made the same each time, defeat a threshold, and the whole leaves a report."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic import demonstration, sources
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Part, Prepared
from galenic.core.errors import InputError, MissingExtra
from galenic.core.task import Task
from galenic.demonstration import (
    MARK,
    Added,
    Scanner,
    Template,
    as_scanned,
    bias_field,
    clear,
    demo,
    draw_added,
    load_template,
    part_of,
    scanned_slice,
    write_slices,
)
from galenic.formats import nifti
from galenic.images.baselines import Threshold
from galenic.images.measure import dice
from galenic.images.prepare import normalise

FLAT = Added(np.zeros((3, 3)), 7)


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template()


@pytest.fixture(scope="module")
def written(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task file beside its slices."""
    return write_slices(tmp_path_factory.mktemp("brain"), template)


def test_the_template_is_a_brain_of_two_tissues(template: Template) -> None:
    """Volumes in ml of the average at these cuts; adults have about 1.1 and 0.6 litres at most."""
    grey, white = (float((template.tissue == value).sum()) / 1000 for value in (1, 2))
    assert 1000 < grey < 1150
    assert 570 < white < 690
    means = [template.t1[template.tissue == value].mean() for value in (0, 1, 2)]
    assert means == sorted(means)  # T1: white is brightest


def test_parts_lie_apart() -> None:
    parts = {height: part_of(height) for height in range(-5, 200)}
    named = [height for height, part in parts.items() if part]
    counts = {part: sum(own == part for own in parts.values()) for part in ("train", "valid", "test")}
    assert counts == {"train": 48, "valid": 6, "test": 18}
    for one in named:
        assert all(parts[one] == parts[other] for other in named if abs(one - other) <= 3)


def test_a_slice_is_drawn_by_its_own_seed_alone(template: Template) -> None:
    first, again, other = (scanned_slice(template, height, Scanner())[0].array for height in (70, 70, 71))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert (first != scanned_slice(template, 70, Scanner(seed=1))[0].array).mean() > 0.5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.floats(0.01, 1.0), order=st.integers(1, 4))
def test_the_field_is_bounded_and_smooth(seed: int, depth: float, order: int) -> None:
    scanner = Scanner(depth=depth, order=order)
    field = bias_field((96, 80), draw_added(np.random.default_rng(seed), scanner), depth)
    assert field.min() == pytest.approx(np.exp(-depth))
    assert field.max() == pytest.approx(np.exp(depth))
    steps = [np.abs(np.diff(np.log(field), axis=axis)).max() for axis in (0, 1)]
    assert max(steps) < 2 * depth * order * np.pi / 40  # no faster than its highest cosine allows, twice over


def test_the_noise_is_that_of_a_magnitude_image() -> None:
    """Without signal a Rayleigh distribution of mean noise * sqrt(pi / 2); with much of it nearly a Gaussian."""
    scanner = Scanner(depth=0.0)
    dark, bright = (as_scanned(np.full((200, 200), level), FLAT, scanner).astype(float) for level in (0.0, 200.0))
    assert dark.mean() == pytest.approx(scanner.noise * np.sqrt(np.pi / 2), rel=0.02)
    assert bright.std() == pytest.approx(scanner.noise, rel=0.02)
    assert bright.mean() == pytest.approx(200 + scanner.noise**2 / 400, rel=0.002)  # Gudbjartsson and Patz, eq. 2


def prepared(template: Template, scanner: Scanner, step: int = 1) -> dict[str, list[Prepared]]:
    """Every `step`th slice, values as they are."""
    cases: dict[str, list[Prepared]] = {"train": [], "test": [], "valid": []}
    for height in range(48, 144, step):
        if part := part_of(height):
            image, mask = scanned_slice(template, height, scanner)
            cases[part].append(Prepared({"image": image.array.astype(np.float32), "tissue": mask.array}))
    return cases


def standardised(cases: list[Prepared]) -> list[Prepared]:
    ways = {"way": "z-score"}
    return [Prepared({**own.arrays, "image": normalise(own.arrays["image"], ways)}) for own in cases]


def threshold_dice(task: Task, train: list[Prepared], test: list[Prepared]) -> list[float]:
    """Mean Dice over the test slices of grey and of white matter, of cuts fitted to the training slices."""
    learner = Threshold()
    learner.fit(Part([], train, []), task, {}, 0)
    labels = [learner.infer(case)["tissue"].argmax(0) for case in test]
    return [
        float(
            np.mean(
                [dice(own == value, case.arrays["tissue"] == value) for own, case in zip(labels, test, strict=True)]
            )
        )
        for value in (1, 2)
    ]


def test_two_cuts_reach_what_the_notes_say(template: Template, written: Path) -> None:
    task = registry.checked(sources.load_task(written))
    plain, made = (prepared(template, scanner) for scanner in (Scanner(depth=0.0, noise=0.0), Scanner()))
    given, here = (threshold_dice(task, cases["train"], cases["test"]) for cases in (plain, made))
    stated = "Dice {:.2f} (grey) and {:.2f} (white) on the test slices as given, and {:.2f} and {:.2f} as they are here"
    assert any(stated.format(*given, *here) in note for note in task.notes)


def test_two_cuts_fail_in_every_way_to_choose_them(template: Template, written: Path) -> None:
    """Standardised by slice as the baseline gets them, and even with the best cuts of each slice by its own truth."""
    task = registry.checked(sources.load_task(written))
    cases = prepared(template, Scanner(), step=3)
    assert max(threshold_dice(task, standardised(cases["train"]), standardised(cases["test"]))) < 0.65
    each = np.mean([threshold_dice(task, [case], [case]) for case in cases["test"]], axis=0)
    assert each[0] < 0.82
    assert each[1] < 0.72


def test_the_files_come_through_the_readers(template: Template, written: Path) -> None:
    found = sources.find(written)
    assert found.task.within_one_subject
    assert len(found.table) == 72
    cases = open_cases(found.table, found.root, registry.checked(found.task))
    row = cases.ids.index("slice-078")
    values = cases.values(row)
    image, mask = scanned_slice(template, 78, Scanner())
    np.testing.assert_array_equal(values["image"].array, image.array)
    np.testing.assert_array_equal(values["tissue"].array, mask.array)
    assert values["image"].geometry.close_to(values["tissue"].geometry)


def test_a_slice_keeps_its_place_in_the_head(template: Template, written: Path) -> None:
    """Read from the file, each pixel lies at the millimetres of the voxel that it was taken from."""
    mask = nifti.read_mask(written.parent / "slice-078_mask.nii.gz")
    place = mask.geometry.to_mm(np.array([[0, 0], [50, 60], [191, 159]]))
    back = np.linalg.solve(template.geometry.affine(), np.column_stack([place, np.ones(3)]).T)[:3].round().astype(int)
    assert (back[0] == 78).all()
    np.testing.assert_array_equal(template.tissue[tuple(back)], mask.array[[0, 50, 191], [0, 60, 159]])
    assert mask.geometry.direction[:, 0] == pytest.approx([0, 1, 0])  # rows run to the back
    assert mask.geometry.direction[:, 1] == pytest.approx([1, 0, 0])  # columns run to the body's left


def test_coarse_pixels_are_some_of_the_fine_ones(template: Template) -> None:
    fine, coarse = (scanned_slice(template, 78, Scanner(), pixel_mm)[1] for pixel_mm in (1, 4))
    np.testing.assert_array_equal(coarse.array, fine.array[::4, ::4])
    ones, others = np.array([[1, 0], [0, 1], [47, 39]]), np.array([[4, 0], [0, 4], [188, 156]])
    np.testing.assert_allclose(coarse.geometry.to_mm(ones), fine.geometry.to_mm(others))


def test_the_notes_state_what_was_added(written: Path) -> None:
    text = " ".join(sources.load_task(written).notes)
    for stated in ("from 0.67 to 1.49", "order 2", "deviation 10", "seed 152", "12 to train", "not a clinical claim"):
        assert stated in text


def test_without_nilearn_it_says_what_to_install_and_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(demonstration, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"galenic\[demo\]"):
        demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clear(out)
    (out / "brain").mkdir()
    (out / "brain" / "weights.safetensors").write_bytes(b"old")
    (out / "report.html").write_text("old")
    clear(out)
    assert [path.name for path in out.iterdir()] == [MARK]
    assert json.loads((out / MARK).read_text())["scanner"]["noise"] == 10


@pytest.mark.parametrize("text", ["{", "[]", '{"made by": "me"}'])
def test_another_file_of_the_marks_name_is_no_mark(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="not made by galenic demo"):
        clear(tmp_path)
    assert (tmp_path / "data").is_dir()


def test_what_is_not_a_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not made by galenic demo"):
        clear(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        clear(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_was_laid_beside_a_demo_is_left_alone(tmp_path: Path) -> None:
    clear(tmp_path)
    (tmp_path / "brain").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"and more: notes\.txt"):
        clear(tmp_path)
    assert (tmp_path / "brain").is_dir()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    kept.mkdir()
    (kept / "scan.nii").write_bytes(b"mine")
    clear(out)
    (out / "data").symlink_to(kept, target_is_directory=True)
    clear(out)
    assert not (out / "data").exists()
    assert (kept / "scan.nii").is_file()


def check_whole(out: Path, report: Path) -> dict[str, dict]:
    """What every run leaves, whatever its budget; the scores of the model and its baselines by name."""
    assert report == out / "report.html"
    html = report.read_text(encoding="utf-8")
    for text in (
        "Smoke demo", "within-one-subject", "Not a medical device", "intensity threshold", "mean mask",
        "logistic regression", "predicted/brain/slice-", "predicted/breast_cancer/", "data:image/svg+xml",
        "predicted/ecg_lead/live.csv", "the last answer is that of the whole",
    ):  # fmt: skip
        assert text in html
    masks = sorted((out / "predicted" / "brain").glob("*.nii.gz"))
    assert len(masks) == 1
    given = nifti.read_image(out / "data" / "brain" / masks[0].name)
    mask = nifti.read_mask(masks[0])
    assert mask.shape == given.shape
    assert mask.geometry.close_to(given.geometry)
    assert len(list((out / "predicted" / "breast_cancer").glob("*.csv"))) == 5
    assert "diagnosis" not in (out / "data" / "breast_cancer" / "new.csv").read_text().splitlines()[0]
    found = json.loads((out / "brain" / "metrics.json").read_text(encoding="utf-8"))
    assert found["cases"] == 18
    target = found["targets"]["tissue"]
    return {"model": target["scores"]} | {own["name"]: own["scores"] for own in target["baselines"]}


def test_the_whole_runs_with_few_steps_on_coarse_pixels(tmp_path: Path) -> None:
    report = demo(tmp_path / "out", brain_budget="12steps", table_budget="30steps", ecg_budget="30steps", pixel_mm=4)
    scores = check_whole(tmp_path / "out", report)
    assert scores["intensity threshold"]["dice"]["value"] < 0.65


@pytest.mark.slow
def test_the_whole_keeps_its_promise(tmp_path: Path) -> None:
    """Under three minutes on two free cores, the U-Net far above the threshold, and again into the same folder."""
    out = tmp_path / "out"
    began = time.monotonic()
    scores = check_whole(out, demo(out))
    assert time.monotonic() - began < 180
    assert scores["model"]["dice"]["low"] > scores["intensity threshold"]["dice"]["high"] + 0.2
    assert scores["model"]["dice"]["value"] > 0.85
    check_whole(out, demo(out, brain_budget="20s", table_budget="30steps", ecg_budget="30steps"))
