"""What files become: plain frozen values with units and geometry, on numpy alone.

Space: arrays are indexed in the order slice, row, column (3D) or row, column (2D). A `Geometry` maps an index in
that order to millimetres in DICOM patient coordinates (LPS: towards Left, Posterior, Superior).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import GeometryError, ValueProblem

FloatArray = NDArray[np.floating]


def _frozen(array: NDArray) -> NDArray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where a grid lies in space.

    spacing_mm: (d,) distance between neighbours along each array axis, d = 2 or 3.
    origin_mm:  (3,) LPS position of the centre of the first element.
    direction:  (3, d) unit vectors, one column an array axis.
    known:      False where the file told no spacing (most PNG); spacing is then 1 and is no measurement.
    """

    spacing_mm: FloatArray
    origin_mm: FloatArray
    direction: FloatArray
    known: bool = True

    def __post_init__(self) -> None:
        spacing = np.asarray(self.spacing_mm, float)
        direction = np.asarray(self.direction, float)
        if spacing.ndim != 1 or len(spacing) not in (2, 3) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
            raise GeometryError(f"spacing {self.spacing_mm!r}", allowed="2 or 3 positive finite numbers in mm")
        if direction.shape != (3, len(spacing)) or not np.isfinite(direction).all():
            raise GeometryError(f"direction of shape {direction.shape}", allowed=f"finite, shape (3, {len(spacing)})")
        object.__setattr__(self, "spacing_mm", _frozen(spacing))
        object.__setattr__(self, "origin_mm", _frozen(np.asarray(self.origin_mm, float).reshape(3)))
        object.__setattr__(self, "direction", _frozen(direction))

    @classmethod
    def plain(cls, dims: int, spacing_mm: float | None = None) -> Geometry:
        """An axis-aligned grid at the origin; with no spacing given it is 1 and marked unknown."""
        axes = np.eye(3)[:, ::-1][:, 3 - dims :]  # array order is slice, row, column; LPS is x, y, z
        return cls(np.full(dims, spacing_mm or 1.0), np.zeros(3), axes, known=spacing_mm is not None)

    @property
    def dims(self) -> int:
        return len(self.spacing_mm)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres (3D only)."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def affine(self) -> FloatArray:
        """(4, d + 1) homogeneous matrix from array index to LPS mm."""
        matrix = np.zeros((4, self.dims + 1))
        matrix[:3, :-1] = self.direction * self.spacing_mm
        matrix[:3, -1] = self.origin_mm
        matrix[3, -1] = 1.0
        return matrix

    def to_mm(self, index: FloatArray) -> FloatArray:
        """LPS positions (n, 3) of array indices (n, d)."""
        return np.asarray(index, float) @ (self.direction * self.spacing_mm).T + self.origin_mm

    def close_to(self, other: Geometry, tolerance_mm: float = 1e-2) -> bool:
        """Same axes and origin; where neither file told a spacing, grids are compared by shape alone."""
        if self.dims != other.dims:
            return False
        if not (self.known and other.known):
            return True
        return bool(np.allclose(self.affine(), other.affine(), atol=tolerance_mm, rtol=1e-4))


