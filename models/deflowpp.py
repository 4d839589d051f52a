# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""DeFlow++ (SeFlow++, Zhang et al. 2025): DeFlow that also sees the sweep before."""

from __future__ import annotations

from models.grid import Grid
from models.heads import GRUHead
from models.network import CHANNELS, PillarFlow, initialise


class DeFlowPP(PillarFlow):
    """Residual flow from three sweeps by a GRU that refines pillar features per point."""

    def __init__(self, grid: Grid, width: int = CHANNELS, iterations: int = 2) -> None:
        super().__init__(grid, width, sweeps=3)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.head = GRUHead(6 * width, iterations)
        initialise(self)
