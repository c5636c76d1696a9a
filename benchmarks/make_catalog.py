"""Write the catalogue's lists of files, split files and digests from the SOURCE.json of each set in a data cache.

    python benchmarks/make_catalog.py CACHE           write what changed
    python benchmarks/make_catalog.py CACHE --check   write nothing, exit 1 where something would change

CACHE holds a folder a set, each with a SOURCE.json that lists path, sha256, bytes and url of every file. What a set
is, its licence and its traps are written by hand in src/galenic/catalog/NAME.toml, with [files] and its sources;
count, bytes and digest there are filled in by this script. The writing is deterministic.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.catalog.entry import HERE, Entry, read_entry, set_digest
from galenic.catalog.tables import FUNCTIONS
from galenic.formats.index import read_mask

SMALL_SET = 1000  # files; a larger set has its digest over all files only
LISTED_SPLITS = {
    "bccd": "id",
    "cxr-lungs": "id",
    "dsb2018-nuclei": "id",
    "lidc-nodule-slices": "patient",
    "tcga-lgg-mri": "id",
}


def manifest(files: list[dict[str, Any]]) -> bytes:
    """The list of files as gzip without a time stamp: path, bytes and, for a small set, sha256."""
    columns = ["path", "bytes", *(["sha256"] if len(files) < SMALL_SET else [])]
    rows = [columns, *([str(file[column]) for column in columns] for file in sorted(files, key=lambda f: f["path"]))]
    text = "".join("\t".join(row) + "\n" for row in rows)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def with_facts(toml: str, files: list[dict[str, Any]]) -> str:
    """The TOML with count, bytes and digest of `files`."""
    facts = {
        "count": str(len(files)),
        "bytes": str(sum(file["bytes"] for file in files)),
        "digest": f'"{set_digest((file["path"], file["sha256"]) for file in files)}"',
    }
    for key, value in facts.items():
        toml, found = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", toml)
        if found != 1:
            raise SystemExit(f"expected one line `{key} = ...`, found {found}")
    return toml


def check_urls(entry: Entry, files: list[dict[str, Any]]) -> None:
    wrong = [file["url"] for file in files if entry.url(file["path"]) != file["url"]]
    if wrong:
        raise SystemExit(f"{entry.name}: the sources in the TOML do not lead to {wrong[0]} and {len(wrong) - 1} others")


def split_csv(key: str, parts: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{name},{part}\n" for name, part in [(key, "part"), *sorted(parts)]).encode()


def listed_split(name: str, source: dict[str, Any]) -> bytes:
    """The split that SOURCE.json lists, by patient or by case."""
    lists = {
        part: source["split"].get(key, []) for part, key in (("train", "train"), ("valid", "val"), ("test", "test"))
    }
    parts = [(Path(case).stem, part) for part, listed in lists.items() for case in listed]
    return split_csv(LISTED_SPLITS[name], parts)


def hippocampus_split(files: list[dict[str, Any]]) -> bytes:
    """208 / 52: the names sorted, shuffled by Python's generator from seed 0, the first 52 for the test."""
    ids = sorted({Path(file["path"]).name.removesuffix(".nii.gz") for file in files})
    order = list(ids)
    random.Random(0).shuffle(order)
    test = set(order[:52])
    return split_csv("id", [(name, "test" if name in test else "train") for name in ids])


def membrane_split() -> bytes:
    """Blocks of one specimen's 30 slices, the two slices between two blocks left out; the last six are the test."""
    blocks = {"train": range(18), "valid": range(20, 22), "test": range(24, 30)}
    return split_csv("id", [(f"slice-{k:02d}", part) for part, block in blocks.items() for k in block])


def retina_split() -> bytes:
    """The usual one: the first 20 pictures (ten children) train, the last 8 (four children) test."""
    return split_csv("patient", [(f"{child:02d}", "train" if child <= 10 else "test") for child in range(1, 15)])


def symptom_split(home: Path) -> bytes:
    """A fifth of each disease's texts or a little more to the test, by families of near-duplicates.

    Families are taken in the order of Python's generator from seed 0; one that would bring the test over three tenths
    of the disease's texts is left in train.
    """
    frame = FUNCTIONS["symptom_texts"](pd.DataFrame(), home)
    parts = dict.fromkeys(frame["family"], "train")
    for _, own in frame.groupby("disease"):
        sizes = own["family"].value_counts().sort_index()
        order = list(sizes.index)
        random.Random(0).shuffle(order)
        taken = 0
        for family in order:
            if taken < 0.2 * len(own) and taken + sizes[family] <= 0.3 * len(own):
                parts[family], taken = "test", taken + sizes[family]
    return split_csv("family", parts.items())


