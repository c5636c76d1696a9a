"""The catalogue's TOMLs and lists of files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from galenic.catalog.entry import HERE, load, names, read_entry, set_digest
from galenic.core.errors import InputError, MissingFile, UnreadableFile

SHAS = st.text("0123456789abcdef", min_size=64, max_size=64)
LISTS = st.dictionaries(st.text("aAbé/ .-_0", min_size=1, max_size=8), SHAS, min_size=1, max_size=12)


def test_the_catalogue_names_the_imaging_sets():
    assert names() == sorted(names())
    assert set(names()) >= {"msd-hippocampus", "lidc-nodule-slices", "dsb2018-nuclei", "mni152"}


@pytest.mark.parametrize("name", names())
def test_each_entry_is_whole(name):
    entry = load(name)
    text = entry.licence_text()
    assert all(words in text for words in (entry.title, entry.licence, entry.origin, *entry.citation))
    assert entry.traps
    listed = entry.manifest()
    if entry.package:
        assert listed == ()
        assert entry.package.name in text
        return
    assert entry.files is not None
    assert [file.path for file in listed] == sorted({file.path for file in listed})
    assert all(file.bytes > 0 for file in listed)
    small = entry.files.count < 1000
    assert all(len(file.sha256) == (64 if small else 0) for file in listed)
    if small:
        assert set_digest((file.path, file.sha256) for file in listed) == entry.files.digest
    assert all(entry.url(file.path).startswith("https://") for file in listed)
    assert len({entry.url(file.path) for file in listed}) == len(listed)


def test_no_list_of_files_without_an_entry_and_none_with_a_time_stamp():
    for path in (HERE / "files").iterdir():
        assert path.name.removesuffix(".tsv.gz") in names()
        assert path.read_bytes()[4:8] == bytes(4)


def test_a_url_is_quoted_and_the_longest_source_wins():
    assert load("busi-ultrasound").url("benign/benign (15).png").endswith("/dataset/benign/benign%20%2815%29.png")
    assert load("lidc-nodule-slices").url("meta_info.csv").endswith("/meta_info.csv")
    assert "Pulmoseg" in load("lidc-nodule-slices").url("LIDC-IDRI-slices/x.png")
    assert load("msd-hippocampus").url("labelsTr/a.nii.gz").endswith("/TrainingSet/labels/a.nii.gz")
    with pytest.raises(UnreadableFile):
        load("msd-hippocampus").url("elsewhere/a.nii.gz")


def test_an_unknown_name_gets_the_near_one():
    with pytest.raises(InputError, match="did you mean msd-hippocampus") as caught:
        load("msd-hipocampus")
    assert "dsb2018-nuclei" in caught.value.allowed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "colour"),
        ({"licence": ""}, "licence"),
        ({"traps": "none"}, "traps"),
        ({"package": {"module": "x", "name": "x"}}, "exactly one"),
        ({"table": {"rows": 3}}, "cases"),
        ({"table": {"rows": 3, "cases": "("}}, "cases"),
        ({"files": {"count": "1", "bytes": 1, "digest": "0" * 64, "sources": []}}, "count"),
        ({"name": "other"}, "names itself"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path, change, words):
    toml = tomllib.loads((HERE / "chase-db1.toml").read_text()) | change
    (tmp_path / "chase-db1.toml").write_text(tomli_w.dumps(toml))
    with pytest.raises(InputError, match=words):
        read_entry(tmp_path / "chase-db1.toml")


def test_an_entry_that_is_no_toml_or_absent(tmp_path):
    (tmp_path / "x.toml").write_text("name = ")
    with pytest.raises(InputError, match="not valid"):
        read_entry(tmp_path / "x.toml")
    with pytest.raises(MissingFile):
        read_entry(tmp_path / "y.toml")


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good[:-20],
        lambda good: b"text",
        lambda good: gzip.compress(b"path\tbytes\tsha256\nx\n"),
        lambda good: gzip.compress(b"path\tbytes\tsha256\nx\ty\tz\n"),
        lambda good: gzip.compress(gzip.decompress(good).rpartition(b"\nImage")[0] + b"\n"),
    ],
)
def test_a_damaged_list_of_files_is_told(tmp_path, damage):
    shutil.copy(HERE / "chase-db1.toml", tmp_path)
    (tmp_path / "files").mkdir()
    path = Path(tmp_path / "files/chase-db1.tsv.gz")
    path.write_bytes(damage((HERE / "files/chase-db1.tsv.gz").read_bytes()))
    with pytest.raises(UnreadableFile, match="list of files"):
        read_entry(tmp_path / "chase-db1.toml").manifest()


@given(LISTS, st.randoms())
def test_the_set_digest_does_not_see_the_order(files, random):
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert set_digest(shuffled) == set_digest(files.items())


@given(LISTS, st.data())
def test_the_set_digest_sees_any_other_file_name_or_missing_file(files, data):
    whole = set_digest(files.items())
    path = data.draw(st.sampled_from(sorted(files)))
    sha = data.draw(SHAS.filter(lambda sha: sha != files[path]))
    assert set_digest({**files, path: sha}.items()) != whole
    rest = {other: sha for other, sha in files.items() if other != path}
    assert set_digest(rest.items()) != whole
    assert set_digest({**rest, path + "!": files[path]}.items()) != whole


def test_the_set_digest_is_that_of_sha256sum():
    lines = b"a" * 64 + b"  B\n" + b"b" * 64 + b"  a\n"
    assert set_digest([("a", "b" * 64), ("B", "a" * 64)]) == hashlib.sha256(lines).hexdigest()
