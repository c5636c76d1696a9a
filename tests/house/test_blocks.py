"""The shell and Python blocks of README, tutorials and how-tos run, on a few small files and for a few steps.

Commands run in this process through the shell's own parser, in a folder that is laid out as the pages expect. What is
changed of a command is its budget and its number of folds; what is not run stands in NOT_RUN with the reason.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import tomli_w
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from galenic.catalog import entry, table
from galenic.cli.door import app
from galenic.formats import nifti
from galenic.values import Geometry, Image, Mask

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md"] + [
    path.relative_to(ROOT).as_posix()
    for folder in ("tutorials", "how-to")
    for path in sorted((ROOT / "docs" / folder).glob("*.md"))
]
BUDGET = "3steps"
CASES, SHAPE = 10, (8, 16, 16)
NAMED_SERIES = "1.2.840.113619.2.55.3"

# The start of a command that is not run here, and why.
NOT_RUN = {
    "make demo": "tests/test_demonstration.py runs the demo, coarser",
    "make test": "this is that command",
    "make lint": ".ci/run runs it beside the tests",
    "make docs": ".ci/run runs it beside the tests",
    "pip install": "needs a package index; the tests run in what it leaves",
    "source ": "a shell's own way into the environment that the tests run in",
    "galenic data get challenge2012-set-a": "4,000 stays; tests/catalog opens the set where it is",
    "galenic train icu_mortality": "the same",
    "galenic train heart_disease": "tests/test_left_out.py trains once a hospital on a table of its own",
    "torchrun ": "two processes on one machine: tests/core/test_ranks.py",
}


def put_volumes(folder: Path, name: str, label: str) -> None:
    """CASES volumes, each a bright ball in noise whose halves are class 1 and 2; {} in the names is the number."""
    rng = np.random.default_rng(7)
    for at in range(1, CASES + 1):
        centre = np.array([4, *rng.uniform(6, 10, 2)])[:, None, None, None]
        ball = ((np.indices(SHAPE) - centre) ** 2).sum(0) < 12
        halves = np.where(np.indices(SHAPE)[2] < 8, 1, 2) * ball
        array = rng.normal(100, 15, SHAPE) + 60 * halves
        grid = Geometry.plain(3, 1.0)
        nifti.write_image(Image(array[np.newaxis].astype(np.float32), grid), folder / name.format(at))
        nifti.write_mask(Mask(halves.astype(np.uint8), grid), folder / label.format(at))


def put_series(folder: Path, uid: str) -> None:
    """A series of MR slices, 1 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for k in range(SHAPE[0]):
        slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        slice_.SeriesInstanceUID, slice_.Modality, slice_.InstanceNumber = uid, "MR", k + 1
        slice_.Rows, slice_.Columns, slice_.PixelSpacing = *SHAPE[1:], [1, 1]
        slice_.ImagePositionPatient = [0, 0, k]
        slice_.PixelData = rng.integers(0, 200, SHAPE[1:], np.int16).tobytes()
        slice_.save_as(folder / f"{uid[-4:]}-{k}.dcm")


