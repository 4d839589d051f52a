# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What stands along the streets: buildings, garden walls, trees, poles, shelters."""

from __future__ import annotations

import numpy as np

from stages.simulator.occupancy import Occupancy
from stages.simulator.solids import BOX, CYLINDER, ELLIPSOID, Solids, still_solids
from stages.simulator.world import SIDEWALK, Road, World

SUNK = 1.5  # m that scenery reaches below the ground at its middle, so that no slope shows a gap
ASIDE = 75.0  # m that the cross streets are lined on both sides of the main street
BEYOND = 110.0  # m that the main street is lined before and after the ego car's way

Row = tuple[int, tuple[float, float, float], float, tuple[float, float, float], float]


def build_scenery(world: World, generator: np.random.Generator, reach: float, occupancy: Occupancy) -> Solids:
    """Solids without boxes.

    Args:
        world: streets and ground.
        generator: of the log.
        reach: how far the ego car comes along the main street, m.
        occupancy: where trunks and poles are placed.
    """
    rows: list[Row] = []
    for road in world.ground.roads:
        begin, end = (-BEYOND, reach + BEYOND) if road is world.main else (-ASIDE, ASIDE)
        for side in (-1.0, 1.0):
            rows += _frontage(world, road, side, begin, end, generator)
            rows += _kerbside(world, road, side, begin, end, generator, occupancy)
    return still_solids(rows)


def _upright(
    world: World,
    x: float,
    y: float,
    yaw: float,
    kind: int,
    half: tuple[float, float],
    bottom: float,
    top: float,
    reflectance: float,
) -> Row:
    """A solid from `bottom` to `top` above the ground, m."""
    ground = float(world.ground.height(np.array(x), np.array(y)))
    return kind, (x, y, ground + (bottom + top) / 2), yaw, (*half, (top - bottom) / 2), reflectance


def _frontage(
    world: World, road: Road, side: float, begin: float, end: float, generator: np.random.Generator
) -> list[Row]:
    """Buildings side by side, with gaps that a wall may close."""
    rows: list[Row] = []
    at = begin
    while at < end:
        front, depth, height, setback = generator.uniform([7.0, 8.0, 4.5, 0.2], [16.0, 13.0, 18.0, 2.0])
        gap, shade, wall = generator.uniform([0.0, 0.15, 0.0], [5.0, 0.6, 1.0])
        offset = side * (road.half_width + SIDEWALK + setback + depth / 2)
        x, y = road.at(at + front / 2, offset)
        if _clear(world, x, y, road.heading, front / 2, depth / 2):
            rows.append(_upright(world, x, y, road.heading, BOX, (front / 2, depth / 2), -SUNK, height, shade))
        edge = side * (road.half_width + SIDEWALK + 0.3)
        x, y = road.at(at + front + gap / 2, edge)
        if gap > 1.0 and wall < 0.7 and _clear(world, x, y, road.heading, gap / 2, 0.15):
            rows.append(_upright(world, x, y, road.heading, BOX, (gap / 2, 0.12), -SUNK, 0.8 + 2 * wall, 0.4))
        at += front + gap
    return rows


def _clear(world: World, x: float, y: float, yaw: float, half_length: float, half_width: float) -> bool:
    """Whether a rectangle keeps off all streets and pavements."""
    u, v = np.meshgrid(np.linspace(-1, 1, 9) * half_length, np.linspace(-1, 1, 5) * half_width)
    px, py = x + u * np.cos(yaw) - v * np.sin(yaw), y + u * np.sin(yaw) + v * np.cos(yaw)
    return bool((world.ground.kerb_distance(px, py) > SIDEWALK - 0.01).all())


def _kerbside(
    world: World,
    road: Road,
    side: float,
    begin: float,
    end: float,
    generator: np.random.Generator,
    occupancy: Occupancy,
) -> list[Row]:
    """Trees, lamp posts, sign posts, cabinets and shelters in a strip behind the kerb."""
    rows: list[Row] = []
    at = begin + float(generator.uniform(0, 6))
    while at < end:
        x, y = road.at(at, side * (road.half_width + float(generator.uniform(0.5, 0.9))))
        others = [r for r in world.ground.roads if r is not road]
        free = all(abs(float(r.offset(np.array(x), np.array(y)))) > r.half_width + 3.5 for r in others)
        what = float(generator.uniform())
        if free:
            rows += _furniture(world, x, y, road.heading, side, what, generator, occupancy)
        at += float(generator.uniform(5.5, 11.0))
    return rows


def _furniture(
    world: World,
    x: float,
    y: float,
    heading: float,
    side: float,
    what: float,
    generator: np.random.Generator,
    occupancy: Occupancy,
) -> list[Row]:
    a, b, c = generator.uniform(size=3)
    if what < 0.5:
        radius, crown = 0.1 + 0.14 * a, 1.3 + 1.1 * b
        occupancy.add_disc(x, y, radius + 0.1)
        high = 2.7 + 0.8 * c
        return [
            _upright(world, x, y, 0.0, CYLINDER, (radius, radius), -SUNK, high + 0.8, 0.3),
            _upright(world, x, y, 0.0, ELLIPSOID, (crown, crown * (0.8 + 0.3 * a)), high, high + 1.6 * crown, 0.35),
            _upright(
                world,
                x + 0.5 * b,
                y - 0.4 * c,
                0.0,
                ELLIPSOID,
                (0.7 * crown, 0.7 * crown),
                high + crown,
                high + 2.4 * crown,
                0.35,
            ),
        ]
    if what < 0.9:
        radius = 0.06 + 0.07 * a
        occupancy.add_disc(x, y, radius + 0.1)
        rows = [_upright(world, x, y, 0.0, CYLINDER, (radius, radius), -SUNK, 3.0 + 5.0 * b, 0.5)]
        if c < 0.5:
            rows.append(_upright(world, x, y, heading, BOX, (0.05, 0.35), 2.3, 2.3 + 0.4 + 0.5 * b, 0.9))
        return rows
    occupancy.add_disc(x, y, 0.75)
    return [_upright(world, x, y, heading, BOX, (0.4 + 0.25 * a, 0.22), -SUNK, 1.1 + 0.5 * b, 0.5)]
