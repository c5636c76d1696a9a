"""Folders of known layout as tables of cases, and what is in a folder that is to be predicted.

nnU-Net's layout is that of its documentation (dataset_format.md, https://github.com/MIC-DKFZ/nnUNet); the files of its
first version and of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 13:4128, 2022) differ
in the names and in dataset.json, and are read too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.core.contract import Field
from galenic.core.errors import MissingFile, TableError, TaskError, UnreadableFile, UnsupportedFile
from galenic.core.task import Task
from galenic.formats import dicom
from galenic.images import read

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
_LISTED = 5
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_MASK = re.compile(r"(.+)[_-](?:mask|seg|label)", re.IGNORECASE)
# Subfolders by these names hold a kind of file or a part of a split, not a class.
_NO_CLASS = re.compile(
    r"(images?|imgs?|masks?|labels?|segmentations?|annotations?|train(ing)?|val(id|idation)?|test(ing)?|calib)(t[rs])?",
    re.IGNORECASE,
)
# nnU-Net's and the Decathlon's names of channels, as DICOM's terms.
_MODALITIES = {
    "ct": "CT", "pet": "PT", "us": "US", "ultrasound": "US", "xray": "XR", "x-ray": "XR",
    **dict.fromkeys(
        ("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "t2flair", "adc", "dwi", "pd"), "MR"
    ),
}  # fmt: skip


def stem(path: Path) -> str:
    """The name without its picture ending (.nii.gz as one); "" for a file of no such format."""
    name = path.name.lower()
    found = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
    return path.name[: -len(found)] if found else ""


def pictures(folder: Path) -> list[Path]:
    """The picture files right in `folder` (no DICOM), hidden ones left out, sorted."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and stem(path) and path.is_file())


def expand(path: Path) -> list[Path]:
    """What a path to predict means: a file or the folder of one DICOM series is one case, another folder several.

    A folder gives its picture files and every DICOM series in it or below: by its file where it has but one, by the
    folder that holds the series alone, and as FOLDER#UID where it shares its folder with another.
    """
    if not path.is_dir():
        return [path]
    series = dicom.find_series(path)
    files = pictures(path)
    if len(series) == 1 and not files:
        return [path]
    homes = {one.uid: _home(one) for one in series}
    return sorted(_place(one, homes) for one in series) + files


def _place(one: dicom.Series, homes: Mapping[str, Path]) -> Path:
    if len(one.files) == 1:
        return one.files[0]
    home = homes[one.uid]
    shared = any(own.is_relative_to(home) for uid, own in homes.items() if uid != one.uid)
    return Path(f"{home}#{one.uid}") if shared else home


def _home(one: dicom.Series) -> Path:
    """The deepest folder that holds all files of a series."""
    return Path(os.path.commonpath([file.parent for file in one.files]))


@dataclass(frozen=True)
class _Told:
    """What dataset.json says: names of the channels, and the masks' values; both empty without the file."""

    channels: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)