def icu_split(files: list[dict[str, Any]]) -> bytes:
    """3,200 / 800: the stays sorted, shuffled by Python's generator from seed 0, the first 800 for the test."""
    ids = sorted(Path(file["path"]).stem for file in files if file["path"].startswith("set-a/"))
    order = list(ids)
    random.Random(0).shuffle(order)
    test = set(order[:800])
    return split_csv("id", [(name, "test" if name in test else "train") for name in ids])


def beats_split() -> bytes:
    """By record, as de Chazal et al. 2004 divide them: DS1 to train, DS2 to test; of DS1 the one without S and F beats
    validates, as the others hold all that there is of these classes."""
    return split_csv("patient", [
        ("119", "valid"), ("208", "train"), ("209", "train"), ("200", "test"), ("213", "test"), ("232", "test"),
    ])  # fmt: skip


def nodule_areas(cache: Path) -> bytes:
    """A row a nodule: the slice on which it is largest, and its pixels there, marked by two raters or more.

    Of a nodule that no two raters marked alike, what one marked. Counted here, once, as opening thousands of pictures
    whenever the table is asked for would be slow.
    """
    rows = ["patient,nodule,slice,area_px"]
    for folder in sorted((cache / "lidc-nodule-slices" / "LIDC-IDRI-slices").glob("*/nodule-*"), key=_as_counted):
        areas: dict[int, tuple[int, int]] = {}
        for path in sorted((folder / "images").glob("slice-*.png")):
            masks = [read_mask(folder / f"mask-{rater}" / path.name, nonzero=True).array for rater in range(4)]
            votes = sum(mask.astype(int) for mask in masks)
            areas[int(path.stem.split("-")[1])] = (int((votes >= 2).sum()), int((votes >= 1).sum()))
        agreed = max(own for own, _ in areas.values()) > 0
        area = {number: own if agreed else one for number, (own, one) in areas.items()}
        best = min(area, key=lambda number: (-area[number], number))
        rows.append(f"{folder.parent.name},{folder.name.split('-')[1]},{best},{area[best]}")
    return ("\n".join(rows) + "\n").encode()


def _as_counted(folder: Path) -> tuple[str, int]:
    return folder.parent.name, int(folder.name.split("-")[1])


def wanted(cache: Path) -> dict[Path, bytes]:
    """Every file this script owns, with its content."""
    content = {
        HERE / "splits" / "chase-db1.csv": retina_split(),
        HERE / "splits" / "isbi2012-em.csv": membrane_split(),
        HERE / "splits" / "mitdb-subset.csv": beats_split(),
        HERE / "facts" / "lidc-nodules.csv": nodule_areas(cache),
    }
    for path in sorted(HERE.glob("*.toml")):
        entry = read_entry(path)
        if entry.files is None:
            continue
        source = json.loads((cache / (entry.files.folder or entry.name) / "SOURCE.json").read_text(encoding="utf-8"))
        files = [file for file in source["files"] if file["path"].startswith(entry.files.under)]
        check_urls(entry, files)
        content[path] = with_facts(path.read_text(encoding="utf-8"), files).encode()
        content[HERE / "files" / f"{entry.name}.tsv.gz"] = manifest(files)
        if entry.name in LISTED_SPLITS:
            content[HERE / "splits" / f"{entry.name}.csv"] = listed_split(entry.name, source)
        if entry.name == "challenge2012-set-a":
            content[HERE / "splits" / "challenge2012-set-a.csv"] = icu_split(files)
        if entry.name == "msd-hippocampus":
            content[HERE / "splits" / "hippocampus.csv"] = hippocampus_split(files)
        if entry.name == "symptom-disease":
            content[HERE / "splits" / "symptom-disease.csv"] = symptom_split(cache / entry.name)
    return content


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    changed = [
        (path, content)
        for path, content in wanted(given.cache).items()
        if not path.exists() or path.read_bytes() != content
    ]
    for path, content in changed:
        print(f"{'differs' if given.check else 'written'}: {path.relative_to(HERE)}")
        if not given.check:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    return int(given.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
