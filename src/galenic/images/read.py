"""From cells of the table to images and masks, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic.core.contract import Field
from galenic.core.errors import GeometryError, MissingFile, Refused, TableError, UnsupportedFile, ValueProblem
from galenic.core.files import of_file
from galenic.formats import dicom_masks, index
from galenic.values import Image, Mask

Paths = tuple[Path, ...]

_LISTED = 5
# What stations write for one and the same thing (DICOM PS3.3 C.7.3.1.1.1).
_SAME_MODALITY = {"MRI": "MR", "CR": "XR", "DX": "XR", "RG": "XR", "MG": "MG", "PET": "PT"}


def open_images(field: Field, table: pd.DataFrame, root: Path) -> ImageSource:
    """Index the image columns; TableError for an unknown column or a row with some channels, MissingFile otherwise."""
    rows = locate(field, table, root)
    for number, paths in enumerate(rows):
        if paths is not None and None in paths:
            raise TableError(
                f"{_row(table, number)} fills only some of the columns {', '.join(_columns(field, table))}",
                allowed="every channel of an image, or none of them",
            )
    return ImageSource(field, rows)


def open_masks(field: Field, table: pd.DataFrame, root: Path) -> MaskSource:
    """Index the mask columns; TableError for an unknown column, MissingFile for a missing file."""
    return MaskSource(field, locate(field, table, root))


def locate(field: Field, table: pd.DataFrame, root: Path) -> list[tuple[Path | None, ...] | None]:
    """The paths of each row, one a column (None in an empty cell); None where all cells of a row are empty.

    A column name may hold * and ?, and then stands for every column it matches. Relative paths start at `root`.
    """
    columns = _columns(field, table)
    missing: list[str] = []
    rows: list[tuple[Path | None, ...] | None] = []
    cells = [table[column].tolist() for column in columns]
    for number in range(len(table)):
        paths = tuple(_path(column[number], root) for column in cells)
        for column, path in zip(columns, paths, strict=True):
            if path is not None and not of_file(path)[0].exists():
                missing.append(f"{_row(table, number)}, column {column!r}: {path}")
        rows.append(paths if any(path is not None for path in paths) else None)
    if missing:
        more = f"; and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise MissingFile(
            f"{len(missing)} file(s) of {field.name} are missing: " + "; ".join(missing[:_LISTED]) + more,
            allowed=f"absolute paths, or paths below {root}",
            todo="bring the files there, or take the rows out of the table",
        )
    return rows


def with_series(field: Field, table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The table with the series that another column names written into the field's cells, as FOLDER#UID.

    Only in cells that are folders: beside a file the UID says where that came from, no more. The column is the option
    series_uid, else COLUMN_series_uid, else (for a field of one column) series_uid.
    TableError where the option names a column that is not there.
    """
    own, done = _columns(field, table), table
    for column in own:
        told = field.options.get("series_uid")
        if told is not None and told not in table.columns:
            raise TableError(
                f"series_uid of {field.name} names the column {told!r}, which the table lacks",
                allowed=", ".join(str(name) for name in table.columns),
            )
        usual = [told, f"{column}_series_uid", *(["series_uid"] if len(own) == 1 else [])]
        named = next((name for name in usual if name in table.columns and name not in own), None)
        if named is not None:
            cells = zip(table[column], table[named], strict=True)
            done = done.assign(**{column: [_with_uid(cell, uid, root) for cell, uid in cells]})
    return done


def _with_uid(cell: Any, uid: Any, root: Path) -> Any:
    path = _path(cell, root)
    if path is None or pd.isna(uid) or not str(uid).strip() or not path.is_dir():
        return cell
    return f"{str(cell).strip()}#{str(uid).strip()}"


def _columns(field: Field, table: pd.DataFrame) -> list[str]:
    found: list[str] = []
    for wanted in field.columns:
        own = [wanted] if wanted in table.columns else [name for name in table.columns if fnmatchcase(name, wanted)]
        if not own:
            raise TableError(
                f"the table has no column {wanted!r}, which {field.name} names",
                allowed=", ".join(str(name) for name in table.columns),
            )
        found += [name for name in own if name not in found]
    return found


def _path(cell: Any, root: Path) -> Path | None:
    if cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)) or not str(cell).strip():
        return None
    return root / str(cell).strip()


def _row(table: pd.DataFrame, number: int) -> str:
    own = table["id"].iloc[number] if "id" in table.columns else None
    return f"row {number + 1}" + (f" ({own})" if own is not None else "")


class ImageSource:
    """Images by row: several columns are several channels on one grid."""

    def __init__(self, field: Field, rows: Sequence[tuple[Path | None, ...] | None]) -> None:
        self.field, self.rows = field, rows

    def read(self, row: int) -> Image | None:
        """The image of a row, or None. ValueProblem, GeometryError, UnsupportedFile or Refused otherwise."""
        paths = self.rows[row]
        return None if paths is None else read_channels([path for path in paths if path is not None], self.field)


