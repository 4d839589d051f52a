# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""First hits of rays on the ground's height field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.simulator.lidar import Rays
from stages.simulator.world import KERB_HEIGHT, Ground

Float32 = NDArray[np.float32]
STEPS = 40  # of the approach; grazing rays need most
CLOSE = 2e-3  # m above the surface at which a ray has arrived
SAMPLES = 8  # of the kerb between the height of the pavement and that of the road
HALVINGS = 5  # of the interval between two samples


def ground_hits(rays: Rays, ground: Ground, range_m: float) -> Float32:
    """Range of each ray's first hit on the ground, (R,) in m; infinite where there is none within `range_m`."""
    out: Float32 = np.full(len(rays.time), np.inf, dtype=np.float32)
    level = np.hypot(rays.direction[:, 0], rays.direction[:, 1])
    rows = np.flatnonzero(rays.direction[:, 2] < ground.max_slope * level)
    top = _approach(rays, ground, rows, KERB_HEIGHT, np.full(len(rows), 0.5, dtype=np.float32), range_m)
    rows, top = rows[np.isfinite(top)], top[np.isfinite(top)]
    road = _approach(rays, ground, rows, 0.0, top, range_m + 50.0)
    rows, top, road = rows[np.isfinite(road)], top[np.isfinite(road)], road[np.isfinite(road)]
    reached = _kerb(rays, ground, rows, top, road)
    out[rows] = np.where(reached < range_m, reached, np.float32(np.inf))
    return out


def _approach(
    rays: Rays, ground: Ground, rows: NDArray[np.intp], lift: float, start: Float32, range_m: float
) -> Float32:
    """Range at which rays come down to `lift` above the base, (len(rows),): no step can pass the surface."""
    reached = start.copy()
    active = np.arange(len(rows))
    for _ in range(STEPS):
        o, d, t = rays.origin[rows[active]], rays.direction[rows[active]], reached[active]
        above = o[:, 2] + t * d[:, 2] - lift - ground.base(o[:, 0] + t * d[:, 0], o[:, 1] + t * d[:, 1])
        fall = ground.max_slope * np.hypot(d[:, 0], d[:, 1]) - d[:, 2]
        on = (above > CLOSE) & (t < range_m)
        reached[active] = t + np.where(above > CLOSE, above / fall, 0.0).astype(np.float32)
        active = active[on]
        if len(active) == 0:
            break
    reached[active] = np.inf
    reached[reached > range_m] = np.inf
    return _polish(rays, ground, rows, lift, reached)


def _polish(rays: Rays, ground: Ground, rows: NDArray[np.intp], lift: float, reached: Float32) -> Float32:
    """One Newton step from within CLOSE of the surface onto it."""
    good = np.isfinite(reached)
    o, d, t = rays.origin[rows[good]], rays.direction[rows[good]], reached[good]
    x, y = o[:, 0] + t * d[:, 0], o[:, 1] + t * d[:, 1]
    above = o[:, 2] + t * d[:, 2] - lift - ground.base(x, y)
    gx, gy = ground.gradient(x, y)
    fall = np.maximum(gx * d[:, 0] + gy * d[:, 1] - d[:, 2], 1e-2)
    reached[good] = t + above / fall
    return reached


def _kerb(rays: Rays, ground: Ground, rows: NDArray[np.intp], top: Float32, road: Float32) -> Float32:
    """Range between the pavement's height and the road's at which rays first meet pavement, kerb or road."""
    o, d = rays.origin[rows], rays.direction[rows]
    share = np.linspace(0, 1, SAMPLES, dtype=np.float32)
    t = top[:, None] + (road - top)[:, None] * share
    kerb = ground.kerb(o[:, :1] + t * d[:, :1], o[:, 1:2] + t * d[:, 1:2])
    under = kerb >= np.float32(KERB_HEIGHT) * (1 - share)  # (N, SAMPLES); the last always holds
    first = under.argmax(axis=1)
    low, high = share[np.maximum(first - 1, 0)], share[first]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        at = top + (road - top) * middle
        inside = ground.kerb(o[:, 0] + at * d[:, 0], o[:, 1] + at * d[:, 1]) >= KERB_HEIGHT * (1 - middle)
        high, low = np.where(inside, middle, high), np.where(inside, low, middle)
    return np.asarray(top + (road - top) * high, dtype=np.float32)
