# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the networks share: pillars, U-Net, and the gather of pillar features at the points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.architecture import Precision
from models.clouds import Clouds, take
from models.grid import Cells, Grid
from models.heads import GRUHead, LinearHead
from models.pillars import Embedder
from models.unet import FastFlow3DUNet

CHANNELS = 32  # of the published networks' pillars
PIECE = 262_144  # points of a piece of the head in training on a GPU
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
        self.precision: Precision = "fp32"
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
        clouds = self._in_order(cloud0, cloud1, before)
        points = torch.cat([cloud.points for cloud in clouds])
        self._check(points)
        cells = self.grid.cells(points)
        pillars = self.embedder(points, cells, _images(clouds), self.sweeps * cloud0.size)
        rows = _rows_of_sweep0(cloud0, before)
        index = cells.index[rows] + cloud0.sample * (self.grid.rows * self.grid.columns)
        return self._flow(pillars, index, cells.offset[rows])

    def everywhere(self, cloud0: Clouds, cloud1: Clouds, before: Clouds | None = None) -> tuple[Tensor, Tensor]:
        """Residual flow where points may lie outside the grid; nothing waits for the device. In evaluation alone.

        Returns:
            (N0, 3) m, 0 outside the grid, and which points are inside (N0,).
        """
        clouds = self._in_order(cloud0, cloud1, before)
        points = torch.cat([cloud.points for cloud in clouds])
        inside = self.grid.inside(points)
        cells = self.grid.cells(torch.where(inside[:, None], points, self.grid.anywhere(points)))
        images = self.sweeps * cloud0.size
        size = self.grid.rows * self.grid.columns
        image = _images(clouds)
        outside = Cells(torch.where(inside, cells.index, (images - image) * size), cells.offset)
        pillars = self.embedder(points.nan_to_num(0.0, 0.0, 0.0), outside, image, images, spare=1)
        rows = _rows_of_sweep0(cloud0, before)
        flow = self._flow(pillars, cells.index[rows] + cloud0.sample * size, cells.offset[rows])
        return torch.where(inside[rows, None], flow, 0.0), inside[rows]

    def _in_order(self, cloud0: Clouds, cloud1: Clouds, before: Clouds | None) -> list[Clouds]:
        """The sweeps from the earliest to the last."""
        clouds = [cloud0, cloud1] if before is None else [before, cloud0, cloud1]
        if len(clouds) != self.sweeps:
            raise ValueError(f"this network sees {self.sweeps} sweeps, got {len(clouds)}")
        if any(cloud.size != cloud0.size for cloud in clouds):
            sizes = " and ".join(str(cloud.size) for cloud in clouds)
            raise ValueError(f"all sweeps must hold the same number of clouds, got {sizes}")
        return clouds

    def _flow(self, pillars: Tensor, index: Tensor, offset: Tensor) -> Tensor:
        """Flow of points by the index (N,) of their pillar in an image of the batch and their offset (N, 3)."""
        if self.precision == "fp32":
            return self._points(self._gather(pillars, self.backbone(pillars), index), offset)
        with torch.autocast(pillars.device.type, torch.bfloat16):
            decoded = self.backbone(pillars.to(torch.bfloat16))
        return self._points(self._gather(pillars, decoded, index), offset)

    def _points(self, features: Tensor, offset: Tensor) -> Tensor:
        """The head; in training on a GPU in pieces that are computed again in the backward pass.

        A GRU keeps a dozen values of each feature of each point and iteration: at sixteen sweeps more than the U-Net.
        """
        if not (features.is_cuda and torch.is_grad_enabled()):
            return self.head(features, offset)
        return in_pieces(self.head, features, offset, PIECE)

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
        return torch.cat([_rows_of(image, index) for image in flat], dim=1)


def _images(clouds: list[Clouds]) -> Tensor:
    """The image of each point: those of the first sweep, then those of the next."""
    return torch.cat([cloud.sample + cloud.size * number for number, cloud in enumerate(clouds)])


def _rows_of_sweep0(cloud0: Clouds, before: Clouds | None) -> slice:
    first = 0 if before is None else len(before.points)
    return slice(first, first + len(cloud0.points))


def _rows_of(image: Tensor, index: Tensor) -> Tensor:
    """Rows `index` of an image (M, C) in float32."""
    if image.dtype != torch.bfloat16:
        return image.index_select(0, index)
    rows: Tensor = _WideGather.apply(image, index)  # type: ignore[no-untyped-call]
    return rows


class _WideGather(torch.autograd.Function):
    """Rows of a bfloat16 image in float32; gradients are added in float32, for pillars of hundreds of points."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape, ctx.dtype = image.shape, image.dtype
        return image.index_select(0, index).float()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return upstream.new_zeros(ctx.shape).index_add_(0, index, upstream).to(ctx.dtype), None


def in_pieces(head: nn.Module, features: Tensor, offset: Tensor, size: int) -> Tensor:
    """A head on features (N, C) and offsets (N, 3), `size` points at a time, each kept for backward by input alone."""
    pieces = zip(torch.split(features, size), torch.split(offset, size), strict=True)
    return torch.cat([checkpoint(head, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces])


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
    with torch.no_grad():
        network.head.get_parameter("decoder.2.weight").mul_(FIRST_FLOW)
