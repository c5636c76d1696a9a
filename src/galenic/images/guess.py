"""Which columns of a bare table hold pictures to learn from, and which of them are rather drawn masks.

A second rater's outlines beside the truth would tell the answer, so a column that looks like a mask never becomes an
input unasked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galenic.core.errors import GalenicError
from galenic.formats import index
from galenic.values import Image

FEW = 32  # distinct values; a picture of 8 bits has more, a label map seldom
_LOOKED_AT = 3
_SAMPLED = 1 << 18
_BEGINNINGS = ("annot", "contour", "delineat", "label", "manual", "mask", "outline", "rater", "reader", "seg", "truth")
_WORDS = {"gt", "roi", "rois"}


def recognises(cell: str, root: Path) -> bool:
    """Whether a cell names an image file or a folder of DICOM images; see index.holds_image."""
    return bool(cell.strip()) and index.holds_image(root / cell.strip())


def doubt(column: str, cells: Sequence[str], root: Path) -> str:
    """Why a column of images must not become an input unasked: its name or its first files say mask. Else ""."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower())
    if any(word in _WORDS or word.startswith(_BEGINNINGS) for word in words):
        return "its name is that of a drawn mask"
    found: set[tuple[float, ...]] = set()
    for cell in cells[:_LOOKED_AT]:
        try:
            found |= _values(index.read_image(root / cell.strip()))
        except GalenicError:  # told by the reader, once the column is an input
            return ""
        if len(found) > FEW:
            return ""
    return f"its files hold whole numbers of {len(found)} sorts alone, as masks do" if found else ""


def _values(image: Image) -> set[tuple[float, ...]]:
    """Distinct values (colours) of a sample of an image; one beyond FEW where a value is not whole."""
    flat = image.array.reshape(len(image.array), -1)
    some = flat[:, :: max(1, flat.shape[1] // _SAMPLED)].astype(np.float64)
    if not np.isfinite(some).all() or (some != np.rint(some)).any():
        return {(float(at),) for at in range(FEW + 1)}
    return {tuple(colour) for colour in np.unique(some, axis=1).T.tolist()}