class MaskSource:
    """Masks by row, values 1 .. n in the order of the field's classes.

    DICOM SEG and RTSTRUCT are read by the names of the classes, on the grid of the row's first image.
    """

    def __init__(self, field: Field, rows: Sequence[tuple[Path | None, ...] | None]) -> None:
        self.field, self.rows = field, rows
        self.images: ImageSource | None = None

    def link(self, others: Mapping[str, Any]) -> None:
        """Take the first image field of the cases for the grid of what DICOM outlines."""
        self.images = next((source for source in others.values() if isinstance(source, ImageSource)), None)

    def read(self, row: int) -> Mask | None:
        """The mask of a row, or None. ValueProblem or GeometryError otherwise."""
        paths = self.rows[row]
        if paths is None:
            return None
        there = [path for path in paths if path is not None]
        names = {int(value): name for value, name in self.field.options["classes"].items()}
        if self.field.options.get("union"):
            return _marked([_union(path) for path in there], 1, names)
        if self.field.options.get("agreed"):
            if len(there) < self.field.options["agreed"]:
                return None
            return _marked([self._binary(path, row) for path in there], self.field.options["agreed"], names)
        if self.field.options.get("nonzero"):
            return _marked([self._binary(there[0], row)], 1, names)
        if index.format_of(there[0]) == "dicom":
            return dicom_masks.read_named(there[0], self._image(row), list(names.values()))
        return numbered(index.read_mask(there[0]), self.field)

    def _binary(self, path: Path, row: int) -> Mask:
        return dicom_masks.read_any(path, self._image(row)) if index.format_of(path) == "dicom" else _binary(path)

    def _image(self, row: int) -> Image | None:
        return None if self.images is None else self.images.read(row)


def read_channels(paths: Sequence[Path], field: Field) -> Image:
    """One image [channel, *space] from files on one grid, checked and windowed as the field's options say."""
    options = field.options
    wanted = options.get("channels") or []
    fourth = {"channels": True} if len(wanted) > 1 and len(paths) == 1 and _is_nifti(paths[0]) else {}
    parts = [_checked(index.read_image(path, **fourth), path, options) for path in paths]
    lead = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        same_grid(lead, part, f"{path} and {paths[0]}")
    array = lead.array if len(parts) == 1 else np.concatenate([part.array for part in parts])
    if wanted and len(wanted) != len(array):
        raise ValueProblem(
            f"{field.name} in {paths[0]} has {len(array)} channels", allowed=f"{len(wanted)}: {', '.join(wanted)}"
        )
    names = tuple(wanted) or (lead.channels if len(parts) == 1 else tuple(field.columns))
    modality = options.get("modality") or lead.modality
    unit = lead.unit or ("HU" if options.get("modality") == "CT" else "")  # NIfTI and NRRD tell no unit
    names = names if len(names) == len(array) else ()
    return dataclasses.replace(lead, array=array, channels=names, modality=modality, unit=unit)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _checked(image: Image, path: Path, options: dict[str, Any]) -> Image:
    """The checks that every image gets; one pass for the lowest and one for the highest value."""
    if image.geometry.dims not in (2, 3):
        raise UnsupportedFile(f"{path} has {image.geometry.dims} axes of space", allowed="2 or 3")
    if 0 in image.array.shape:
        raise ValueProblem(f"{path} holds no picture: its array has the shape {image.array.shape}")
    low, high = image.array.min(), image.array.max()  # NaN comes through both
    if not (np.isfinite(low) and np.isfinite(high)):
        odd = int(image.array.size - np.isfinite(image.array).sum())
        raise ValueProblem(
            f"{path} holds {odd} values that are NaN or infinite, of {image.array.size}",
            allowed="finite intensities",
            todo="find out how they came about; put a real intensity there before you use this image",
        )
    wanted, own = options.get("modality"), image.modality
    if wanted and own and _SAME_MODALITY.get(own, own) != _SAME_MODALITY.get(wanted, wanted):
        raise Refused(
            f"{path} is an image of modality {own}", allowed=wanted, todo="give the kind of image the task is about"
        )
    window = options.get("window")
    if window is not None:
        image = dataclasses.replace(image, array=np.clip(image.array, np.float32(window[0]), np.float32(window[1])))
        low, high = np.clip((low, high), *window)
    if low == high:
        raise ValueProblem(
            f"{path} is constant: every value is {float(low):g}" + (f" within the window {window}" if window else ""),
            allowed="an image with content",
            todo="take the case out of the table, or export it again",
        )
    return image


