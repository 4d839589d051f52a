# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pillar features: clouds to bird's-eye images (PointPillars with the mean, as FastFlow3D uses it)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.grid import Cells, Grid
from models.norm import BatchNorm1d


class PillarFeatures(nn.Module):
    """Linear, batch norm and ReLU on each point, then the mean over its pillar."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layer = nn.Sequential(
            nn.Linear(9, channels, bias=False), BatchNorm1d(channels, eps=1e-3, momentum=0.01), nn.ReLU()
        )
        self.pfn_layers = nn.ModuleList([layer])

    def forward(self, features: Tensor) -> Tensor:
        """Point features (N, 9) to (N, channels)."""
        layer: Any = self.pfn_layers[0]
        linear, norm = layer[0], layer[1]
        if self.training and len(features) < 2 and not norm.shared:  # no statistics from one point
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            return F.relu((linear(features) - norm.running_mean) * scale + norm.bias)
        return layer(features)


class Embedder(nn.Module):
    """Images of pillars for a batch of clouds.

    Batch-norm statistics in training come from all points of both sweeps of the whole batch at once, and the
    running statistics are updated once a step.
    """

    def __init__(self, grid: Grid, channels: int) -> None:
        super().__init__()
        self.grid = grid
        self.channels = channels
        self.feature_net = PillarFeatures(channels)

    def forward(self, points: Tensor, cells: Cells, image: Tensor, images: int, spare: int = 0) -> Tensor:
        """Canvas of pillar features.

        Args:
            points: (N, 3) m, all inside the grid.
            cells: Their cells.
            image: (N,) the image each point belongs to.
            images: Number of images.
            spare: Pillars behind the last image that points may fall into and that no image shows.

        Returns:
            (images, channels, rows, columns), channels last in memory; empty pillars are 0.
        """
        rows, columns = self.grid.rows, self.grid.columns
        pillar = image * (rows * columns) + cells.index
        ones = torch.ones_like(points[:, :1])
        pillars = images * rows * columns
        total = points.new_zeros(pillars + spare, 4)
        total = total.index_add_(0, pillar, torch.cat([points, ones], dim=1))[pillar]
        count = total[:, 3:]
        features = torch.cat([points, points - total[:, :3] / count, cells.offset], dim=1)
        means = self.feature_net(features) / count
        canvas = means.new_zeros(pillars + spare, self.channels).index_add_(0, pillar, means)
        canvas = canvas[:pillars] if spare else canvas
        return canvas.view(images, rows, columns, self.channels).permute(0, 3, 1, 2)
