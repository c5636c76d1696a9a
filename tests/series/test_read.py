"""Series from every place they may lie in, and what a wrong one gets told."""

import json

import numpy as np
import pandas as pd
import pytest

from galenic.core.contract import Field
from galenic.core.errors import MissingFile, TableError, UnreadableFile, UnsupportedFile, ValueProblem
from galenic.series.kinds import SERIES
from galenic.series.read import read_file

ICU = (
    "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Weight,-1\n00:30,HR,80\n01:00,HR,90\n01:00,Temp,37.1\n49:00,HR,200\n"
)


def opened(folder, cells, columns=("record",), **options):
    """(field, source) on a table of these columns."""
    field = SERIES.check(Field(name="stay", kind="series", columns=list(columns), options=options))
    return SERIES.open(field, pd.DataFrame(cells), folder)


def opened_one(folder, name, **options):
    return opened(folder, {"record": [name]}, **options).read(0)


class TestFiles:
    def test_one_of_the_challenge(self, tmp_path):
        (tmp_path / "7.txt").write_text(ICU)
        series = opened_one(
            tmp_path, "7.txt", static=["RecordID"], missing=[-1], until_hours=48, units={"HR": "/min"}
        )  # fmt: skip
        assert series.variables == ("HR", "Temp")
        assert series.units == ("/min", "")
        assert series.times_hours.tolist() == [0.5, 1.0]
        np.testing.assert_array_equal(series.values, [[80, np.nan], [90, 37.1]])
        assert series.source == tmp_path / "7.txt"

    def test_later_values_change_nothing(self, tmp_path):
        """The canary: a file cut at the hour, and one with whatever after it, are one and the same."""
        rest = "\n".join(f"{48 + at}:01,{name},{value}" for at, (name, value) in enumerate([("HR", 9), ("pH", 1)]))
        (tmp_path / "cut.txt").write_text(ICU.replace("49:00,HR,200\n", ""))
        (tmp_path / "whole.txt").write_text(ICU + rest + "\n")
        cut, whole = (opened_one(tmp_path, f"{name}.txt", until_hours=48) for name in ("cut", "whole"))
        np.testing.assert_array_equal(cut.values, whole.values)
        assert (cut.variables, cut.units, cut.notes) == (whole.variables, whole.units, whole.notes)
        assert cut.times_hours.tolist() == whole.times_hours.tolist()

    def test_wide_with_text_and_tabs(self, tmp_path):
        (tmp_path / "w.tsv").write_text("Minutes\tpulse\tnurse\n30\t80\tAda\n90\t\tBo\n")
        series = opened_one(tmp_path, "w.tsv")
        assert series.variables == ("pulse",)
        assert series.times_hours.tolist() == [0.5, 1.5]
        assert "nurse" in series.notes[0]

    def test_named_columns(self, tmp_path):
        (tmp_path / "n.csv").write_text(
            "when,what,much,in\n2024-05-01T10:00,Na,140,mmol/L\n2024-05-01T12:00,K,4,mmol/L\n"
        )
        series = opened_one(tmp_path, "n.csv", time="when", variable="what", value="much", unit="in")
        assert series.times_hours.tolist() == [0, 2]
        assert dict(zip(series.variables, series.units, strict=True)) == {"K": "mmol/L", "Na": "mmol/L"}

    def test_codes_over_visits_are_events_that_count_one(self, tmp_path):
        """As MIMIC's diagnoses_icd has them: a row a code of an admission, and no value."""
        text = "subject_id,admittime,icd_code\n7,2140-01-01,I50\n7,2140-01-01,N17\n8,2140-01-01,I10\n7,2140-01-11,I50\n"
        (tmp_path / "codes.csv").write_text(text)
        source = opened(
            tmp_path, {"record": ["7", "8"]}, table="codes.csv", key="subject_id", time="admittime", variable="icd_code"
        )
        series = source.read(0)
        assert series.variables == ("I50", "N17")
        assert series.times_hours.tolist() == [0, 240]
        np.testing.assert_array_equal(series.values, [[1, 1], [1, np.nan]])

    def test_parquet(self, tmp_path):
        pd.DataFrame({"hours": [0.0, 1.0], "pulse": [70.0, 80.0]}).to_parquet(tmp_path / "p.parquet")
        assert opened_one(tmp_path, "p.parquet").values[:, 0].tolist() == [70, 80]

    def test_fhir_with_an_invalid_resource(self, tmp_path):
        good = {
            "resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "8867-4"}]},
            "effectiveDateTime": "2024-05-01T10:00:00Z", "valueQuantity": {"value": 80, "unit": "/min"},
        }  # fmt: skip
        later = {
            **good,
            "effectiveDateTime": "2024-05-01T13:00:00+01:00",
            "valueQuantity": {"value": 90, "unit": "/min"},
        }
        bad = {**good, "effectiveDateTime": "soon"}
        entries = [{"resource": own} for own in (later, bad, good)]
        (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entries}))
        series = opened_one(tmp_path, "b.json")
        assert series.times_hours.tolist() == [0, 2]
        assert series.values[:, 0].tolist() == [80, 90]
        assert (series.variables, series.units) == (("8867-4",), ("/min",))
        assert series.notes[0].startswith("Bundle.entry[1]")

    def test_a_record(self, tmp_path, write_record):
        wave = np.sin(np.arange(400) / 7)
        write_record(tmp_path, "r", 100, {"I": wave, "II": 2 * wave})
        series = opened_one(tmp_path, "r.hea", rate_hz=100, variables=["II"], until_hours=1 / 3600)
        assert series.variables == ("II",)
        assert series.rate_hz == 100
        assert len(series.values) == 101
        np.testing.assert_allclose(series.values[:, 0], 2 * wave[:101], atol=1e-3)

    def test_a_waveform_with_and_without_times(self, tmp_path):
        (tmp_path / "t.csv").write_text("seconds,I\n" + "".join(f"{at / 250:.4f},{at % 7}\n" for at in range(50)))
        timed = opened_one(tmp_path, "t.csv", waveform=True)
        assert timed.rate_hz == pytest.approx(250)
        (tmp_path / "s.csv").write_text("I\n" + "".join(f"{at % 7}\n" for at in range(50)))
        plain = opened_one(tmp_path, "s.csv", rate_hz=250, units={"I": "mV"})
        assert (plain.rate_hz, plain.units) == (250, ("mV",))
        np.testing.assert_array_equal(timed.values, plain.values)
        (tmp_path / "u.csv").write_text("seconds,I\n0,1\n1,2\n5,3\n")
        with pytest.raises(TableError, match="evenly"):
            opened_one(tmp_path, "u.csv", waveform=True)

    def test_nothing_measured_is_none(self, tmp_path):
        (tmp_path / "e.txt").write_text("Time,Parameter,Value\n00:00,Age,50\n")
        assert opened_one(tmp_path, "e.txt", static=["Age"]) is None
        (tmp_path / "h.txt").write_text("Time,Parameter,Value\n")
        assert opened_one(tmp_path, "h.txt") is None
        assert opened(tmp_path, {"record": [None]}).read(0) is None

    @pytest.mark.parametrize(
        ("name", "text", "error"),
        [
            ("x.csv", "a,b\n1,2\n", TableError),
            ("x.csv", "", UnreadableFile),
            ("x.csv", "time,pulse\n1,fast\n2,80\n", TableError),
            ("x.csv", "time,pulse\nnever,80\n", TableError),
            ("x.json", "{", UnreadableFile),
            ("x.json", "[]", UnsupportedFile),
            ("x.bin", "?", UnsupportedFile),
            ("x.csv", "time,pulse\n1,2,3,4\n1,2\n1,2,3\n", UnreadableFile),
        ],
    )
    def test_wrong_files_are_told(self, tmp_path, name, text, error):
        (tmp_path / name).write_text(text)
        with pytest.raises(error):
            opened_one(tmp_path, name)

    def test_missing_files_are_all_named_at_once(self, tmp_path):
        with pytest.raises(MissingFile, match=r"2 file\(s\).*row 1.*row 2"):
            opened(tmp_path, {"record": ["a.csv", "b.csv"]})

    def test_a_channel_that_is_not_there(self, tmp_path, write_record):
        write_record(tmp_path, "r", 100, {"I": np.sin(np.arange(50.0))})
        with pytest.raises(ValueProblem, match="no channel V9"):
            opened_one(tmp_path, "r.hea", rate_hz=100, variables=["V9"])


