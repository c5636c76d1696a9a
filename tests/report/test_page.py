from __future__ import annotations

import base64
import builtins
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import MissingExtra, ValueProblem
from galenic.report.page import Content, Picture, write_report
from galenic.report.reading import number

from .conftest import SVG, estimate

VOID = {"meta", "br", "img", "hr", "link", "input"}
HOSTILE = "<script>alert(1)</script>\"'&--><img src=x onerror=alert(1)> $\\frac{a$ {{ 7*7 }}"


class Reader(HTMLParser):
    """A strict reading: every tag closed in order, all attributes, the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    def write(content: Any) -> str:
        write_report(tmp_path / "private" / "report.html", content)
        return (tmp_path / "private" / "report.html").read_text(encoding="utf-8")

    return write


def figures(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for own in value.values():
            yield from figures(own)
    elif isinstance(value, list):
        for own in value:
            yield from figures(own)
    elif isinstance(value, int | float):
        yield value


def test_every_number_of_the_metrics_is_there(written: Callable, content: Content, metrics: dict) -> None:
    text = Reader(written(content)).text
    wanted = list(figures(metrics))
    assert len(wanted) > 30
    for value in wanted:
        assert re.search(rf"(?<![\d.]){re.escape(number(value))}(?![\d])", text), value
    assert "undefined" in text  # the posterior's hd95


def test_exact_values_are_kept_beside_the_rounded(written: Callable, content: Content) -> None:
    values = [attrs["value"] for attrs in Reader(written(content)).named("data")]
    assert "0.88123" in values
    assert "" in values  # undefined


def test_the_main_score_leads_and_stands_beside_the_best_baseline(written: Callable, content: Content) -> None:
    text = Reader(written(content)).text
    assert "dice 0.881 (0.871 to 0.892). The best simple method on the same cases, mean mask: 0.602" in text
    assert "Their intervals do not overlap." in text
    assert text.index("dice 0.881 (0.871") < text.index("hd95")


def test_out_of_fold_scores_have_their_own_table(written: Callable, content: Content, metrics: dict) -> None:
    assert "Cross-validated" not in written(content)
    own = {
        "scores": {"dice": estimate(0.777, 0.766, 0.788)},
        "baselines": [{"name": "disc", "scores": {"dice": estimate(0.333)}}],
    }
    metrics["cross_validated"] = {"cases": 208, "folds": 5, "targets": {"label": own}}
    text = Reader(written(content)).text
    assert "208 cases of train and valid, each answered by the one of 5 networks that has not learnt from it" in text
    table = text[text.index("Cross-validated") : text.index("Pictures")]
    assert "score this model disc dice 0.777 (0.766 to 0.788) 0.333" in table


def test_the_worst_class_and_subgroup_are_named(written: Callable, content: Content) -> None:
    text = Reader(written(content)).text
    assert "The worst class: posterior" in text
    assert "The worst subgroup: site=B" in text


def test_worst_follows_the_direction_of_the_score(written: Callable, content: Content, metrics: dict) -> None:
    metrics["main"]["score"] = "hd95"
    text = Reader(written(content)).text
    assert "The worst subgroup: site=B" in text
    assert "lower is better" in text


def test_a_model_that_loses_is_said_to_lose(written: Callable, content: Content, metrics: dict) -> None:
    metrics["targets"]["label"]["scores"]["dice"] = estimate(0.5, 0.4, 0.6)
    text = Reader(written(content)).text
    assert "The model is not better than the simple method." in text
    assert "Warning: a simple method is at least as good as this model." in text


def test_warnings_are_red_and_first(written: Callable, content: Content) -> None:
    page = written(content)
    for warning in ("within-one-subject split", "patient unknown", "class posterior: only 2 cases show it"):
        assert f'<p class="red"><strong>Warning:</strong> {warning}' in page
        assert page.index(warning) < page.index("<h3>Scores")


def test_smoke_is_said_on_top_and_only_when_it_is(written: Callable, content: Content) -> None:
    assert "Smoke demo" not in written(content)
    page = written(replace(content, smoke=True))
    assert page.index("no clinical claim") < page.index("<main>")


def test_it_is_not_a_medical_device(written: Callable, content: Content) -> None:
    assert "Not a medical device: research use only" in Reader(written(content)).text


def test_decisions_stand_with_value_and_reason(written: Callable, content: Content) -> None:
    text = Reader(written(content)).text
    assert "space: spacing 1, 1, 1.25 the median spacing" in text
    assert "space: patch 40, 56, 48 near the median size" in text
    assert "space: normalise image way: z-score arbitrary units" in text
    assert "training: batch 2 many small steps" in text
    assert "network unet the default for these kinds" in text


def test_data_provenance_and_repeating(written: Callable, content: Content) -> None:
    text = Reader(written(content)).text
    for words in ("train 160", "anterior 259", "patients unknown", "CC-BY-SA 4.0", "versions: torch 2.14.1", "seed 7",
                  "galenic train task.toml --plan plan.json --seed 7 -o ../again"):  # fmt: skip
        assert words in text


def test_pictures_are_images_with_words(written: Callable, content: Content) -> None:
    images = Reader(written(content)).named("img")
    assert [image["alt"] for image in images] == ["Best. Dice 0.94", "Worst. Dice 0.71"]
    head, _, body = str(images[0]["src"]).partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == SVG


def test_drawings_speak_and_ids_are_unique(written: Callable, content: Content) -> None:
    reader = Reader(written([content, replace(content, smoke=True)]))
    spoken = [str(attrs.get("aria-label")) for _, attrs in reader.tags if attrs.get("role") == "img"]
    assert len(spoken) == 2 * 5  # forests of methods, classes, subgroups; losses and score
    assert any("mean mask 0.602 (0.581 to 0.623)" in words for words in spoken)
    assert any("Validation dice over time: from 0.200 to 0.800" in words for words in spoken)
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in reader.tags:
        for target in [attrs.get("xlink:href"), attrs.get("href"), attrs.get("aria-labelledby")]:
            assert target is None or target.removeprefix("#") in ids


def test_headings_go_down_one_level_at_a_time(written: Callable, content: Content) -> None:
    levels = [int(tag[1]) for tag, _ in Reader(written(content)).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def assert_fetches_nothing(page: str) -> None:
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
    for tag, attrs in reader.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert str(value).startswith(("#", "data:image/svg+xml;base64,")), (tag, name, value)
            if "://" in str(value):
                assert name in ("xmlns", "xmlns:xlink"), (tag, name, value)
    assert "@import" not in page
    assert set(re.findall(r"url\(.", page)) <= {"url(#"}
    assert "default-src 'none'" in page


def test_nothing_is_fetched_and_no_script_runs(written: Callable, content: Content) -> None:
    assert_fetches_nothing(written(content))


def hostile(value: Any) -> Any:
    """The same value with hostile words at the end of every text and key that is no fixed name of a format."""
    if isinstance(value, dict):
        return {
            (f"{key}{HOSTILE}" if key in ("site=A", "anterior", "cross_entropy", "torch", "train") else key): hostile(
                own
            )
            for key, own in value.items()
        }
    if isinstance(value, list):
        return [hostile(own) for own in value]
    return value + HOSTILE if isinstance(value, str) and value not in ("label", "dice") else value


def test_hostile_names_stay_words(written: Callable, content: Content) -> None:
    nasty = Content(
        hostile(content.task), hostile(content.plan), hostile(content.metrics), hostile(content.history),
        hostile(content.provenance), [Picture(HOSTILE, HOSTILE, SVG)], hostile(content.data), [HOSTILE], True,
        run=hostile({"asked": {"split": "x", "from": "x"}, "exact": "x"}),
    )  # fmt: skip
    page = written(nasty)
    assert "<script" not in page
    assert_fetches_nothing(page)
    text = Reader(page).text
    assert HOSTILE in text
    assert "49" not in re.findall(r"\d+", text)


@settings(max_examples=25, deadline=None)
@given(name=st.text(st.characters(), max_size=30), key=st.text(max_size=20))
def test_any_text_is_borne(tmp_path_factory: pytest.TempPathFactory, name: str, key: str) -> None:
    entry = {"scores": {key: estimate(0.5)}, "classes": {name: {key: estimate(0.4)}, "b": {key: estimate(0.3)}}}
    made = Content({"name": name, "title": name}, {"reasons": {key: name}}, {"targets": {name: entry}}, red=[name])
    path = tmp_path_factory.mktemp("any") / "report.html"
    write_report(path, made)
    assert_fetches_nothing(path.read_text(encoding="utf-8"))


def test_the_same_content_gives_the_same_bytes(written: Callable, content: Content) -> None:
    assert written(content) == written(content)


def test_without_history_baselines_classes_or_pictures(written: Callable, metrics: dict) -> None:
    own = metrics["targets"]["label"]
    for key in ("classes", "subgroups", "baselines"):
        del own[key]
    reader = Reader(written(Content({"name": "bare"}, {}, metrics)))
    assert "No simple method was scored on the same cases." in reader.text
    assert "0.881 (0.871 to 0.892)" in reader.text
    assert reader.named("svg") == []
    for heading in ("Pictures", "Training curves", "Per class", "The plan"):
        assert heading not in reader.text


def test_without_any_metrics(written: Callable) -> None:
    assert "No scores were measured." in Reader(written(Content({}, {}, {}))).text


def test_several_models_are_listed_first(written: Callable, content: Content) -> None:
    other = replace(content, task={"name": "breast_cancer", "title": "Breast cancer"}, smoke=True)
    reader = Reader(written([content, other]))
    links = [attrs["href"] for attrs in reader.named("a")]
    assert links == ["#model-1", "#model-2"]
    assert "Hippocampus in T1 MRI and Breast cancer" in reader.text


def test_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueProblem, match="no model"):
        write_report(tmp_path / "report.html", [])
    assert list(tmp_path.iterdir()) == []


def test_a_picture_must_be_svg() -> None:
    with pytest.raises(ValueProblem, match="not an SVG"):
        Picture("Best", "", "<script>alert(1)</script><svg/>")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=rf"{package}[\s\S]*galenic\[report\]"):
        write_report(tmp_path / "report.html", content)
    assert list(tmp_path.iterdir()) == []
