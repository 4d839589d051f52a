# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""FastFlow3D (Jund et al., RA-L 2021): pillars, U-Net and a linear head."""

from __future__ import annotations

from models.grid import Grid
from models.heads import LinearHead
from models.network import CHANNELS, PillarFlow, initialise


class FastFlow3D(PillarFlow):
    """Residual flow by one hidden layer per point."""

    def __init__(self, grid: Grid, width: int = CHANNELS) -> None:
        super().__init__(grid, width)
        self.head = LinearHead(4 * width, width)
        initialise(self)
