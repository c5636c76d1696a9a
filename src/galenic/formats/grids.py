"""From x, y, z matrices, as other formats keep them, to a Geometry in array order, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import GeometryError
from galenic.values import Geometry

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def from_affine(affine: NDArray, dims: int, *, known: bool = True) -> Geometry:
    """The Geometry of a (4, 4) matrix from index (x, y, z) to LPS mm; dims 2 leaves the third axis out.

    Raises GeometryError when two axes fall together or a length is 0 or not finite.
    """
    axes = np.asarray(affine, float)[:3, :dims][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or not (spacing > 0).all():
        raise GeometryError(f"axes of {spacing.tolist()} mm", allowed="finite lengths above 0")
    direction = axes / spacing
    if np.linalg.matrix_rank(direction, tol=1e-3) < dims:
        raise GeometryError("two axes of the grid point the same way", allowed="axes that span the space")
    return Geometry(spacing, np.asarray(affine, float)[:3, 3], direction, known=known)


def to_affine(geometry: Geometry) -> NDArray:
    """The (4, 4) matrix from index (x, y, z) to LPS mm; a 2D grid gets a unit third axis along its normal."""
    affine = np.eye(4)
    affine[:3, : geometry.dims] = (geometry.direction * geometry.spacing_mm)[:, ::-1]
    if geometry.dims == 2:
        normal = np.cross(geometry.direction[:, 1], geometry.direction[:, 0])
        affine[:3, 2] = normal / np.linalg.norm(normal)
    affine[:3, 3] = geometry.origin_mm
    return affine


def orthogonal(geometry: Geometry) -> bool:
    """Whether the axes stand at right angles (a tilted gantry's do not)."""
    gram = geometry.direction.T @ geometry.direction
    return bool(np.allclose(gram, np.eye(geometry.dims), atol=1e-4))
