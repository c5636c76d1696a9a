"""The door: options, where a field lies, and a picture of a case."""

import pandas as pd
import pytest

from galenic.core import registry
from galenic.core.cases import open_cases, read_table
from galenic.core.contract import Field
from galenic.core.errors import InputError, MissingFile, TaskError, UnsupportedFile
from galenic.core.task import Task
from galenic.series.kinds import SERIES
from galenic.sources import find, to_predict


def checked(columns=("record",), **options):
    return SERIES.check(Field(name="stay", kind="series", columns=list(columns), options=options))


@pytest.mark.parametrize(
    ("columns", "options", "waveform", "in_files"),
    [
        (["record"], {}, None, True),
        (["record"], {"waveform": False}, False, True),
        (["record"], {"rate_hz": 300}, True, True),
        (["record"], {"rate_hz": 1, "waveform": False}, False, True),
        (["x_*"], {}, True, False),
        (["a", "b"], {}, True, False),
        (["record", "at"], {"window": [1, 2]}, True, True),
        (["id"], {"table": "t.csv", "key": "id"}, False, False),
        (["id", "start"], {"table": "t.csv", "key": "id", "time": "when"}, False, False),
    ],
)
def test_a_field_says_what_it_is_and_checking_twice_changes_nothing(columns, options, waveform, in_files):
    field = checked(columns, **options)
    assert field.options.get("waveform") is waveform
    assert SERIES.check(field) == field
    assert registry.in_files(field) is in_files


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ([], {}, "no column"),
        (["record"], {"colour": 1}, "colour"),
        (["record"], {"variables": "HR"}, "variables"),
        (["record"], {"variables": ["HR", "HR"]}, "variables"),
        (["record"], {"static": [1]}, "static"),
        (["record"], {"missing": -1}, "missing"),
        (["record"], {"missing": [True]}, "missing"),
        (["record"], {"until_hours": 0}, "until_hours"),
        (["record"], {"until_hours": "48"}, "until_hours"),
        (["record"], {"rate_hz": -2}, "rate_hz"),
        (["record"], {"waveform": "yes"}, "waveform"),
        (["record"], {"units": ["mg"]}, "units"),
        (["record"], {"time_unit": "weeks"}, "time_unit"),
        (["record"], {"time": ""}, "time"),
        (["record"], {"key": "id"}, "together"),
        (["record"], {"files": "stays/1.csv"}, "files"),
        (["record"], {"files": "{}.csv", "key": "id", "table": "t.csv"}, "files"),
        (["record"], {"window": [1, 1]}, "two columns"),
        (["record", "at"], {"window": [1]}, "window"),
        (["record", "at"], {"window": [1, -2]}, "window"),
        (["a", "b", "c"], {"table": "t.csv", "key": "id"}, "columns"),
    ],
)
def test_wrong_options_are_told(columns, options, words):
    with pytest.raises(TaskError, match=words):
        checked(columns, **options)


def test_files_say_what_they_hold(tmp_path):
    for name in ("a.hea", "b.edf", "c.csv", "d.json"):
        (tmp_path / name).touch()

    def completed(*cells, **options):
        return SERIES.complete(checked(**options), pd.DataFrame({"record": cells}), tmp_path)

    assert completed("a", "b.edf", "x.BDF", "y.dcm", None).options["waveform"] is True
    assert completed("c.csv", "d.json").options["waveform"] is False
    assert completed("a.hea", waveform=False).options["waveform"] is False
    assert completed("c.csv", rate_hz=5).options["waveform"] is True
    with pytest.raises(TaskError, match="waveforms as well as histories"):
        completed("a", "c.csv")


def test_names_alone_become_the_paths_of_files(tmp_path):
    (tmp_path / "stays").mkdir()
    for name in ("007", "101"):
        (tmp_path / "stays" / f"{name}.csv").write_text("time,pulse\n0,80\n")
    (tmp_path / "answers.csv").write_text("id,ill\n007,yes\n101,no\n")
    field = Field(name="stay", kind="series", columns=["id"], options={"files": "stays/{}.csv"})
    target = Field(name="ill", kind="category", columns=["ill"])
    table = read_table(tmp_path / "answers.csv")
    task = registry.completed(registry.checked(Task(name="t", inputs=[field], targets=[target])), table, tmp_path)
    assert task.inputs[0].options["waveform"] is False
    cases = open_cases(table, tmp_path, task)
    assert cases.ids == ["007", "101"]
    assert cases.values(0)["stay"].values.tolist() == [[80.0]]
    asked = to_predict(task, [tmp_path / "stays" / "101.csv", tmp_path / "stays" / "007.csv"])  # paths stay paths
    assert asked.values(0)["stay"].variables == ("pulse",)
    with pytest.raises(InputError, match=r"answers\.csv is that table"):
        find(tmp_path)
    with pytest.raises(MissingFile, match="option `files`"):
        open_cases(table, tmp_path, registry.checked(Task(
            name="t", inputs=[Field(name="stay", kind="series", columns=["id"])], targets=[target])))  # fmt: skip


def test_it_is_no_target_and_ties_nothing_together():
    with pytest.raises(TaskError, match="kind of the target"):
        registry.target(Field(name="stay", kind="series", columns=["record"], target=True))
    assert SERIES.group(None) is None


def test_a_folder_to_predict_is_its_files(tmp_path):
    for name in ("b.csv", "a.hea", "a.dat", "c.json", "x.png"):
        (tmp_path / name).touch()
    assert [path.name for path in SERIES.expand(tmp_path)] == ["a.hea", "b.csv", "c.json"]
    assert SERIES.expand(tmp_path / "b.csv") == [tmp_path / "b.csv"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsupportedFile, match="no file of a series"):
        SERIES.expand(tmp_path / "empty")


def test_which_network_learns_what():
    def task(*inputs):
        target = Field(name="ill", kind="category", columns=["ill"])
        return registry.checked(Task(name="t", inputs=list(inputs), targets=[target]))

    history = Field(name="stay", kind="series", columns=["record"])
    wave = Field(name="ecg", kind="series", columns=["x_*"])
    labs = Field(name="labs", kind="number", columns=["lab_*"])
    image = Field(name="image", kind="image", columns=["image"])
    assert registry.choose_network(task(history), None)[0] == "gru"
    assert registry.choose_network(task(history, labs), None)[0] == "gru"
    assert registry.choose_network(task(labs, wave), None)[0] == "resnet1d"
    assert registry.network("lstm").fits(task(wave)) == "it reads histories, which ecg is not"
    assert registry.network("resnet1d").fits(task(history)) == "it reads waveforms, which stay is not"
    assert "both" in registry.network("tcn").fits(task(history, wave))
    assert "image" in registry.network("gru").fits(task(history, image))
    assert registry.network("gru").fits(task(labs)) == "no input is a series"


def test_a_picture_is_an_svg_and_the_same_again(histories, waves):
    for series in (histories[0], waves[0]):
        svg = SERIES.show(series)
        assert svg.startswith("<svg")
        assert series.variables[0] in svg
        assert svg == SERIES.show(series)


def test_opening_needs_no_more_than_the_table(tmp_path):
    source = SERIES.open(checked(["x_*"]), pd.DataFrame({"x_0": [1.0], "x_1": [2.0]}), tmp_path)
    assert source.read(0).rate_hz == 1