class NnUNet:
    """imagesTr and labelsTr, with channels as _0000, _0001, ... or plain names, and dataset.json."""

    def recognises(self, folder: Path) -> bool:
        return (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir()

    def read(self, folder: Path) -> tuple[pd.DataFrame, Task]:
        """One row a case: id, image (or image_0000, ...), label, relative to `folder`; and the task.

        Raises MissingFile for an image without a mask or the other way round, TableError where the channels of a case
        are not complete, TaskError for what is not learnt here (regions, an ignored label), UnreadableFile for a
        broken dataset.json.
        """
        told = _dataset(folder / "dataset.json")
        labels = _by_stem(folder / "labelsTr")
        images = _channels(folder, labels)
        _complete(images, labels, folder)
        columns = _columns(images, told.channels)
        rows = [
            {"id": case, **dict(zip(columns, _below(folder, files.values()), strict=True)),
             "label": _below(folder, [labels[case]])[0]}
            for case, files in images.items()
        ]  # fmt: skip
        table = pd.DataFrame(rows)
        classes = told.classes or _found_classes("label", table, folder)
        return table, Task(
            name=folder.resolve().name,
            inputs=[Field(name="image", kind="image", columns=columns, options=_image_options(told.channels))],
            targets=[Field(name="label", kind="mask", columns=["label"], options={"classes": classes})],
        )

    def warnings(self, folder: Path) -> list[str]:
        """That the images without masks are not used, and that the classes are not named."""
        found = []
        if (folder / "imagesTs").is_dir() and (count := len(pictures(folder / "imagesTs"))):
            found.append(f"the {count} files in imagesTs are not used: they have no masks to learn from or to score by")
        if not (folder / "dataset.json").is_file():
            found.append("there is no dataset.json: the classes are named by their values, and the modality is unknown")
        return found


class Pairs:
    """One folder of images, each with its mask beside it: scan.nii.gz and scan_mask.nii.gz (or _seg, _label)."""

    def recognises(self, folder: Path) -> bool:
        names = {stem(path) for path in pictures(folder)}
        return any((found := _MASK.fullmatch(name)) and found[1] in names for name in names)

    def read(self, folder: Path) -> tuple[pd.DataFrame, Task]:
        """One row a pair: id, image, mask. MissingFile where one of a pair lacks; UnsupportedFile for a JPEG mask."""
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for path in pictures(folder):
            found = _MASK.fullmatch(stem(path))
            own, name = (masks, found[1]) if found else (images, stem(path))
            if name in own:
                raise TableError(
                    f"{own[name].name} and {path.name} are both the {'mask' if found else 'image'} of {name}",
                    allowed="one image and one mask a case",
                )
            own[name] = path
        lossy = [path.name for path in masks.values() if path.name.lower().endswith(_JPEG)]
        if lossy:
            raise UnsupportedFile(
                f"{len(lossy)} masks are JPEG files, which don't keep their values: {', '.join(lossy[:_LISTED])}",
                allowed="PNG, TIFF, NIfTI, NRRD, MetaImage",
                todo="take the masks from where they were drawn",
            )
        _complete(images, masks, folder)
        rows = [{"id": name, "image": path.name, "mask": masks[name].name} for name, path in images.items()]
        table = pd.DataFrame(rows)
        return table, Task(
            name=folder.resolve().name,
            inputs=[Field(name="image", kind="image", columns=["image"])],
            targets=[Field(name="mask", kind="mask", columns=["mask"],
                           options={"classes": _found_classes("mask", table, folder)})],
        )  # fmt: skip

    def warnings(self, folder: Path) -> list[str]:  # noqa: ARG002 - every layout is asked
        return ["the classes of the masks are named by their values, as nothing tells their names"]


class ClassFolders:
    """A folder a class with the pictures of that class in it."""

    def recognises(self, folder: Path) -> bool:
        found = self._classes(folder)
        return (
            len(found) >= 2
            and not pictures(folder)
            and not any(_NO_CLASS.fullmatch(own.name) or Pairs().recognises(own) for own in found)
            and all(len(pictures(own)) >= 2 for own in found)
        )

    def read(self, folder: Path) -> tuple[pd.DataFrame, Task]:
        """One row a picture: id, image, category."""
        found = self._classes(folder)
        rows = [
            {"id": f"{own.name}/{path.name}", "image": f"{own.name}/{path.name}", "category": own.name}
            for own in found
            for path in pictures(own)
        ]
        labels = [own.name for own in found]
        task = Task(
            name=folder.resolve().name,
            inputs=[Field(name="image", kind="image", columns=["image"])],
            targets=[Field(name="category", kind="category", columns=["category"], options={"labels": labels})],
        )
        return pd.DataFrame(rows), task

    def warnings(self, folder: Path) -> list[str]:  # noqa: ARG002 - every layout is asked
        return []

    @staticmethod
    def _classes(folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in pictures(folder):
        if stem(path) in found:
            raise TableError(f"{found[stem(path)].name} and {path.name} in {folder} have one name", todo="keep one")
        found[stem(path)] = path
    return found


def _channels(folder: Path, labels: Mapping[str, Path]) -> dict[str, dict[int, Path]]:
    """Case -> channel number -> file. A name that a mask bears too is a case's, whatever digits it ends in."""
    cases: dict[str, dict[int, Path]] = {}
    for name, path in _by_stem(folder / "imagesTr").items():
        found = None if name in labels else _CHANNEL.fullmatch(name)
        case, channel = (found[1], int(found[2])) if found else (name, 0)
        if channel in cases.setdefault(case, {}):
            raise TableError(
                f"{cases[case][channel].name} and {path.name} are one channel of one case", todo="keep one"
            )
        cases[case][channel] = path
    return {case: dict(sorted(files.items())) for case, files in cases.items()}


def _complete(images: Mapping[str, Any], masks: Mapping[str, Path], folder: Path) -> None:
    if not images:
        raise MissingFile(f"{folder} holds no image to learn from", allowed=", ".join(_ENDINGS))
    for ones, others, what in ((images, masks, "images have no mask"), (masks, images, "masks have no image")):
        alone = sorted(set(ones) - set(others))
        if alone:
            more = f" and {len(alone) - _LISTED} more" if len(alone) > _LISTED else ""
            raise MissingFile(
                f"{len(alone)} {what} in {folder}: {', '.join(alone[:_LISTED])}{more}",
                allowed="one mask for each image, of the same name",
                todo="bring the missing files there, or take their partners out of the folder",
            )


def _columns(images: Mapping[str, Mapping[int, Path]], named: list[str]) -> list[str]:
    """The image columns, which every case fills: as many as there are channels, or one that holds them all."""
    numbers = sorted({channel for files in images.values() for channel in files})
    odd = [case for case, files in images.items() if sorted(files) != numbers]
    if odd or numbers != list(range(len(numbers))):
        raise TableError(
            f"the channels {numbers} are not there for every case, for example {(odd or list(images))[0]}",
            allowed="files _0000, _0001, ... without a gap, the same for every case",
            todo="bring the missing files there, or take the case out",
        )
    if named and len(numbers) not in (1, len(named)):
        raise TableError(
            f"dataset.json names {len(named)} channels, and the cases have {len(numbers)} files each",
            allowed=f"{len(named)} files a case, or one that holds all channels",
        )
    return ["image"] if len(numbers) == 1 else [f"image_{number:04d}" for number in numbers]


def _below(folder: Path, files: Iterable[Path]) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


def _image_options(channels: list[str]) -> dict[str, Any]:
    modalities = {_MODALITIES.get(name.lower()) for name in channels}
    modality = modalities.pop() if len(modalities) == 1 else None
    options: dict[str, Any] = {"modality": modality} if modality else {}
    if len(channels) > 1:
        twice = len(set(channels)) < len(channels)
        options["channels"] = [f"{name} {at}" for at, name in enumerate(channels)] if twice else channels
    return options


def _found_classes(name: str, table: pd.DataFrame, folder: Path) -> dict[str, str]:
    return read.find_classes(Field(name=name, kind="mask", columns=[name]), table, folder)


def _dataset(path: Path) -> _Told:
    if not path.is_file():
        return _Told()
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not JSON: {error}", todo="mend the place it names") from error
    if not isinstance(told, dict):
        raise UnreadableFile(f"{path} holds no JSON object", allowed="nnU-Net's dataset.json")
    if "dataset" in told:
        raise TaskError(
            f"{path} lists its cases under 'dataset'",
            allowed="cases as files in imagesTr and labelsTr",
            todo="write a table of cases (cases.csv) that names image and mask of each case",
        )
    channels = told.get("channel_names", told.get("modality")) or {}
    if not isinstance(channels, dict) or not all(
        str(key).isdecimal() and isinstance(name, str) for key, name in channels.items()
    ):
        raise TaskError(f"the channels {channels!r} in {path}", allowed='{"0": name, "1": name, ...}')
    return _Told([channels[key] for key in sorted(channels, key=int)], _classes(told.get("labels"), path))


def _classes(labels: Any, path: Path) -> dict[str, str]:
    """Value -> name, background left out, from {"1": name} (first version) or {name: 1} (second)."""
    if not isinstance(labels, dict) or not labels:
        raise TaskError(f"{path} names no labels", allowed='{"background": 0, name: 1, ...} or {"1": name, ...}')
    classes: dict[str, str] = {}
    for key, own in labels.items():
        if isinstance(own, list):
            raise TaskError(
                f"the label {key!r} in {path} is a region, the values {own} together",
                allowed="one value a class",
                todo="write masks in which each region has a value of its own, or learn the classes one by one",
            )
        value, name = (own, key) if type(own) is int else (int(key) if key.isdecimal() else -1, own)
        if name == "ignore" and value:
            raise TaskError(
                f"{path} names a label to be ignored (value {value})",
                allowed="masks in which every voxel is known",
                todo="leave out the cases that have it",
            )
        if not isinstance(name, str) or value < 0 or str(value) in classes:
            raise TaskError(f"the label {key!r}: {own!r} in {path}", allowed="each value once, with a name")
        classes[str(value)] = name
    classes.pop("0", None)
    if not classes:
        raise TaskError(f"{path} names the background alone", allowed="at least one class")
    return classes


NNUNET, PAIRS, CLASS_FOLDERS = NnUNet(), Pairs(), ClassFolders()
