# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Convex solids that rays can hit: boxes, elliptic cylinders, ellipsoids; still or moving evenly through a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

BOX, CYLINDER, ELLIPSOID = 0, 1, 2
NO_OWNER = -1


@dataclass(frozen=True)
class Solids:
    """A table of solids.

    At time tau after the sweep's stamp a solid stands at `centre + tau velocity`, turned about z by `tau yaw_rate`.
    """

    kind: NDArray[np.uint8]  # (S,) BOX, CYLINDER or ELLIPSOID
    centre: NDArray[np.float64]  # (S, 3) m
    rotation: NDArray[np.float64]  # (S, 3, 3) local from solid
    half: NDArray[np.float64]  # (S, 3) half extents along the solid's axes, m
    velocity: NDArray[np.float64]  # (S, 3) m/s
    yaw_rate: NDArray[np.float64]  # (S,) rad/s
    owner: NDArray[np.int32]  # (S,) row of the actor it belongs to, or NO_OWNER
    reflectance: NDArray[np.float64]  # (S,) 0..1

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Solids:
        """The chosen rows."""
        return Solids(*(getattr(self, f.name)[rows] for f in fields(self)))


def concatenate(parts: Sequence[Solids]) -> Solids:
    """One table from several."""
    return Solids(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Solids)))


def still_solids(
    rows: Sequence[tuple[int, tuple[float, float, float], float, tuple[float, float, float], float]],
) -> Solids:
    """Solids that never move.

    Args:
        rows: kind, centre (m), yaw (rad), half extents (m) and reflectance of each.
    """
    n = len(rows)
    yaw = np.array([r[2] for r in rows], dtype=np.float64)
    return Solids(
        kind=np.array([r[0] for r in rows], dtype=np.uint8),
        centre=np.array([r[1] for r in rows], dtype=np.float64).reshape(n, 3),
        rotation=yaw_rotation(yaw),
        half=np.array([r[3] for r in rows], dtype=np.float64).reshape(n, 3),
        velocity=np.zeros((n, 3)),
        yaw_rate=np.zeros(n),
        owner=np.full(n, NO_OWNER, dtype=np.int32),
        reflectance=np.array([r[4] for r in rows], dtype=np.float64),
    )


def yaw_rotation(yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations about z, (..., 3, 3), of angles (...) in rad."""
    out = np.zeros((*yaw.shape, 3, 3))
    out[..., 0, 0] = out[..., 1, 1] = np.cos(yaw)
    out[..., 1, 0] = np.sin(yaw)
    out[..., 0, 1] = -out[..., 1, 0]
    out[..., 2, 2] = 1.0
    return out
