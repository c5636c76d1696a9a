"""Preparation against a slow second way, and each reason for a refusal."""

import numpy as np
import pytest
import torch

from galenic.core.contract import Field, Prepared
from galenic.series.kinds import SERIES
from galenic.series.prepare import CLOCK
from galenic.series.vary import Draw
from galenic.tables.kinds import CATEGORY
from galenic.values import Series


def prepared(field, series, settings):
    return CLOCK.prepare({field.name: series}, [field], settings)


def refused(field, series, settings):
    return prepared(field, series, settings).facts["clock"]["refuse"]


def slowly(series, settings):
    """[steps, 3 * variables] by loops over steps and variables."""
    own, steps, width = settings["series"]["stay"], settings["steps"], settings["step_hours"]
    count = len(own["variables"])
    array = np.zeros((steps, 3 * count))
    for at, name in enumerate(own["variables"]):
        column = series.variables.index(name)
        last = None
        for step in range(steps):
            inside = [
                value
                for time, value in zip(series.times_hours, series.values[:, column], strict=True)
                if step * width <= time < (step + 1) * width and not np.isnan(value)
            ]
            if inside:
                cut = [min(max(value, own["low"][at]), own["high"][at]) for value in inside]
                z = [((np.log(value) if own["log"][at] else value) - own["mean"][at]) / own["sd"][at] for value in cut]
                last = step
                array[step, at] = np.mean(z)
                array[step, count + at] = 1
            elif last is not None:
                array[step, at] = array[last, at]
            array[step, 2 * count + at] = (step if last is None else step - last) / steps
    return array