@dataclass(frozen=True, eq=False)
class Image:
    """A picture or volume: array [channel, *space], with unit and geometry.

    modality: "CT", "MR", "US", "XR", "OP" (DICOM's terms) or "" where the file does not tell.
    unit: "HU" for CT after rescale, else "" (arbitrary).
    source: the file or folder it was read from; series_uid where it was DICOM.
    """

    array: NDArray
    geometry: Geometry
    modality: str = ""
    unit: str = ""
    channels: tuple[str, ...] = ()
    source: Path | None = None
    series_uid: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim - 1 != self.geometry.dims:
            raise GeometryError(
                f"an image array of shape {self.array.shape} with a {self.geometry.dims}-dimensional geometry",
                allowed="[channel, row, column] or [channel, slice, row, column]",
            )
        object.__setattr__(self, "array", _frozen(self.array))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the grid, without the channels."""
        return tuple(self.array.shape[1:])


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map: integer array [*space] on a grid; `names` gives each value's name, 0 is background."""

    array: NDArray
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)
    source: Path | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != self.geometry.dims:
            raise GeometryError(
                f"a mask of shape {self.array.shape} with a {self.geometry.dims}-dimensional geometry",
                allowed="one value a grid element, no channel axis",
            )
        if not np.issubdtype(self.array.dtype, np.integer):
            raise ValueProblem(f"a mask of type {self.array.dtype}", allowed="integers, one a class")
        object.__setattr__(self, "array", _frozen(self.array))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each named class in millilitres; in mm² / 1000 would mean nothing, so 3D only."""
        if self.geometry.dims != 3:
            raise GeometryError("volumes of a 2D mask", allowed="3D masks")
        counts = np.bincount(self.array.ravel().astype(np.int64), minlength=max(self.names, default=0) + 1)
        return {name: float(counts[value]) * self.geometry.voxel_ml for value, name in self.names.items() if value}


@dataclass(frozen=True)
class Text:
    """Words of a case, normalised as `texts.read.clean` does: Unicode NFKC, no control characters but line ends.

    language: BCP 47 primary tag such as "en", as the task says; "" unknown. source: the column it was read from.
    cut: characters left out at the end because the text was too long; 0 where it is whole.
    """

    text: str
    language: str = ""
    source: str = ""
    cut: int = 0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueProblem("a text without a word", allowed="words; a case without them lacks the field")
        if self.cut < 0:
            raise ValueProblem(f"{self.cut} characters cut", allowed="0 or more")


@dataclass(frozen=True, eq=False)
class Series:
    """What was measured of one case over time: an irregular history, or the samples of a waveform.

    times_hours: (n,) since the case's start, each later than the one before.
    values: [n, variable] float64, NaN where a variable was not measured at that time.
    variables, units: a name and a unit a column; a unit is "" where nothing tells it.
    rate_hz: samples a second of a waveform, 0 for an irregular history.
    notes: what reading it had to mend or found wrong, a sentence each.
    patient: whom the file names as its subject, such as "Patient/123"; "" where it names nobody.
    """

    times_hours: FloatArray
    values: FloatArray
    variables: tuple[str, ...]
    units: tuple[str, ...] = ()
    rate_hz: float = 0.0
    source: Path | None = None
    notes: tuple[str, ...] = ()
    patient: str = ""

    def __post_init__(self) -> None:
        times = np.asarray(self.times_hours, np.float64)
        values = np.asarray(self.values, np.float64)
        units = tuple(self.units) or ("",) * len(self.variables)
        if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueProblem("times that are not finite and rising", allowed="hours, each later than the one before")
        if values.shape != (len(times), len(self.variables)):
            raise ValueProblem(
                f"a series of {len(times)} times and {len(self.variables)} variables with values of shape "
                f"{values.shape}",
                allowed="one row a time, one column a variable",
            )
        if np.isinf(values).any():
            raise ValueProblem("infinite values in a series", allowed="finite numbers, NaN where nothing was measured")
        if len(set(self.variables)) != len(self.variables) or len(units) != len(self.variables):
            raise ValueProblem(
                f"the variables {', '.join(self.variables)} with {len(units)} units",
                allowed="different names, a unit each",
            )
        if not (np.isfinite(self.rate_hz) and self.rate_hz >= 0):
            raise ValueProblem(f"{self.rate_hz} samples a second", allowed="a positive rate; 0 for a history")
        object.__setattr__(self, "times_hours", _frozen(times))
        object.__setattr__(self, "values", _frozen(values))
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "units", units)

    @classmethod
    def waveform(
        cls, values: FloatArray, rate_hz: float, variables: tuple[str, ...], units: tuple[str, ...] = (),
        source: Path | None = None, notes: tuple[str, ...] = (),
    ) -> Series:  # fmt: skip
        """Samples [n, channel] taken `rate_hz` times a second from the case's start on."""
        if not (np.isfinite(rate_hz) and rate_hz > 0):
            raise ValueProblem(f"{rate_hz} samples a second", allowed="a positive rate")
        times = np.arange(len(values)) / (rate_hz * 3600.0)
        return cls(times, values, variables, units, float(rate_hz), source, notes)

    @property
    def measured(self) -> bool:
        """True where there is any value."""
        return bool(np.isfinite(self.values).any())
