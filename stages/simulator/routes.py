# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where traffic goes: along lanes, round corners, on pavements and across the street. Traffic keeps right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.simulator.trajectories import Path, fillet
from stages.simulator.world import Road, World

NO_LIMIT = np.inf


@dataclass(frozen=True)
class Route:
    """A path, where on it the actor is at its anchor time, and how fast it may go."""

    path: Path
    along: float  # m
    limit: float = NO_LIMIT  # m/s


def _lane(road: Road, offset: float, forth: bool, at: float) -> tuple[float, float, float]:
    """A point (m) of a lane and its heading (rad); `offset` is the lane's distance from the centre line."""
    x, y = road.at(at, -offset if forth else offset)
    return x, y, road.heading + (0.0 if forth else np.pi)


def _near_crossing(
    world: World, generator: np.random.Generator, near: tuple[float, float], radius: float
) -> Road | None:
    close = [r for r in world.crossings if abs(r.point[0] - near[0]) < radius]
    return close[int(generator.integers(len(close)))] if close else None


def _straight(
    road: Road, offsets: tuple[float, ...], generator: np.random.Generator, near: tuple[float, float], radius: float
) -> Route:
    at = road.along(*near) + float(generator.uniform(-radius, radius))
    offset = float(generator.choice(offsets))
    return Route(Path(_lane(road, offset, bool(generator.integers(2)), at)), 0.0)


def _turning(
    world: World,
    side: Road,
    generator: np.random.Generator,
    offsets: tuple[float, float, float],
) -> Route:
    """From the main street into a side street or the other way; offsets of main outer, main inner, side lane."""
    forth, out, into = (bool(v) for v in generator.integers(2, size=3))
    turn = 1.0 if forth == out else -1.0  # left is positive
    turn = turn if into else -turn
    right = turn < 0
    main_lane = _lane(world.main, offsets[0] if right else offsets[1], forth, side.point[0])
    side_lane = _lane(side, offsets[2], out, 0.0)
    entry, exit_ = (main_lane, side_lane) if into else (side_lane, main_lane)
    path = fillet(entry, exit_, 6.5 if right else 9.0)
    return Route(path, float(generator.uniform(-10.0, 14.0)), limit=6.0)


def vehicle_route(world: World, generator: np.random.Generator, near: tuple[float, float], radius: float) -> Route:
    """A car's or truck's."""
    side = _near_crossing(world, generator, near, radius)
    what = generator.uniform()
    if side is None or what < 0.68:
        return _straight(world.main, world.main.lanes, generator, near, radius)
    if what < 0.84:
        return _straight(side, side.lanes, generator, near, radius)
    return _turning(world, side, generator, (world.main.lanes[1], world.main.lanes[0], side.lanes[0]))


def cyclist_route(world: World, generator: np.random.Generator, near: tuple[float, float], radius: float) -> Route:
    """A rider's: in the bicycle lanes, sometimes in the traffic."""
    side = _near_crossing(world, generator, near, radius)
    what = generator.uniform()
    if side is not None and what < 0.2:
        return _straight(side, (side.bike_lane,), generator, near, radius)
    if side is not None and what < 0.32:
        return _turning(world, side, generator, (world.main.bike_lane, world.main.lanes[0], side.lanes[0]))
    offsets = (world.main.bike_lane,) * 3 + (world.main.lanes[1],)
    return _straight(world.main, offsets, generator, near, radius)


def pedestrian_route(world: World, generator: np.random.Generator, near: tuple[float, float], radius: float) -> Route:
    """On a pavement, straight or round something; or across the street."""
    side = _near_crossing(world, generator, near, radius)
    road = side if side is not None and generator.uniform() < 0.3 else world.main
    at = road.along(*near) + float(generator.uniform(-radius, radius))
    left = bool(generator.integers(2))
    what, bend, behind, where = generator.uniform(size=4)
    edge = road.half_width + 1.4 + 2.4 * behind
    x, y = road.at(at, edge if left else -edge)
    heading = road.heading + (0.0 if generator.integers(2) else np.pi)
    if what < 0.4:
        return Route(Path((x, y, heading)), 0.0)
    if what < 0.55:
        curvature = (0.3 + 0.5 * bend) * (1 if generator.integers(2) else -1)
        return Route(Path((x, y, heading), ((1.2 / abs(curvature), curvature),)), -1.0 + where)
    if side is not None and generator.uniform() < 0.75:
        at = road.along(side.point[0] + (8.0 if generator.integers(2) else -8.0), 0.0) if road is world.main else at
    across = road.heading + (-np.pi / 2 if left else np.pi / 2) + 0.3 * (bend - 0.5)
    x, y = road.at(at + float(generator.uniform(-1.2, 1.2)), edge if left else -edge)
    return Route(Path((x, y, across)), 2 * edge * where)