def same_grid(image: Image | Mask, other: Image | Mask, where: str) -> None:
    """GeometryError naming both grids unless the two lie on one; `where` says what is compared."""
    if image.shape == other.shape and image.geometry.close_to(other.geometry):
        return
    raise GeometryError(
        f"{where} lie on two grids: {_grid(image)} against {_grid(other)}",
        allowed="one grid for all images and masks of a case",
        todo="resample the one onto the other's grid, or take the file that was drawn on this image",
    )


def _grid(value: Image | Mask) -> str:
    own = value.geometry
    told = f"spacing {own.spacing_mm.round(4).tolist()} mm" if own.known else "spacing unknown"
    return f"shape {list(value.shape)}, {told}, origin {own.origin_mm.round(2).tolist()}"


def numbered(mask: Mask, field: Field) -> Mask:
    """The mask with the file's values replaced by 1 .. n, the order of the field's classes, as uint8.

    ValueProblem lists the values that the field's options don't name, with how many voxels bear each.
    """
    values: list[int] = field.options["values"]
    names = {int(value): name for value, name in field.options["classes"].items()}
    array = mask.array
    if array.size and int(array.max()) < 65536 and int(array.min()) >= 0:
        counts = np.bincount(array.ravel())
        present = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    else:
        present = {int(v): int(n) for v, n in zip(*np.unique(array, return_counts=True), strict=True)}
    unnamed = {value: count for value, count in present.items() if value and value not in values}
    if unnamed:
        listed = ", ".join(f"{value} ({count} voxels)" for value, count in list(unnamed.items())[:20])
        raise ValueProblem(
            f"the mask {mask.source} holds {len(unnamed)} value(s) that {field.name} does not name: {listed}",
            allowed="0 (background), " + ", ".join(f"{v} ({names[i]})" for i, v in enumerate(values, start=1)),
            todo="name them in the field's classes, or say nonzero = true if every value means the one class",
        )
    if values == list(range(1, len(values) + 1)):
        return Mask(array.astype(np.uint8, copy=False), mask.geometry, names, mask.source)
    done = np.zeros(array.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        if value in present:
            done[array == value] = number
    return Mask(done, mask.geometry, names, mask.source)


def find_classes(field: Field, table: pd.DataFrame, root: Path, most: int = 200) -> dict[str, str]:
    """Names for the values met in up to `most` masks, evenly taken, of a table that names none: "class 1", ...

    Where only one value is met, the class bears the field's name. DICOM SEG and RTSTRUCT name their classes: those that
    stand in every one of these files. ValueProblem where all masks are empty, or DICOM files have no name in common.
    """
    rows = [row for row in locate(field, table, root) if row is not None]
    found: set[int] = set()
    named: list[list[str]] = []
    for row in rows[:: max(1, len(rows) // most)][:most]:
        for path in row:
            if path is not None and index.format_of(path) == "dicom":
                named.append(dicom_masks.names_in(path))
            elif path is not None:
                found |= {int(value) for value in np.unique(index.read_mask(path).array)}
    values = sorted(found - {0})
    if named and values:
        raise ValueProblem(f"{field.name} mixes DICOM with other masks", todo="name its classes in a task file")
    if named:
        return _in_common(field, named)
    if not values:
        raise ValueProblem(f"every mask of {field.name} is empty", allowed="masks that show at least one class")
    if len(values) == 1:
        return {str(values[0]): field.name}
    return {str(value): f"class {value}" for value in values}


def _in_common(field: Field, named: Sequence[Sequence[str]]) -> dict[str, str]:
    common = [name for name in named[0] if all(name in own for own in named)]
    if not common:
        raise ValueProblem(
            f"the {len(named)} DICOM files of {field.name} have no name in common",
            allowed="a segment or region that is called the same in each",
            todo="name the classes in a task file",
        )
    return {str(number): name for number, name in enumerate(common, start=1)}


def _binary(path: Path) -> Mask:
    """A mask of which only zero or not matters; pictures in colour are then masks too."""
    return index.read_mask(path, nonzero=True) if index.format_of(path) == "png_tiff" else index.read_mask(path)


def _union(folder: Path) -> Mask:
    """One binary mask of a folder that holds a mask file an object."""
    if not folder.is_dir():
        raise UnsupportedFile(f"{folder} is no folder", allowed="a folder with one mask file an object")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise MissingFile(f"the folder {folder} holds no mask", allowed="at least one mask file")
    whole = _marked([_binary(path) for path in files], 1, {1: "object"})
    return dataclasses.replace(whole, source=folder)


def _marked(masks: Sequence[Mask], least: int, names: dict[int, str]) -> Mask:
    """Voxels that at least `least` of the masks mark, as class 1."""
    lead = masks[0]
    votes: NDArray[Any] = (lead.array != 0).astype(np.uint16)
    for mask in masks[1:]:
        same_grid(lead, mask, f"{mask.source} and {lead.source}")
        votes += mask.array != 0
    return Mask((votes >= least).astype(np.uint8), lead.geometry, names, lead.source)
