# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truth, or a teacher's flow, for the supervised losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SWEEP_PERIOD = 0.1  # s; lidars spin at 10 Hz, and the published thresholds are speeds of that step


@dataclass(frozen=True)
class Truth:
    """Per point of cloud 0 of a batch."""

    flow: Tensor  # (N0, 3) residual flow, m
    valid: Tensor  # (N0,) bool, which points count
    category: Tensor  # (N0,) uint8, 0 background

    def to(self, device: torch.device) -> Truth:
        """The same on `device`."""
        moved = [t.to(device, non_blocking=True) for t in (self.flow, self.valid, self.category)]
        return Truth(*moved)

    def pin_memory(self) -> Truth:
        """The same in page-locked memory."""
        return Truth(self.flow.pin_memory(), self.valid.pin_memory(), self.category.pin_memory())
