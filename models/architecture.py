# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which network, as parameters: enough to build it again from a weights file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from models.grid import Grid

if TYPE_CHECKING:
    from models.network import PillarFlow


Kind = Literal["deflow", "fastflow3d", "deflowpp"]
Precision = Literal["fp32", "bf16"]  # of the U-Net; coordinates, head, loss and flow are float32 always


@dataclass(frozen=True)
class Architecture:
    """A network and its grid; `range` is x, y, z minimum then maximum in the ego frame, m."""

    kind: Kind
    range: tuple[float, float, float, float, float, float]  # m
    voxel: float  # m
    width: int  # channels of a pillar
    iterations: int  # of the GRU, DeFlow and DeFlow++ only

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind}")
        self.grid()
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {self.width}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")

    @property
    def sweeps(self) -> int:
        """How many sweeps the network sees at a time."""
        return 3 if self.kind == "deflowpp" else 2

    def grid(self) -> Grid:
        """The pillar grid."""
        return Grid(self.range[:3], self.range[3:], self.voxel)

    def build(self) -> PillarFlow:
        """A fresh network with random weights."""
        from models.deflow import DeFlow
        from models.deflowpp import DeFlowPP
        from models.fastflow3d import FastFlow3D

        if self.kind == "deflow":
            return DeFlow(self.grid(), self.width, self.iterations)
        if self.kind == "deflowpp":
            return DeFlowPP(self.grid(), self.width, self.iterations)
        return FastFlow3D(self.grid(), self.width)
