# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The pillar grid: a range cut into square columns, seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STRIDE = 8  # the U-Net halves the image three times


@dataclass(frozen=True)
class Cells:
    """Where points lie in the grid."""

    index: Tensor  # (N,) int64, row-major cell: y * columns + x
    offset: Tensor  # (N, 3), m from the centre of the pillar


@dataclass(frozen=True)
class Grid:
    """Half-open box of points, cut into pillars of the full height.

    `minimum` and `maximum` are the corners (x, y, z) in metres, `voxel` the side of a pillar in metres.
    """

    minimum: tuple[float, float, float]
    maximum: tuple[float, float, float]
    voxel: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.voxel) and self.voxel > 0):
            raise ValueError(f"voxel must be positive, got {self.voxel} m")
        if any(not high > low for low, high in zip(self.minimum, self.maximum, strict=True)):
            raise ValueError(f"range must have minimum < maximum, got {self.minimum} and {self.maximum}")
        for name, cells in (("x", self.columns), ("y", self.rows)):
            if cells % STRIDE or cells == 0:
                raise ValueError(
                    f"range along {name} must be a multiple of {STRIDE} voxels, got {cells} of {self.voxel} m"
                )

    @property
    def columns(self) -> int:
        """Cells along x: the width of the image."""
        return round((self.maximum[0] - self.minimum[0]) / self.voxel)

    @property
    def rows(self) -> int:
        """Cells along y: the height of the image."""
        return round((self.maximum[1] - self.minimum[1]) / self.voxel)

    @property
    def size(self) -> tuple[float, float, float]:
        """Sides of one pillar, m."""
        return (self.voxel, self.voxel, self.maximum[2] - self.minimum[2])

    def inside(self, points: Tensor) -> Tensor:
        """Which points (N, 3) the grid holds: (N,) bool; a point that is not finite is outside."""
        cell = self._cell(points)
        x, y, z = ((cell >= 0) & (cell < self._on(points)[2])).unbind(1)
        return x & y & z

    def cells(self, points: Tensor) -> Cells:
        """Cell and offset of points (N, 3) that are all inside."""
        cell = self._cell(points)
        minimum, size, _ = self._on(points)
        column, row = cell[:, 0].long(), cell[:, 1].long()
        return Cells(row * self.columns + column, points - (minimum + (cell + 0.5) * size))

    def anywhere(self, points: Tensor) -> Tensor:
        """A point (3,) that is inside, like points."""
        minimum, size, count = self._on(points)
        return minimum + (count / 2).floor() * size + size / 2

    def _cell(self, points: Tensor) -> Tensor:
        minimum, size, _ = self._on(points)
        return ((points - minimum) / size).floor()

    def _on(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Minimum, size and counts (3,) like points."""
        return _constants(self, points.device, points.dtype)


@lru_cache(maxsize=64)  # copying three numbers to a device waits for it, so it is done once
def _constants(grid: Grid, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    import torch

    with torch.inference_mode(mode=False):
        values = (grid.minimum, grid.size, (grid.columns, grid.rows, 1))
        minimum, size, count = (torch.tensor(value, dtype=dtype, device=device) for value in values)
    return minimum, size, count