def lay_out(home: Path) -> None:
    """The files that the pages name."""
    put_volumes(home, "scans/{:03d}.nii.gz", "masks/{:03d}.nii.gz")
    ids = [f"{at:03d}" for at in range(1, CASES + 1)]
    cases = pd.DataFrame({"id": ids, "patient": [f"p{own}" for own in ids], "site": ["north", "south"] * (CASES // 2),
                          "image": [f"scans/{own}.nii.gz" for own in ids],
                          "mask": [f"masks/{own}.nii.gz" for own in ids]})  # fmt: skip
    cases.to_csv(home / "cases.csv", index=False)
    shutil.copy(home / "scans" / "001.nii.gz", home / "scan.nii.gz")
    for folder in ("dicom/series7", "study/ct", "export"):
        put_series(home / folder, pydicom.uid.generate_uid())
    put_series(home / "export", NAMED_SERIES)
    raw = home / "Dataset004_Hippocampus"
    put_volumes(raw, "imagesTr/h_{:03d}_0000.nii.gz", "labelsTr/h_{:03d}.nii.gz")
    told = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "anterior": 1, "posterior": 2}}
    (raw / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    task = (ROOT / "src/galenic/tasks/hippocampus.toml").read_text(encoding="utf-8")
    own = task.replace('"label"]', '"mask"]').replace('name = "hippocampus"', 'name = "mine"')
    own = own.replace('data = "msd-hippocampus"', 'table = "cases.csv"').replace('split = "hippocampus.csv"\n', "")
    (home / "mine.toml").write_text(own, encoding="utf-8")
    lay_out_findings(home)


def lay_out_findings(home: Path) -> None:
    """The tables of `Your first diagnosis`: what decides is plain to see, and some cells are empty."""
    rng = np.random.default_rng(3)
    ids = [f"{at:03d}" for at in range(1, 61)]
    ill = rng.random(60) < 0.5
    frame = pd.DataFrame({"id": ids, "patient": [f"p{own}" for own in ids], "age": rng.integers(30, 80, 60),
                          "sex": rng.choice(["f", "m"], 60), "crp": rng.normal(5, 2, 60) + 20 * ill,
                          "disease": np.where(ill, "yes", "no")})  # fmt: skip
    frame.loc[::9, "crp"] = np.nan
    frame.to_csv(home / "findings.csv", index=False)
    frame[["id", "patient", "age"]].assign(died=frame["disease"]).to_csv(home / "stays.csv", index=False)
    hours = np.arange(0.5, 30, 2.5)
    rows = [(own, hour, name, round(rate + 30 * sick + rng.normal(0, 3), 1), unit)
            for own, sick in zip(ids, ill, strict=True) for hour in hours
            for name, rate, unit in (("heart rate", 70, "/min"), ("lactate", 40, "mg/dL"))]  # fmt: skip
    pd.DataFrame(rows, columns=["stay", "hours", "variable", "value", "unit"]).to_csv(home / "vitals.csv", index=False)
    words = [f"{'fever and cough' if sick else 'no fever but a rash'} since day {at % 7}, {side} side, at {at} hours"
             for at, (sick, side) in enumerate(zip(ill, rng.choice(["left", "right"], 60), strict=True))]  # fmt: skip
    pd.DataFrame({"id": ids, "text": words, "disease": frame["disease"]}).to_csv(home / "complaints.csv", index=False)
    scans = pd.read_csv(home / "cases.csv", dtype=str).drop(columns="mask")
    scans.assign(finding=["yes", "no", "no", "yes", "no"] * (CASES // 5)).to_csv(home / "scans.csv", index=False)


def lay_out_liver(home: Path) -> None:
    """The table of `Write a task`, whose columns are its own."""
    frame = pd.read_csv(home / "cases.csv", dtype=str)
    frame.rename(columns={"patient": "case_owner", "image": "ct", "mask": "organs"}).to_csv(
        home / "cases.csv", index=False
    )


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


def put_catalogue(home: Path, web: Path, base: str) -> None:
    """The two sets that the pages fetch, as the catalogue tells them but with a few small files of ours."""
    put_volumes(web / "msd-hippocampus", "imagesTr/hippocampus_{:03d}.nii.gz", "labelsTr/hippocampus_{:03d}.nii.gz")
    put_volumes(web / "lidc-nodule-slices", "{:03d}.nii.gz", "{:03d}_mask.nii.gz")
    (home / "files").mkdir(parents=True)
    (home / "splits").mkdir()
    for name in ("msd-hippocampus", "lidc-nodule-slices"):
        files = {path.relative_to(web / name).as_posix(): path.read_bytes()
                 for path in sorted((web / name).rglob("*")) if path.is_file()}  # fmt: skip
        sha = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
        lines = ["path\tbytes\tsha256\n", *(f"{path}\t{len(files[path])}\t{sha[path]}\n" for path in sorted(files))]
        (home / "files" / f"{name}.tsv.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
        told = entry.load(name).model_dump(mode="json", exclude_none=True)
        told["files"] = {"count": len(files), "bytes": sum(map(len, files.values())),
                         "digest": entry.set_digest(sha.items()), "sources": [{"base": f"{base}/{name}/"}]}  # fmt: skip
        told["table"] |= {"rows": CASES}
        (home / f"{name}.toml").write_text(tomli_w.dumps(told), encoding="utf-8")
    parts = [f"hippocampus_{at:03d},{'test' if at < 4 else 'train'}" for at in range(1, CASES + 1)]
    (home / "splits" / "hippocampus.csv").write_text("\n".join(["id,part", *parts]) + "\n", encoding="utf-8")


class Runs:
    """Runs blocks. A model that some page has trained by the same words is taken over, not trained once more."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.trained: dict[str, Path] = {}

    def command(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            os.environ[name] = value
            return
        assert words[0] == "galenic", f"neither run nor in NOT_RUN: {line}"
        for option, value in (("--budget", BUDGET), ("--folds", "2")):
            if option in words:
                words[words.index(option) + 1] = value
        if words[1] == "train":
            if not {"--budget", "--plan"} & set(words):
                words += ["--budget", BUDGET]
            at = words.index("-o")
            with self.once(shlex.join(words[:at] + words[at + 2 :]), Path(words[at + 1])) as needed:
                if needed:
                    invoke(line, words)
        else:
            invoke(line, words)

    @contextmanager
    def once(self, key: str, out: Path) -> Iterator[bool]:
        """Whether the training `key` into `out` is needed; if not, its model is there already."""
        needed = key not in self.trained or out.exists()
        if not needed:
            shutil.copytree(self.trained[key], out)
        yield needed
        if needed:
            self.trained[key] = shutil.copytree(out, self.home / "kept" / str(len(self.trained)))

    def python(self, block: str) -> None:
        """A block as a script of its own."""
        code = re.sub(r'budget="[^"]+"', f'budget="{BUDGET}"', block)
        call = re.search(r'galenic\.train\((.*), out="([^"]+)"\)', code)
        if call is None:
            exec(compile(code, "block", "exec"), {"__name__": "__main__"})
            return
        with self.once(call[1], Path(call[2])) as needed:
            if not needed:
                code = code.replace(call[0], f'galenic.load("{call[2]}")')
            exec(compile(code, "block", "exec"), {"__name__": "__main__"})

    def model(self, out: Path) -> None:
        """A model folder that a page takes as given."""
        self.command(f"galenic train hippocampus --budget 5m -o {out}")


def invoke(line: str, words: list[str]) -> None:
    done = CliRunner().invoke(app, words[1:], input="y\n")
    assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The layout, and a catalogue of small sets that a server on this machine holds."""
    home = tmp_path_factory.mktemp("blocks")
    lay_out(home / "layout")
    (home / "web").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(home / "web")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    put_catalogue(home / "catalogue", home / "web", f"http://127.0.0.1:{server.server_address[1]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry, "HERE", home / "catalogue")
        patch.setattr(table, "HERE", home / "catalogue")
        patch.setenv("GALENIC_DATA", str(home / "data"))
        entry.load.cache_clear()
        done = CliRunner().invoke(app, ["data", "get", "msd-hippocampus", "--yes"])
        assert done.exit_code == 0, done.output
        yield Runs(home)
    entry.load.cache_clear()
    server.shutdown()
    server.server_close()
    thread.join()


def blocks_of(page: str) -> list[tuple[str, str]]:
    """(language, text) of each block of a page."""
    return re.findall(
        r"```(bash|sh|console|python|toml)\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL
    )


def lines_of(block: str) -> list[str]:
    lines = [line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def is_left_out(line: str) -> bool:
    return any(line.startswith(start) for start in NOT_RUN)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)])
def test_the_blocks_of_a_page_run(page: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shutil.copytree(runs.home / "layout", tmp_path / "home")
    monkeypatch.chdir(home)
    monkeypatch.setenv("GALENIC_DATA", os.environ["GALENIC_DATA"])
    if page.endswith("write-a-task.md"):
        lay_out_liver(home)
    blocks, unmade = blocks_of(page), set()
    text = "\n".join(block for _, block in blocks)
    made = set(re.findall(r'(?:-o |out=")(runs/\w+)', text))
    for given in sorted(set(re.findall(r"runs/\w+", text)) - made):
        runs.model(Path(given))
    for language, block in blocks:
        if language == "python":
            runs.python(block)
        elif language == "toml":
            name = re.findall(r'^name = "(\w+)"', block, re.MULTILINE)[0]
            (home / f"{name}.toml").write_text(block, encoding="utf-8")
        else:
            for line in lines_of(block):
                if not is_left_out(line):
                    runs.command(line)
                elif " -o " in line:
                    unmade.add(line.split(" -o ")[1].split()[0])
    lacking = [path for path in re.findall(r"`((?:answers|runs)/[\w./]+)`", (ROOT / page).read_text(encoding="utf-8"))
               if not (home / path).exists() and path.split("/private")[0] not in unmade]  # fmt: skip
    assert lacking == [], "the page says that these come out"


def test_what_is_not_run_is_still_there() -> None:
    lines = [line for page in PAGES for language, block in blocks_of(page) if language not in ("python", "toml")
             for line in lines_of(block)]  # fmt: skip
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []
    assert sum(not is_left_out(line) for line in lines) > 15
