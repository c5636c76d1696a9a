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

from galenic.catalog.entry import HERE, Entry, read_entry, set_digest

SMALL_SET = 1000  # files; a larger set has its digest over all files only
LISTED_SPLITS = {
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
    parts = [(Path(case).stem, part) for part in ("train", "test") for case in source["split"][part]]
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


def wanted(cache: Path) -> dict[Path, bytes]:
    """Every file this script owns, with its content."""
    content = {
        HERE / "splits" / "chase-db1.csv": retina_split(),
        HERE / "splits" / "isbi2012-em.csv": membrane_split(),
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
        if entry.name == "msd-hippocampus":
            content[HERE / "splits" / "hippocampus.csv"] = hippocampus_split(files)
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