class TestWindows:
    @pytest.fixture
    def ramp(self, tmp_path, write_record):
        write_record(tmp_path, "r", 100, {"I": np.arange(1000.0) / 1000})
        return tmp_path

    def test_about_each_moment(self, ramp):
        cells = {"record": ["r.hea", "r.hea", "r", None], "at": [5.0, 0.1, 9.95, 1.0]}
        source = opened(ramp, cells, ("record", "at"), window=[0.2, 0.3])
        middle, first, last = (source.read(row) for row in range(3))
        assert source.read(3) is None
        assert middle.rate_hz == 100
        np.testing.assert_allclose(middle.values[:, 0], np.arange(480, 530) / 1000, atol=1e-3)
        assert np.isnan(first.values[:10]).all()
        assert np.isfinite(first.values[10:]).all()
        assert np.isfinite(last.values[:25]).all()
        assert np.isnan(last.values[25:]).all()

    def test_beyond_the_record(self, ramp):
        source = opened(ramp, {"record": ["r"], "at": [50.0]}, ("record", "at"), window=[0.2, 0.3])
        with pytest.raises(TableError, match=r"no sample at 50 s"):
            source.read(0)


class TestInline:
    def test_a_row_is_a_waveform(self, tmp_path):
        cells = {"id": [1, 2, 3], "x_0": [1.0, 4.0, None], "x_1": [2.0, -9.0, None], "x_2": [3.0, None, None]}
        source = opened(tmp_path, cells, ("x_*",), missing=[-9], rate_hz=50, units={"stay": "mV"})
        one, two = source.read(0), source.read(1)
        assert one.values[:, 0].tolist() == [1, 2, 3]
        assert (one.variables, one.units, one.rate_hz) == (("stay",), ("mV",), 50)
        assert two.values[:, 0].tolist() == [4]
        assert source.read(2) is None

    def test_a_cell_of_text_is_named(self, tmp_path):
        with pytest.raises(TableError, match=r"row 2.*'\?'"):
            opened(tmp_path, {"x_0": [1, 2], "x_1": ["1", "?"]}, ("x_*",))


