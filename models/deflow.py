# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""DeFlow (Zhang et al., ICRA 2024): pillars, U-Net and a GRU head."""

from __future__ import annotations

from models.grid import Grid
from models.heads import GRUHead
from models.network import CHANNELS, PillarFlow, initialise


class DeFlow(PillarFlow):
    """Residual flow by a GRU that refines pillar features per point."""

    def __init__(self, grid: Grid, width: int = CHANNELS, iterations: int = 4) -> None:
        super().__init__(grid, width)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.head = GRUHead(4 * width, iterations)
        initialise(self)
