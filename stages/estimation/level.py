# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The plane of the road around the vehicle, level or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.estimation.registration import thinned
from stages.estimation.shape import near

_CELL = 0.5  # m, so that near points, which are many, say no more
_TRIES = 600  # planes through three points each
_STEEPEST = 40.0  # degrees from level: what is steeper is a wall
_THICK = 0.12  # m from a plane: a point of it
_NARROW = 0.5  # m, standard deviation across their line, of points that are no plane yet: 1.7 m wide
_LEAST = 0.15  # share of the points that a plane must hold to be called the road
_FEWEST = 60  # points of it


@dataclass(frozen=True)
class Level:
    """A plane that much of the near scene lies in.

    Attributes:
        normal: unit, upwards  # (3,)
        height: z of the plane at the origin, m.
    """

    normal: NDArray[np.float64]
    height: float

    @property
    def tilt_deg(self) -> float:
        """Angle to level, degrees."""
        return float(np.degrees(np.arccos(min(1.0, self.normal[2]))))

    @property
    def rise_deg(self) -> tuple[float, float]:
        """How steeply it rises along x and along y, degrees."""
        x, y = np.degrees(np.arctan2(-self.normal[:2], self.normal[2]))
        return float(x), float(y)


def road_plane(points: NDArray[np.floating], farthest: float = 15.0) -> Level | None:
    """The plane with the most of the points (N, 3) around the vehicle that is no wall; None where none has enough.

    Args:
        points: finite points.
        farthest: m from the origin in the plane.
    """
    cells = thinned(near(np.asarray(points, dtype=np.float64), farthest), _CELL)
    if len(cells) < _FEWEST:
        return None
    random = np.random.default_rng(0)  # the same planes for the same points
    corners = cells[random.integers(0, len(cells), (_TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    kept = (length > 1.0) & (np.abs(normals[:, 2]) > np.cos(np.radians(_STEEPEST)) * length)
    if not kept.any():
        return None
    normals = normals[kept] / length[kept, None]
    offsets = np.einsum("ij,ij->i", normals, corners[kept, 0])
    inside = np.abs(cells @ normals.T - offsets) < _THICK
    best = inside[:, int(np.argmax(inside.sum(axis=0)))]
    return _fitted(cells, best) if best.sum() >= max(_FEWEST, _LEAST * len(cells)) else None


def _fitted(cells: NDArray[np.float64], inside: NDArray[np.bool_]) -> Level | None:
    """Least squares over the points of the plane, twice, as the first plane went through three noisy ones.

    None where they lie on one line, about which a plane may turn as it will, or are a wall after all.
    """
    for _ in range(2):
        centre = cells[inside].mean(axis=0)
        _, spread, axes = np.linalg.svd(cells[inside] - centre, full_matrices=False)
        normal = axes[-1] * np.sign(axes[-1, 2])
        if spread[1] < _NARROW * np.sqrt(inside.sum()) or normal[2] < np.cos(np.radians(_STEEPEST)):
            return None
        inside = np.abs((cells - centre) @ normal) < _THICK
    return Level(normal, float(centre @ normal / normal[2]))