class TestSideTables:
    def test_long_by_key_with_dates_and_starts(self, tmp_path):
        (tmp_path / "labs.csv").write_text(
            "stay,charttime,item,valuenum,valueuom\n"
            "11,2024-01-01T10:00,K,4.0,mmol/L\n12,2024-01-01T09:00,K,5.0,mmol/L\n11,2024-01-01T12:00,Na,140,mmol/L\n"
        )
        cells = {"stay": [11, 12, 13], "start": ["2024-01-01T09:00", "2024-01-01T10:00", "2024-01-01T10:00"]}
        counted = opened(tmp_path, cells, ("stay",), table="labs.csv", key="stay")
        assert counted.read(0).times_hours.tolist() == [0, 2]
        assert counted.read(0).units == ("mmol/L", "mmol/L")
        assert counted.read(2) is None
        started = opened(tmp_path, cells, ("stay", "start"), table="labs.csv", key="stay", until_hours=1)
        assert started.read(0).times_hours.tolist() == [1]
        assert started.read(1) is None  # all of it lies before the start

    def test_wide_by_key(self, tmp_path):
        (tmp_path / "vitals.csv").write_text("who,hours,pulse,rr\n007,1,80,\n007,0,70,12\n7,0,60,11\n")
        source = opened(tmp_path, {"id": ["007", "7"]}, ("id",), table="vitals.csv", key="who", time="hours")
        assert source.read(0).values.tolist()[0] == [70, 12]
        assert source.read(1).values.tolist() == [[60, 11]]

    @pytest.mark.parametrize(("key", "time", "words"), [("nobody", "hours", "nobody"), ("who", "never", "never")])
    def test_columns_that_are_not_there(self, tmp_path, key, time, words):
        (tmp_path / "vitals.csv").write_text("who,hours,pulse\n1,1,80\n")
        with pytest.raises(TableError, match=words):
            opened(tmp_path, {"id": ["1"]}, ("id",), table="vitals.csv", key=key, time=time)

    def test_a_table_that_is_not_there(self, tmp_path):
        with pytest.raises(MissingFile):
            opened(tmp_path, {"id": ["1"]}, ("id",), table="none.csv", key="who")


@pytest.mark.shared
def test_every_stay_of_the_challenge_is_cut_and_read(shared_data, make_field):
    """A sample of the real files: nothing after the cut, and rows by an independent count."""
    field = make_field(missing=[-1], static=["RecordID", "Age", "Gender", "Height", "ICUType"], until_hours=24)
    for path in sorted((shared_data / "challenge2012-set-a" / "set-a").glob("*.txt"))[::200]:
        series = read_file(path, field)
        raw = pd.read_csv(path)
        hours = [int(time[:2]) + int(time[3:]) / 60 for time in raw["Time"]]
        kept = raw[[hour <= 24 for hour in hours]]
        kept = kept[~kept["Parameter"].isin(["RecordID", "Age", "Gender", "Height", "ICUType"]) & (kept["Value"] != -1)]
        assert np.isfinite(series.values).sum() == len(kept.drop_duplicates(["Time", "Parameter"]))
        assert series.times_hours.max() <= 24
