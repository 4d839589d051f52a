# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Who is where when, so that nobody drives through anybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GAP = 0.25  # m left between two actors
EVERY = 10  # rows of a trajectory's table between two checks


class Occupancy:
    """Discs that cover what has been placed, at each checked time."""

    def __init__(self, rows: int) -> None:
        self._times = len(range(0, rows, EVERY))
        self._low = np.empty((0, 2))  # (D, 2) corner of the area a disc sweeps over, m
        self._high = np.empty((0, 2))
        self._centre = np.empty((0, self._times, 2))  # (D, T, 2) m
        self._radius = np.empty(0)  # (D,) m

    def fits(self, motion: NDArray[np.float64], length: float, width: float) -> bool:
        """Whether a body with this motion (K, 4) or (1, 4) and size in m keeps clear of all placed so far."""
        centre, radius = self._discs(motion, length, width)
        reach = radius + GAP
        low, high = centre.min(axis=(0, 1)) - reach, centre.max(axis=(0, 1)) + reach
        near = ((self._low <= high) & (self._high >= low)).all(axis=1)
        apart = self._centre[near][:, None] - centre[None]  # (D, C, T, 2)
        limit = (self._radius[near] + reach)[:, None, None]
        return not bool(((apart**2).sum(axis=-1) < limit**2).any())

    def add(self, motion: NDArray[np.float64], length: float, width: float) -> None:
        """Place a body."""
        centre, radius = self._discs(motion, length, width)
        self._low = np.concatenate([self._low, centre.min(axis=1) - radius])
        self._high = np.concatenate([self._high, centre.max(axis=1) + radius])
        self._centre = np.concatenate([self._centre, centre])
        self._radius = np.concatenate([self._radius, np.full(len(centre), radius)])

    def add_disc(self, x: float, y: float, radius: float) -> None:
        """Place a pole or a trunk."""
        self.add(np.array([[x, y, 0.0, 0.0]]), radius * np.sqrt(2), radius * np.sqrt(2))

    def _discs(self, motion: NDArray[np.float64], length: float, width: float) -> tuple[NDArray[np.float64], float]:
        count = max(1, int(np.ceil(length / width)))
        at = (np.arange(count) + 0.5) / count * length - length / 2
        rows = np.broadcast_to(motion[::EVERY], (self._times, 4)) if len(motion) == 1 else motion[::EVERY]
        ahead = np.stack([np.cos(rows[:, 2]), np.sin(rows[:, 2])], axis=-1)
        centre = rows[None, :, :2] + at[:, None, None] * ahead[None]
        return centre, float(np.hypot(length / count, width)) / 2
