# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""First hits of rays on solids.

Each solid is tested only against the rays within the angles under which it is seen: rays are sorted by azimuth, a
solid's azimuth interval is a slice of them, and its elevation interval thins the slice. What is left is one flat
list of pairs, intersected all at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.simulator.lidar import REVOLUTION, Rays
from stages.simulator.solids import BOX, ELLIPSOID, Solids

Float32 = NDArray[np.float32]
NEAREST = 0.3  # m from the sensor within which nothing is hit
SLACK = 2e-3  # rad and m/m by which a solid's angular bounds are widened against rounding
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)


def first_hits(rays: Rays, solids: Solids, range_m: float) -> tuple[Float32, NDArray[np.int32]]:
    """Range and solid of each ray's first hit.

    Returns:
        Ranges (R,) in m, infinite where nothing is hit, and rows of `solids` (R,), -1 there.
    """
    reached: Float32 = np.full(len(rays.time), np.inf, dtype=np.float32)
    hit = np.full(len(rays.time), -1, dtype=np.int32)
    near = np.flatnonzero(_distance(rays, solids) < range_m)
    if len(near) == 0:
        return reached, hit
    ray, solid = _candidates(rays, solids.take(near))
    solid = near[solid]
    distance = _intersect(rays, solids, ray, solid)
    found = distance < range_m
    ray, solid, distance = ray[found], solid[found], distance[found]
    np.minimum.at(reached, ray, distance)
    nearest = distance == reached[ray]
    hit[ray[nearest]] = solid[nearest]
    return reached, hit


def _distance(rays: Rays, solids: Solids) -> NDArray[np.float64]:
    """Lower bound of the horizontal distance from the moving sensor to each solid (S,), m."""
    ends = [(rays.origin[0], 0.0), (rays.origin[-1], REVOLUTION)]
    gaps, drift = [], []
    for origin, time in ends:
        away = solids.centre + time * solids.velocity - origin
        inside = np.abs(np.einsum("sji,sj->si", solids.rotation, away)) - solids.half
        gaps.append(np.hypot(*np.maximum(inside[:, :2], 0.0).T))
        drift.append(away[:, :2])
    return np.asarray(np.minimum(*gaps) - np.hypot(*(drift[1] - drift[0]).T) / 2)