class TestHistories:
    def test_it_is_what_loops_say(self, settle, histories, make_field, make_history):
        field = make_field()
        settings = settle(field, histories)
        for series in (*histories[:4], make_history(77, hours=5.0, rows=6)):
            array = prepared(field, series, settings).arrays["stay"]
            assert array.dtype == np.float32
            assert array.shape == CLOCK.shape("stay", settings) == (settings["steps"], 6)
            np.testing.assert_allclose(array, slowly(series, settings), atol=1e-5)

    def test_a_sound_case_is_not_refused(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        facts = prepared(field, histories[0], settings).facts["clock"]
        assert facts == {"seen": 1, "of": 1, "refuse": [], "notes": []}

    def test_of_a_longer_history_the_end_is_looked_at(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        span = settings["steps"] * settings["step_hours"]
        values = np.array([[99.0, np.nan], [70.0, 100.0]])
        series = Series(np.array([0.1, span + 3.1]), values, ("pulse", "glucose"))
        ready = prepared(field, series, settings)
        assert "only the last" in ready.facts["clock"]["notes"][0]
        assert ready.arrays["stay"][:-1, 2:4].sum() == 0
        assert ready.arrays["stay"][-1, 2:4].tolist() == [1, 1]

    def test_the_last_moment_belongs_to_the_last_step(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        series = Series(np.array([settings["steps"] * settings["step_hours"]]), np.array([[80.0]]), ("pulse",))
        ready = prepared(field, series, settings)
        assert ready.arrays["stay"][-1, 3] == 1 or ready.arrays["stay"][-1, 2] == 1
        assert ready.facts["clock"]["notes"] == []

    def test_nothing_measured(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        for empty in (None, Series(np.array([1.0]), np.array([[np.nan]]), ("pulse",))):
            ready = prepared(field, empty, settings)
            assert ready.facts["clock"]["refuse"] == ["nothing of stay was measured"]
            assert ready.arrays["stay"].shape == CLOCK.shape("stay", settings)
            assert ready.arrays["stay"][:, :4].sum() == 0
            np.testing.assert_allclose(ready.arrays["stay"][-1, 4:], 1 - 1 / settings["steps"])

    def test_a_variable_never_seen_is_ignored_and_told(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        known = histories[0]
        more = Series(
            known.times_hours, np.column_stack([known.values, known.values[:, 0]]), (*known.variables, "new"),
            (*known.units, ""),
        )  # fmt: skip
        one, two = prepared(field, known, settings), prepared(field, more, settings)
        np.testing.assert_array_equal(one.arrays["stay"], two.arrays["stay"])
        assert "ignored: new" in two.facts["clock"]["notes"][0]
        only = Series(known.times_hours, known.values[:, :1], ("new",))
        assert "nothing that was learnt from" in refused(field, only, settings)[0]

    def test_another_unit_is_refused_and_its_values_unused(self, settle, histories, make_field, make_history):
        field = make_field()
        settings = settle(field, histories)
        wrong = make_history(0, units=("/min", "mmol/L"))
        ready = prepared(field, wrong, settings)
        assert ready.facts["clock"]["refuse"] == ["stay: glucose is given in mmol/L, learnt from in mg/dL"]
        assert ready.arrays["stay"][:, 2].sum() == 0 or ready.arrays["stay"][:, 3].sum() == 0
        same = make_history(0, units=("/MIN", "mg / dl"))
        assert refused(field, same, settings) == []
        assert refused(field, make_history(0, units=("", "")), settings) == []

    def test_a_unit_that_nobody_told_is_found_by_size(self, settle, make_history, make_field):
        """Glucose in mmol/L: 18 times smaller than every median among 120 training cases."""
        field = make_field()
        settings = settle(field, [make_history(number, units=("", "")) for number in range(120)])
        series = make_history(500, units=("", ""))
        assert refused(field, series, settings) == []
        values = series.values.copy()
        values[:, 1] /= 18
        (text,) = refused(field, Series(series.times_hours, values, series.variables), settings)
        assert text.startswith("stay: glucose is about")

    def test_one_measurement_is_enough_to_find_it(self, settle, make_history, make_field):
        field = make_field()
        settings = settle(field, [make_history(number, units=("", "")) for number in range(120)])
        for value, words in ((5.6, "glucose is about 5.6"), (102.0, ""), (-1.0, "glucose is about -1")):
            found = refused(field, Series(np.array([1.0]), np.array([[value]]), ("glucose",)), settings)
            assert words in found[0] if words else not found

    def test_one_impossible_value_among_sound_ones(self, settle, make_history, make_field):
        field = make_field()
        settings = settle(field, [make_history(number) for number in range(120)])
        series = make_history(500)
        for value in (-99999.0, -1.0, 900.0):
            values = series.values.copy()
            values[0, 0] = value
            (text,) = refused(field, Series(series.times_hours, values, series.variables, series.units), settings)
            assert text.startswith(f"stay: pulse is {value:g} once or more, in training ")
        values[0, 0] = settings["series"]["stay"]["greatest"][1] + 1  # a little beyond is no slip
        assert refused(field, Series(series.times_hours, values, series.variables, series.units), settings) == []

    def test_where_training_knew_zeros_and_less_the_width_is_the_room(self, settle, make_field):
        field = make_field()
        rng = np.random.default_rng(0)
        cases = [Series(np.array([1.0]), rng.normal(0, 3, (1, 1)), ("excess",)) for _ in range(600)]
        settings = settle(field, cases)
        for value, count in ((9.0, 0), (-9.0, 0), (60.0, 1), (-60.0, 1)):
            assert len(refused(field, Series(np.array([1.0]), np.array([[value]]), ("excess",)), settings)) == count

    def test_few_training_cases_refuse_nobody_by_size(self, settle, histories, make_field):
        field = make_field()
        settings = settle(field, histories)
        series = histories[0]
        assert refused(field, Series(series.times_hours, series.values / 18, series.variables), settings) == []


class TestWaveforms:
    def test_each_case_by_its_own_scale(self, settle, waves, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, waves)
        series = waves[0]
        louder = Series.waveform(series.values * 7 + 3, 100, series.variables, series.units)
        one, two = (prepared(field, own, settings).arrays["stay"] for own in (series, louder))
        assert one.shape == (200, 2)
        np.testing.assert_allclose(one, two, atol=1e-5)
        np.testing.assert_allclose(one.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(one.std(axis=0), 1, atol=1e-5)

    def test_order_of_channels_is_that_of_training(self, settle, waves, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, waves)
        turned = Series.waveform(waves[0].values[:, ::-1], 100, ("II", "I"), ("mV", "mV"))
        one, two = (prepared(field, own, settings).arrays["stay"] for own in (waves[0], turned))
        np.testing.assert_array_equal(one, two)

    def test_padding_is_told_and_the_middle_kept(self, settle, make_wave, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, [make_wave(at, samples=150 + 25 * at) for at in range(6)])
        own = settings["series"]["stay"]
        short, long = (prepared(field, make_wave(9, samples=n), settings).arrays["stay"] for n in (100, 900))
        assert own["padded"]
        assert short.shape == long.shape == (own["samples"], 3)
        assert short[:, 2].sum() == 100
        assert not short[100:].any()
        assert long[:, 2].all()

    def test_another_rate_is_brought_to_the_plans(self, settle, make_wave, make_field):
        field = make_field(waveform=True)
        rates = (100, 100, 100, 80, 400)
        settings = settle(field, [make_wave(at, samples=2 * rate, rate_hz=rate) for at, rate in enumerate(rates)])
        assert settings["series"]["stay"]["rate_hz"] == 100
        fine, coarse = (prepared(field, make_wave(3, samples=2 * rate, rate_hz=rate), settings) for rate in (400, 80))
        usual = prepared(field, make_wave(3), settings)
        for ready in (fine, coarse):
            assert ready.facts["clock"]["refuse"] == []
            agreement = np.corrcoef(ready.arrays["stay"][:, 0], usual.arrays["stay"][:, 0])[0, 1]
            assert agreement > 0.95

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda v: (v, 30.0), "sampled at 30 Hz"),
            (lambda v: (np.where(np.arange(200)[:, None] > 5, 0.0, v), 100.0), "flat"),
            (lambda v: (np.clip(v, -0.4, 0.4), 100.0), "saturated"),
            (lambda v: (v[:, :1], 100.0), "lacks the channel II"),
            (lambda v: (np.full_like(v, np.nan), 100.0), "nothing of stay was measured"),
        ],
    )
    def test_what_can_not_be_judged(self, settle, waves, make_field, change, words):
        field = make_field(waveform=True)
        settings = settle(field, waves)
        values, rate = change(waves[0].values.copy())
        names = ("I", "II")[: values.shape[1]]
        found = refused(field, Series.waveform(values, rate, names, ("mV",) * len(names)), settings)
        assert any(words in text for text in found), found

    def test_where_the_task_names_the_rate_no_other_will_do(self, settle, waves, make_wave, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, waves)
        assert "100 Hz is asked for" in refused(field, make_wave(3, samples=400, rate_hz=200), settings)[0]

    def test_where_nobody_names_it_the_rates_of_training_will_do(self, settle, waves, make_wave, make_field):
        field = make_field(waveform=True)
        settings = settle(field, [*waves, *waves, *waves, make_wave(9, samples=1000, rate_hz=500)])
        for rate in (50, 200, 500):
            found = refused(field, make_wave(3, samples=2 * rate, rate_hz=rate), settings)
            assert found == [f"stay: it is sampled at {rate} Hz, and 100 Hz were learnt from"]

    def test_a_history_is_no_waveform(self, settle, waves, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, waves)
        history = Series(waves[0].times_hours, waves[0].values, waves[0].variables)
        assert "it is a history" in refused(field, history, settings)[0]


class TestRefusal:
    def test_a_target_of_another_room_refuses_what_the_clock_does(self):
        field = Field(name="ill", kind="category", columns=["ill"], target=True)
        settings = {"numbers": {}, "categories": {"ill": {"labels": ["no", "yes"], "counts": [1, 1]}}}
        row = {"seen": 0, "of": 0, "far": []}
        for reasons in ([], ["one"], ["one", "two"]):
            facts = {"clock": {"refuse": reasons}, "row": row, "odd": "text"}
            answer = CATEGORY.answer(np.zeros(2), Prepared({"pulse": np.zeros((3, 3))}, facts), field, settings, {})
            assert answer.refused == ("; ".join(reasons) or None)


class TestVary:
    def test_one_by_one_or_together_is_the_same(self, settle, histories, waves, make_field):
        for field, values in ((make_field(), histories), (make_field(rate_hz=100), waves)):
            settings = settle(field, values)
            settings["vary"] = {"hide": 0.5, "tremble": 0.1, "shift": 0.1, "stretch": 0.3, "noise": 0.2}
            ready = [prepared(field, series, settings) for series in values[:4]]
            draws = [CLOCK.draw(np.random.default_rng(at), one, settings) for at, one in enumerate(ready)]
            stacked = {"stay": torch.stack([CLOCK.whole(one, settings)["stay"] for one in ready])}
            before = stacked["stay"].clone()
            together = CLOCK.vary(stacked, draws, settings)["stay"]
            for at, (one, draw) in enumerate(zip(ready, draws, strict=True)):
                assert torch.equal(together[at], CLOCK.apply(one, draw, settings)["stay"])
            assert torch.equal(stacked["stay"], before)
            assert not torch.equal(together, before)

    def test_nothing_drawn_is_the_whole(self, settle, histories, waves, make_field):
        for field, values in ((make_field(), histories), (make_field(rate_hz=100), waves)):
            settings = settle(field, values)
            ready = prepared(field, values[0], settings)
            assert torch.equal(CLOCK.apply(ready, Draw(), settings)["stay"], CLOCK.whole(ready, settings)["stay"])
            assert not CLOCK.steady(settings)
            assert CLOCK.steady({**settings, "vary": dict.fromkeys(settings["vary"], 0.0)})

    def test_a_hidden_value_is_as_if_it_had_not_been_measured(self, settle, histories, make_field):
        """Hidden by a draw, or taken out before: carried values and times since agree."""
        field = make_field()
        settings = settle(field, histories)
        ready = prepared(field, histories[0], settings)
        varied = CLOCK.apply(ready, Draw(hide=0.5, seed=3), settings)["stay"].numpy()
        count = len(settings["series"]["stay"]["variables"])
        whole, kept = ready.arrays["stay"], varied[:, count : 2 * count] > 0
        assert 0 < kept.sum() < (whole[:, count : 2 * count] > 0).sum()
        for at in range(count):
            last = None
            for step in range(settings["steps"]):
                last = step if kept[step, at] else last
                assert varied[step, at] == (whole[last, at] if last is not None else 0)
                since = step if last is None else step - last
                assert varied[step, 2 * count + at] == pytest.approx(since / settings["steps"], abs=1e-6)

    def test_a_shift_moves_what_is_there(self, settle, make_wave, make_field):
        field = make_field(rate_hz=100)
        settings = settle(field, [make_wave(at, samples=150 + 25 * at) for at in range(6)])
        ready = prepared(field, make_wave(9, samples=150), settings)
        size = settings["series"]["stay"]["samples"]
        moved = CLOCK.apply(ready, Draw(shift=10 / size), settings)["stay"].numpy()
        np.testing.assert_allclose(moved[10:], ready.arrays["stay"][:-10], atol=1e-6)
        assert not moved[:10].any()
        stretched = CLOCK.apply(ready, Draw(stretch=0.5), settings)["stay"].numpy()
        np.testing.assert_allclose(stretched[:, :2], 0.5 * ready.arrays["stay"][:, :2], atol=1e-6)
        np.testing.assert_array_equal(stretched[:, 2], ready.arrays["stay"][:, 2])


def test_features_are_of_the_prepared_array(settle, histories, make_field):
    field = make_field()
    settings = settle(field, histories)
    array = prepared(field, histories[0], settings).arrays["stay"]
    found = SERIES.features(array, field, settings)
    assert found.shape == (14,)
    assert np.isfinite(found).all()
