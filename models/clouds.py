# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ragged batches of point clouds: concatenated, with offsets, never padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Clouds(NamedTuple):
    """A batch of B point clouds, one after the other.

    `offsets` stays on the CPU wherever the points are, so that sizes are known without waiting for a device.
    """

    points: Tensor  # (N, 3) float32, m
    sample: Tensor  # (N,) int64, the cloud a point belongs to, on the device of the points
    offsets: Tensor  # (B+1,) int64, CPU

    @property
    def size(self) -> int:
        """Number of clouds."""
        return len(self.offsets) - 1

    def to(self, device: torch.device) -> Clouds:
        """The same clouds with points on `device`."""
        points = self.points.to(device, non_blocking=True)
        return Clouds(points, self.sample.to(device, non_blocking=True), self.offsets)

    def pin_memory(self) -> Clouds:
        """The same clouds in page-locked memory."""
        return Clouds(self.points.pin_memory(), self.sample.pin_memory(), self.offsets)


def concatenate(clouds: Sequence[Tensor]) -> Clouds:
    """Join clouds (n_b, 3) on the CPU into one ragged batch.

    Raises:
        ValueError: There is no cloud, or one is not (n, 3).
    """
    if not clouds:
        raise ValueError("a batch needs at least one cloud, got none")
    for cloud in clouds:
        if cloud.ndim != 2 or cloud.shape[1] != 3:
            raise ValueError(f"a cloud must be (n, 3), got {tuple(cloud.shape)}")
    offsets = ragged_offsets([len(cloud) for cloud in clouds])
    return Clouds(torch.cat(list(clouds)), sample_of(offsets), offsets)


def ragged_offsets(lengths: Sequence[int]) -> Tensor:
    """Offsets (B+1,) of B pieces laid one after the other."""
    return torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0)


def sample_of(offsets: Tensor) -> Tensor:
    """Piece number (N,) of every row of a ragged batch."""
    return torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())


def take(clouds: Clouds, rows: Tensor) -> Clouds:
    """The clouds reduced to `rows`: (N,) bool mask; waits for the device where that is not the CPU."""
    sample = clouds.sample[rows]
    lengths = torch.bincount(sample, minlength=clouds.size).cpu()
    return Clouds(clouds.points[rows], sample, ragged_offsets(lengths.tolist()))