def _candidates(rays: Rays, solids: Solids) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of a ray and a solid that may meet: rows of both."""
    azimuth = np.arctan2(rays.direction[:, 1], rays.direction[:, 0])
    rise = rays.direction[:, 2] / np.hypot(rays.direction[:, 0], rays.direction[:, 1])
    order = np.argsort(azimuth, kind="stable")
    ordered = azimuth[order].astype(np.float64)
    circle = np.concatenate([ordered, ordered + 2 * np.pi])
    left, width, low, high = _angles(rays, solids)
    begin = np.searchsorted(circle, left, side="left")
    end = np.searchsorted(circle, left + width, side="right")
    count = np.minimum(end - begin, len(order))
    solid = np.repeat(np.arange(len(solids)), count)
    place = np.arange(count.sum()) + np.repeat(begin - np.cumsum(count) + count, count)
    place[place >= len(order)] -= len(order)
    slope = rise[order][place]
    seen = (slope >= low.astype(np.float32)[solid]) & (slope <= high.astype(np.float32)[solid])
    return order[place[seen]], solid[seen]


def _angles(rays: Rays, solids: Solids) -> tuple[NDArray[np.float64], ...]:
    """Where each solid is seen: left azimuth (S,) in -pi..pi and width in rad, least and greatest slope of rays."""
    corners = []
    for origin, time in ((rays.origin[0], 0.0), (rays.origin[-1], REVOLUTION)):
        middle = solids.centre + time * solids.velocity - origin
        corners.append(middle[:, None] + np.einsum("sij,sj,cj->sci", solids.rotation, solids.half, _CORNERS))
    seen = np.concatenate(corners, axis=1)  # (S, 16, 3)
    centre = seen.mean(axis=1)
    facing = np.arctan2(centre[:, 1], centre[:, 0])
    aside = np.arctan2(seen[..., 1], seen[..., 0]) - facing[:, None]
    aside = (aside + np.pi) % (2 * np.pi) - np.pi
    margin = SLACK + np.abs(solids.yaw_rate) * REVOLUTION * 0.5
    least, most = aside.min(axis=1) - margin, aside.max(axis=1) + margin
    around = most - least > 0.9 * np.pi
    left = np.where(around, -np.pi, (facing + least + np.pi) % (2 * np.pi) - np.pi)
    width = np.where(around, 2 * np.pi, most - least)
    far = np.hypot(seen[..., 0], seen[..., 1]).max(axis=1)
    near = np.maximum(_distance(rays, solids) - 0.1, 0.05)
    bottom, top = seen[..., 2].min(axis=1) - 0.02, seen[..., 2].max(axis=1) + 0.02
    low = np.where(bottom < 0, bottom / near, bottom / far) - SLACK
    high = np.where(top > 0, top / near, top / far) + SLACK
    return left, width, low, high


def _intersect(rays: Rays, solids: Solids, ray: NDArray[np.intp], solid: NDArray[np.intp]) -> Float32:
    """Range at which each ray enters the solid of its pair, (P,) in m; infinite where it misses."""
    origin, direction = _solid_frame(rays, solids, ray, solid)
    half = solids.half.astype(np.float32).T[:, solid]  # (3, P)
    kind = solids.kind[solid]
    enter: Float32 = np.full(len(ray), -np.inf, dtype=np.float32)
    leave: Float32 = np.full(len(ray), np.inf, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):
            flat = (kind == BOX) if axis < 2 else (kind != ELLIPSOID)
            first, last = _slab(origin[axis], direction[axis], half[axis])
            enter = np.where(flat, np.fmax(enter, first), enter)
            leave = np.where(flat, np.fmin(leave, last), leave)
        round_ = np.flatnonzero(kind != BOX)
        first, last = _round(
            origin[:, round_] / half[:, round_], direction[:, round_] / half[:, round_], kind[round_] == ELLIPSOID
        )
    enter[round_] = np.fmax(enter[round_], first)
    leave[round_] = np.fmin(leave[round_], last)
    return np.where((enter <= leave) & (enter > NEAREST), enter, np.float32(np.inf))


def _solid_frame(rays: Rays, solids: Solids, ray: NDArray[np.intp], solid: NDArray[np.intp]) -> tuple[Float32, Float32]:
    """Origin and direction of each pair's ray in the axes of its solid, at the ray's time: (3, P) each."""
    time = rays.time[ray]
    away = rays.origin.T[:, ray] - solids.centre.astype(np.float32).T[:, solid]
    away -= solids.velocity.astype(np.float32).T[:, solid] * time
    ahead = rays.direction.T[:, ray]
    turns = np.flatnonzero(solids.yaw_rate[solid] != 0.0)
    angle = solids.yaw_rate.astype(np.float32)[solid[turns]] * time[turns]
    c, s = np.cos(angle), np.sin(angle)
    for vector in (away, ahead):
        x, y = vector[0, turns], vector[1, turns]
        vector[0, turns], vector[1, turns] = c * x + s * y, c * y - s * x
    columns = solids.rotation.astype(np.float32).transpose(1, 2, 0)  # (3, 3, S)
    origin, direction = np.empty_like(away), np.empty_like(ahead)
    for axis in range(3):
        r = [columns[row, axis][solid] for row in range(3)]
        origin[axis] = r[0] * away[0] + r[1] * away[1] + r[2] * away[2]
        direction[axis] = r[0] * ahead[0] + r[1] * ahead[1] + r[2] * ahead[2]
    return origin, direction


def _slab(origin: Float32, direction: Float32, half: Float32) -> tuple[Float32, Float32]:
    inverse = np.float32(1.0) / direction
    a, b = (-half - origin) * inverse, (half - origin) * inverse
    return np.fmin(a, b), np.fmax(a, b)


def _round(origin: Float32, direction: Float32, ball: NDArray[np.bool_]) -> tuple[Float32, Float32]:
    """Where rays (3, P), scaled so that the radius is 1, enter and leave a ball or else an endless cylinder."""
    upright = ball.astype(np.float32)
    a = direction[0] ** 2 + direction[1] ** 2 + upright * direction[2] ** 2
    b = origin[0] * direction[0] + origin[1] * direction[1] + upright * origin[2] * direction[2]
    nearest = -b / a  # the form about the nearest point keeps float32 exact at a distance
    x, y, z = (o + nearest * d for o, d in zip(origin, direction, strict=True))
    depth = np.float32(1.0) - x**2 - y**2 - upright * z**2
    chord = np.sqrt(depth / a)
    missed = ~(depth >= 0)
    return np.where(missed, np.float32(np.inf), nearest - chord), np.where(missed, -np.float32(np.inf), nearest + chord)
