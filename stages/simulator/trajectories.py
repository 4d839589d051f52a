# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Paths of straight pieces and arcs, speed profiles, and the motion that both make together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP = 0.01  # s between the rows of a trajectory's table


@dataclass(frozen=True)
class Path:
    """Straight pieces and arcs one after the other; straight on before the first and after the last."""

    start: tuple[float, float, float]  # x m, y m, heading rad at arc length 0
    pieces: tuple[tuple[float, float], ...] = ()  # length m, curvature rad/m (left is positive)

    def sample(self, along: NDArray[np.float64]) -> NDArray[np.float64]:
        """x, y (m) and heading (rad), (K, 3), at arc lengths (K,)."""
        out = np.empty((len(along), 3))
        x, y, heading = self.start
        begin = 0.0
        rows = along < 0
        out[rows] = _arc(x, y, heading, 0.0, along[rows])
        for length, curvature in (*self.pieces, (np.inf, 0.0)):
            rows = (along >= begin) & (along < begin + length)
            out[rows] = _arc(x, y, heading, curvature, along[rows] - begin)
            if np.isfinite(length):
                x, y, heading = _arc(x, y, heading, curvature, np.array([length]))[0]
                begin += length
        return out


def _arc(x: float, y: float, heading: float, curvature: float, along: NDArray[np.float64]) -> NDArray[np.float64]:
    if curvature == 0.0:
        dx, dy = along * np.cos(heading), along * np.sin(heading)
    else:
        dx = (np.sin(heading + curvature * along) - np.sin(heading)) / curvature
        dy = (np.cos(heading) - np.cos(heading + curvature * along)) / curvature
    return np.asarray(np.stack([x + dx, y + dy, heading + curvature * along], axis=-1))


def fillet(entry: tuple[float, float, float], exit_: tuple[float, float, float], radius: float) -> Path:
    """Path along a line, through an arc, and along another line.

    Args:
        entry: a point (m) of the first line and its heading (rad).
        exit_: a point (m) of the second line and its heading (rad).
        radius: of the arc, m.

    Returns:
        A path whose arc length 0 is where the arc begins.

    Raises:
        ValueError: if the lines are parallel.
    """
    d0 = np.array([np.cos(entry[2]), np.sin(entry[2])])
    d1 = np.array([np.cos(exit_[2]), np.sin(exit_[2])])
    cross = float(d0[0] * d1[1] - d0[1] * d1[0])
    if abs(cross) < 1e-3:
        raise ValueError(f"entry and exit_ must not be parallel, got headings {entry[2]} and {exit_[2]} rad")
    gap = np.array(exit_[:2]) - np.array(entry[:2])
    corner = np.array(entry[:2]) + d0 * float(gap[0] * d1[1] - gap[1] * d1[0]) / cross
    turn = float(np.arctan2(cross, d0 @ d1))
    begin = corner - d0 * radius * np.tan(abs(turn) / 2)
    return Path((float(begin[0]), float(begin[1]), entry[2]), ((radius * abs(turn), float(np.sign(turn)) / radius),))


@dataclass(frozen=True)
class Speed:
    """Even speed, then even acceleration for a while, then even speed again; never negative."""

    initial: float  # m/s
    acceleration: float = 0.0  # m/s^2
    begin: float = 0.0  # s when the acceleration begins
    end: float = 0.0  # s when it ends

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Speed in m/s, (K,), at times (K,) in s."""
        spell = np.clip(times - self.begin, 0.0, self.end - self.begin)
        return np.asarray(np.maximum(self.initial + self.acceleration * spell, 0.0), dtype=np.float64)


def time_table(duration: float) -> NDArray[np.float64]:
    """Times in s of a trajectory's rows: from half a second before the log to half a second after it."""
    return np.asarray(np.arange(-50, int(np.ceil(duration / STEP)) + 51) * STEP, dtype=np.float64)


def follow(
    path: Path, speed: Speed, times: NDArray[np.float64], anchor: float, along: float = 0.0
) -> NDArray[np.float64]:
    """x, y (m), heading (rad) and metres travelled, (K, 4), of what passes arc length `along` at time `anchor`."""
    v = speed.at(times)
    travelled = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * np.diff(times))])
    places = path.sample(travelled - np.interp(anchor, times, travelled) + along)
    return np.concatenate([places, travelled[:, None]], axis=1)
