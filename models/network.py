# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the networks share: pillars, U-Net, and the gather of pillar features at the points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.clouds import Clouds, take
from models.grid import Grid
from models.heads import GRUHead, LinearHead
from models.pillars import Embedder
from models.unet import FastFlow3DUNet

CHANNELS = 32  # of the published networks' pillars
FIRST_FLOW = 0.1  # share of Xavier's range that the last layer starts with


class PillarFlow(nn.Module):
    """Residual flow of the points of sweep 0 from two or three sweeps, all in the frame of sweep 1.

    A subclass sets `head`. With width c and s sweeps, pillars have c channels and a point sees 2sc: its pillar in
    every sweep and in the decoded image. The third sweep is the one before sweep 0.
    """

    head: LinearHead | GRUHead

    def __init__(self, grid: Grid, width: int = CHANNELS, sweeps: int = 2) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {width}")
        self.grid = grid
        self.embedder = Embedder(grid, width)
        self.sweeps = sweeps
        self.backbone = FastFlow3DUNet(width, sweeps)

    def forward(self, cloud0: Clouds, cloud1: Clouds, before: Clouds | None = None) -> Tensor:
        """Residual flow of cloud 0.

        Args:
            cloud0: B clouds, ego motion removed, all points inside the grid (see `crop`).
            cloud1: B clouds of the next sweep, all points inside the grid.
            before: B clouds of the sweep before, ego motion removed, all inside; for a network of three sweeps alone.

        Returns:
            (N0, 3) m, in the axes of sweep 1's ego frame.
        """
        batch = cloud0.size
        clouds = [cloud0, cloud1] if before is None else [before, cloud0, cloud1]
        if len(clouds) != self.sweeps:
            raise ValueError(f"this network sees {self.sweeps} sweeps, got {len(clouds)}")
        if any(cloud.size != batch for cloud in clouds):
            sizes = " and ".join(str(cloud.size) for cloud in clouds)
            raise ValueError(f"all sweeps must hold the same number of clouds, got {sizes}")
        points = torch.cat([cloud.points for cloud in clouds])
        self._check(points)
        image = torch.cat([cloud.sample + batch * number for number, cloud in enumerate(clouds)])
        cells = self.grid.cells(points)
        pillars = self.embedder(points, cells, image, self.sweeps * batch)
        decoded = self.backbone(pillars)
        first = 0 if before is None else len(before.points)
        rows = slice(first, first + len(cloud0.points))
        index = cells.index[rows] + cloud0.sample * (self.grid.rows * self.grid.columns)
        return self.head(self._gather(pillars, decoded, index), cells.offset[rows])

    def _check(self, points: Tensor) -> None:
        """Look at the points where that does not wait for a device."""
        if points.is_cuda:
            return
        if not points.isfinite().all():
            raise ValueError("points must be finite, got NaN or infinity")
        if not self.grid.inside(points).all():
            raise ValueError(f"points outside the grid {self.grid.minimum} to {self.grid.maximum}: crop them first")

    def _gather(self, pillars: Tensor, decoded: Tensor, index: Tensor) -> Tensor:
        images = [*pillars.chunk(self.sweeps), decoded]
        flat = [image.permute(0, 2, 3, 1).reshape(-1, image.shape[1]) for image in images]
        return torch.cat([image.index_select(0, index) for image in flat], dim=1)


def crop(clouds: Clouds, grid: Grid) -> tuple[Clouds, Tensor]:
    """The points inside the grid, and which they are: (N,) bool."""
    inside = grid.inside(clouds.points)
    return take(clouds, inside), inside


def channels_last(network: PillarFlow) -> PillarFlow:
    """The network with its convolutions' weights laid out for images whose channels lie next to each other."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network


def initialise(network: PillarFlow) -> None:
    """First weights: Xavier-uniform and zero biases for Conv2d and Linear; the rest keeps torch's defaults.

    The last layer starts at a tenth of that, so that flow starts near zero. From flow as long as the features
    happen to be, the static term pushes the layer before it, within a few dozen steps, to where its GELU is zero for
    every point; from there no gradient leads back, and all flow stays zero (measured in narrow networks).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = network.head.decoder[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(FIRST_FLOW)
