# ruff: noqa: ARG002 - the contract names every argument, and a kind need not use all
"""The door of the room: what an image and a mask are to the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from galenic.core.contract import Answer, Array, Field, Judged, Prepared, Settings, Values
from galenic.core.errors import TaskError
from galenic.formats import index
from galenic.images import answers, guess, layouts, read, rules, show, write
from galenic.images.losses import dice_cross_entropy
from galenic.values import Image, Mask

if TYPE_CHECKING:
    from torch import Tensor, nn

    from galenic.core.contract import Kind, Target

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SAMPLED = 1 << 18  # elements a channel that quantiles are taken from
_MOST_CLASSES = 254  # 255 marks what is unknown


class ImageKind:
    """A picture or volume named by a path; several columns are several channels on one grid."""

    name = "image"
    frame = "space"
    from_file = True
    groups = False
    reads = index.READ

    def check(self, field: Field) -> Field:
        """Options: modality (DICOM's term), channels (names), window ([low, high], clipped to when read), series_uid.

        series_uid: the column that names the DICOM series to take from a folder of several; see read.with_series.
        """
        own = _only(field, {"modality", "channels", "window", "series_uid"})
        modality, channels, window = own.get("modality"), own.get("channels"), own.get("window")
        if modality is not None and not (isinstance(modality, str) and modality):
            raise _wrong(field, "modality", modality, "a DICOM modality such as CT, MR, US or XR")
        if channels is not None and not _words(channels):
            raise _wrong(field, "channels", channels, "a list of different names")
        if window is not None and not (_numbers(window, 2) and window[0] < window[1]):
            raise _wrong(field, "window", window, "[low, high], low below high")
        series = own.get("series_uid")
        if series is not None and not (isinstance(series, str) and series and len(field.columns) == 1):
            raise _wrong(field, "series_uid", series, "the name of a column, for a field of one column")
        done = {"modality": modality.upper() if modality else None, "channels": channels, "window": window}
        done |= {"series_uid": series} if series else {}
        return field.model_copy(update={"options": done})

    def joined(self, field: Field, table: pd.DataFrame, root: Path) -> pd.DataFrame:
        """The table with each cell's DICOM series in it; see read.with_series."""
        return read.with_series(field, table, root)

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> read.ImageSource:
        return read.open_images(field, table, root)

    def expand(self, path: Path) -> list[Path]:
        """The files and series folders that a path to predict means; see layouts.expand."""
        return layouts.expand(path)

    def recognises(self, cell: str, root: Path) -> bool:
        """Whether a cell names an image; see guess.recognises."""
        return guess.recognises(cell, root)

    def doubt(self, column: str, cells: Sequence[str], root: Path) -> str:
        """Why a column of images is rather of masks, or ""; see guess.doubt."""
        return guess.doubt(column, cells, root)

    def features(self, array: Array, field: Field, settings: Settings) -> Array:
        """(9 C,) float32: seven quantiles (1 to 99 %), mean and standard deviation of each channel."""
        found = []
        for channel in array:
            flat = np.asarray(channel, np.float32).ravel()
            some = flat[:: max(1, flat.size // _SAMPLED)]
            found += [*np.quantile(some, _QUANTILES), flat.mean(dtype=np.float64), flat.std(dtype=np.float64)]
        return np.array(found, np.float32)

    def group(self, value: Any) -> str | None:
        return None

    def show(self, value: Image) -> str:
        """The image as an SVG."""
        return show.show(value)


class MaskKind:
    """A label map drawn on an image, named by a path, of one class or several."""

    name = "mask"
    frame = "space"
    from_file = True
    groups = False
    definitions = rules.DEFINITIONS
    main_score = rules.MAIN
    baselines: tuple[str, ...] = ("threshold", "mean_mask")
    calibrates = False
    dense = True
    quick_cases = 24

    def check(self, field: Field) -> Field:
        """Options, completed; classes are renumbered 1 .. n, and `values` keeps what the files hold for them.

        classes: {value: name} or a list of names for 1, 2, ...; without it, one class named as the field.
        nonzero: whatever is not 0 is the one class. agreed: k, marked in at least k of the field's columns.
        union: the cell is a folder with a binary mask file an object.
        """
        own = _only(field, {"classes", "values", "nonzero", "agreed", "union"})
        classes, values = _classes(field, own.get("classes"), own.get("values"))
        agreed = own.get("agreed")
        ways = {key: own.get(key, False) for key in ("nonzero", "union")}
        for key, value in ways.items():
            if not isinstance(value, bool):
                raise _wrong(field, key, value, "true or false")
        if agreed is not None and not (type(agreed) is int and agreed >= 1):
            raise _wrong(field, "agreed", agreed, "a whole number from 1 to the number of columns")
        if (agreed or any(ways.values())) and len(classes) != 1:
            raise _wrong(field, "classes", classes, "one class where masks are joined or taken as non-zero")
        patterns = any(set("*?[") & set(column) for column in field.columns)
        if len(field.columns) > 1 and not agreed:
            raise TaskError(
                f"the mask {field.name} names {len(field.columns)} columns", allowed="one column, or agreed = k"
            )
        if agreed and not patterns and agreed > len(field.columns):
            raise _wrong(field, "agreed", agreed, f"at most the number of columns, {len(field.columns)}")
        return field.model_copy(update={"options": {"classes": classes, "values": values, **ways, "agreed": agreed}})

    def infer(self, field: Field, table: pd.DataFrame, root: Path) -> Field:
        """The field with a class for each value that stands in the masks, where the task names none."""
        found = read.find_classes(field, table, root)
        return field.model_copy(update={"options": {**field.options, "classes": found}}) if found else field

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> read.MaskSource:
        return read.open_masks(field, table, root)

    def features(self, array: Array, field: Field, settings: Settings) -> Array:
        """(n,) float32: the share of the grid that each class takes."""
        counts = np.bincount(np.asarray(array, np.uint8).ravel(), minlength=256)
        return (counts[1 : len(field.options["classes"]) + 1] / max(array.size, 1)).astype(np.float32)

    def group(self, value: Any) -> str | None:
        return None

    def shown(self, array: Array, field: Field) -> list[str]:
        """Names of the classes that a prepared truth [*space] shows."""
        there = np.bincount(np.asarray(array, np.uint8).ravel(), minlength=256) > 0
        return [name for number, name in field.options["classes"].items() if there[int(number)]]

    def head(self, field: Field, width: int, settings: Settings) -> nn.Module:
        """TaskError: a mask has an answer for every voxel, and a vector of features has not."""
        raise TaskError(
            f"the mask {field.name} as the output of a network that makes one vector a case",
            allowed="a dense network, such as unet",
        )

    def loss(self, output: Tensor, truth: Tensor, field: Field, settings: Settings) -> Tensor:
        """Soft Dice and cross-entropy of each case, (b,); see losses.dice_cross_entropy."""
        return dice_cross_entropy(output, truth)

    def calibrate(
        self,
        outputs: Sequence[Any],
        truths: Sequence[Any],
        field: Field,
        settings: Settings,
    ) -> Settings:
        return {}

    def quick(self, outputs: Sequence[Any], truths: Sequence[Array], field: Field) -> float:
        """Mean Dice of outputs [K, *space] on prepared truths [*space]: over cases, then over classes."""
        return rules.quick_dice(outputs, truths)

    def choose(self, answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:
        """{"largest": class numbers} where keeping the largest part alone helped; {} otherwise."""
        return rules.choose_largest(answers, truths, field)

    def answer(
        self,
        output: Any,
        prepared: Prepared,
        field: Field,
        settings: Settings,
        fitted: Settings,
    ) -> Answer:
        """A Mask on the input's grid, in the user's values; facts: volumes_ml by class (3D with known spacing)."""
        return answers.to_answer(output, prepared, field, fitted)

    def judge(self, answer: Answer, truth: Mask, field: Field) -> Judged:
        return rules.judge(answer, truth, field)

    def unit_of(self, score: str, judged: Sequence[Judged]) -> str:
        """See rules.unit_of."""
        return rules.unit_of(score, judged)

    def scores(self, judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:
        return rules.scores(judged, field)

    def agree(self, ours: Any, reference: Any) -> tuple[float, bool]:
        """Lowest Dice of the two outputs' foreground classes, and whether it is 0.995 or more."""
        return rules.agree(ours, reference)

    def write(self, answer: Answer, values: Values, path: Path, *, form: str = "auto") -> list[Path]:
        """One of the forms of write.FORMS; see write.write_answer."""
        return write.write_answer(answer, values, path, form=form)

    def show(self, image: Image, truth: Mask | None = None, predicted: Mask | None = None) -> str:
        """The most informative slice as an SVG, with both outlines."""
        return show.show(image, truth, predicted)


def _only(field: Field, allowed: set[str]) -> Mapping[str, Any]:
    unknown = sorted(set(field.options) - allowed)
    if unknown:
        raise TaskError(f"the options {', '.join(unknown)} of {field.name}", allowed=", ".join(sorted(allowed)))
    if not field.columns:
        raise TaskError(f"the field {field.name} names no column", allowed="at least one column of the table")
    return field.options


def _wrong(field: Field, option: str, given: Any, allowed: str) -> TaskError:
    return TaskError(f"{option} = {given!r} of {field.name}", allowed=allowed)


def _words(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(word, str) and word.strip() for word in value)
        and len(set(value)) == len(value)
    )


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == count
        and all(isinstance(number, int | float) and np.isfinite(number) for number in value)
    )


def _classes(field: Field, classes: Any, values: Any) -> tuple[dict[str, str], list[int]]:
    """Names by number 1 .. n, and the file's value of each."""
    if classes is None:
        classes = [field.name]
    if isinstance(classes, list):
        classes = {str(number): name for number, name in enumerate(classes, start=1)}
    if not isinstance(classes, Mapping) or not all(str(key).isdecimal() for key in classes):
        raise _wrong(field, "classes", classes, "{value: name}, or a list of names for the values 1, 2, ...")
    kept = sorted((int(key), name) for key, name in classes.items() if int(key) != 0)
    names = [name for _, name in kept]
    if not _words(names) or len(names) > _MOST_CLASSES:
        raise _wrong(field, "classes", classes, f"1 to {_MOST_CLASSES} classes, each with a name of its own")
    if values is None:
        values = [value for value, _ in kept]
    if (
        not isinstance(values, list)
        or len(values) != len(names)
        or not all(type(value) is int and value > 0 for value in values)
        or len(set(values)) != len(values)
    ):
        raise _wrong(field, "values", values, "the file's value of each class, in the order of the classes")
    return {str(number): name for number, name in enumerate(names, start=1)}, values


IMAGE = ImageKind()
MASK = MaskKind()

if TYPE_CHECKING:
    _image: Kind = IMAGE
    _mask: Target = MASK
