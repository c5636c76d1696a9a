from __future__ import annotations

import pandas
import pytest

from galenic.core.errors import MissingFile, TableError, ValueProblem
from galenic.formats.volumes_csv import read_volumes, write_volumes

ROWS = [("scan 1", "liver", 1 / 3), ("scan 1", 'lesion, "left"', 0.0), ("scän 2", "liver", 1520.0)]


def test_reads_back_equal_and_by_pandas(tmp_path):
    path = tmp_path / "out" / "volumes.csv"
    write_volumes(ROWS, path)
    assert path.read_text(encoding="utf-8").startswith("case,class,volume_ml\nscan 1,liver,0.3333333333333333\n")
    assert read_volumes(path) == ROWS
    table = pandas.read_csv(path)
    assert table[["case", "class"]].to_numpy().tolist() == [[case, name] for case, name, _ in ROWS]
    assert table["volume_ml"].tolist() == pytest.approx([volume for _, _, volume in ROWS], rel=1e-15)
    assert [file.name for file in path.parent.iterdir()] == ["volumes.csv"]


def test_no_case_gives_a_table_without_rows(tmp_path):
    write_volumes([], tmp_path / "v.csv")
    assert read_volumes(tmp_path / "v.csv") == []


@pytest.mark.parametrize("volume", [-0.1, float("nan"), float("inf")])
def test_impossible_volumes_are_refused_and_leave_nothing(tmp_path, volume):
    with pytest.raises(ValueProblem, match="in ml"):
        write_volumes([("a", "liver", 1.0), ("a", "lesion", volume)], tmp_path / "v.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_class_twice_in_a_case_is_refused(tmp_path):
    with pytest.raises(TableError, match="'liver' twice"):
        write_volumes([("a", "liver", 1.0), ("a", "liver", 2.0)], tmp_path / "v.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"case,volume\na,1\n",
        b"case,class,volume_ml\na,liver\n",
        b"case,class,volume_ml\na,liver,big\n",
        b"case,class,volume_ml\na,\xff,1\n",
        b'case,class,volume_ml\na,"liver,1\n',
    ],
)
def test_other_tables_are_refused(tmp_path, content):
    (tmp_path / "v.csv").write_bytes(content)
    with pytest.raises(TableError):
        read_volumes(tmp_path / "v.csv")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(MissingFile, match="nowhere"):
        read_volumes(tmp_path / "nowhere.csv")
