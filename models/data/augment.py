# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes of a training pair that keep its flow and labels right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AugmentParameters:
    """How much to change a pair."""

    flip: float  # probability to mirror along x, and the same along y
    rotation: float  # degrees, largest turn about z either way
    scale: float  # share, largest change of size either way
    height: float  # m, largest shift along z either way
    reverse: float  # probability to swap the sweeps; self-supervised training only
    drop: float  # share of the points of each sweep to leave out
    jitter: float  # m, standard deviation of the noise on each coordinate of each point

    def __post_init__(self) -> None:
        for name in ("flip", "reverse"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a probability, got {getattr(self, name)}")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation must be between 0 and 180 degrees, got {self.rotation}")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale must be at least 0 and below 1, got {self.scale}")
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must be at least 0 and below 1, got {self.drop}")
        for name in ("height", "jitter"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)} m")


@dataclass(frozen=True)
class Change:
    """One draw: points become `linear @ p + shift`, flows `linear @ f`, and the sweeps may be swapped."""

    linear: NDArray[np.float32]  # (3, 3)
    shift: NDArray[np.float32]  # (3,) m
    reverse: bool

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Changed points (N, 3) m."""
        return self.flow(points) + self.shift

    def flow(self, flow: NDArray[np.float32]) -> NDArray[np.float32]:
        """Changed flow vectors (N, 3) m.

        By columns, as `models.data.pairs.moved` and for its reason.
        """
        x, y, z = np.ascontiguousarray(flow.T)
        result = np.empty_like(flow)
        for axis, (a, b, c) in enumerate(self.linear):
            total = x * a
            total += y * b
            total += z * c
            result[:, axis] = total
        return result


def draw(parameters: AugmentParameters, random: np.random.Generator) -> Change:
    """Draw a change; the same state of `random` gives the same change."""
    uniform = random.uniform(size=6)
    angle = math.radians(parameters.rotation) * (2 * uniform[0] - 1)
    flip_x, flip_y = np.where(uniform[1:3] < parameters.flip, -1.0, 1.0)
    scale = 1 + parameters.scale * (2 * uniform[3] - 1)
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    linear = scale * turn @ np.diag([flip_x, flip_y, 1.0])
    shift = np.array([0, 0, parameters.height * (2 * uniform[4] - 1)])
    return Change(linear.astype(np.float32), shift.astype(np.float32), bool(uniform[5] < parameters.reverse))


JITTER_LIMIT = 5.0  # standard deviations; the published limit, 0.05 m at 0.01 m


def jittered(
    points: NDArray[np.float32], parameters: AugmentParameters, random: np.random.Generator
) -> NDArray[np.float32]:
    """Points (N, 3) with noise of their own; flow and labels stay those of the point without it."""
    if parameters.jitter == 0:
        return points
    noise = random.standard_normal(points.shape, dtype=np.float32).clip(-JITTER_LIMIT, JITTER_LIMIT)
    return (points + np.float32(parameters.jitter) * noise).astype(np.float32)
