# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotated things that stand still: parked cars, people waiting, bicycles, signs, bollards, cones."""

from __future__ import annotations

import numpy as np

from stages.simulator import bodies
from stages.simulator.actors import Actor
from stages.simulator.bodies import Body, Maker
from stages.simulator.parameters import TrafficParameters
from stages.simulator.scenery import BEYOND
from stages.simulator.traffic import SPELL, Street
from stages.simulator.world import Road

PLACE = 6.4  # m of a parking place
SMALL: tuple[Maker, ...] = (bodies.bicycle, bodies.sign, bodies.bollard, bodies.cone)


def parked_cars(
    street: Street, parameters: TrafficParameters, generator: np.random.Generator, reach: float
) -> list[Actor]:
    """Cars along the main street's kerbs, clear of the corners; some are vans and trucks."""
    road = street.world.main
    actors: list[Actor] = []
    for side in (-1.0, 1.0):
        for at in np.arange(-BEYOND * 0.7, reach + BEYOND * 0.7, PLACE):
            taken, kind, along, across, turn = generator.uniform(size=5)
            body = bodies.truck(generator) if kind < 0.04 else bodies.car(generator)
            if taken > parameters.parked_share or not _off_corners(street, road, float(at)):
                continue
            x, y = road.at(float(at) + 0.5 * along, side * (road.parking + 0.2 * (across - 0.5)))
            heading = (np.pi if side > 0 else 0.0) + 0.06 * (turn - 0.5)
            actors += _stand(street, body, x, y, heading)
    return actors


def standing_people(street: Street, parameters: TrafficParameters, generator: np.random.Generator) -> list[Actor]:
    """Pedestrians who wait on the pavement."""
    duration = float(street.times[-1]) - 0.5
    wanted = parameters.standing * max(1, int(np.ceil(duration / SPELL)))
    middle = street.ego.middle()
    actors: list[Actor] = []
    for _ in range(20 * wanted):
        if len(actors) == wanted:
            break
        body = bodies.pedestrian(generator)
        at, behind, heading = generator.uniform([-1, 1.2, -np.pi], [1, 3.9, np.pi])
        row = int(generator.integers(len(middle)))
        offset = (street.world.main.half_width + behind) * float(generator.choice([-1.0, 1.0]))
        x = float(middle[row, 0] + at * parameters.radius_m)
        actors += _stand(street, body, x, offset, heading)
    return actors


def small_things(street: Street, generator: np.random.Generator, reach: float) -> list[Actor]:
    """Bicycles, signs, bollards and cones near the kerb."""
    road = street.world.main
    actors: list[Actor] = []
    for side in (-1.0, 1.0):
        at = -BEYOND * 0.6
        while at < reach + BEYOND * 0.6:
            body = SMALL[int(generator.choice(len(SMALL), p=[0.35, 0.2, 0.3, 0.15]))](generator)
            behind, heading = generator.uniform([0.35, -0.5], [0.6, 0.5])
            x, y = road.at(at, side * (road.half_width + behind))
            if _off_corners(street, road, at):
                actors += _stand(street, body, x, y, heading)
            at += float(generator.uniform(4.0, 14.0))
    return actors


def _off_corners(street: Street, road: Road, at: float) -> bool:
    x, y = road.at(at, 0.0)
    others = [r for r in street.world.ground.roads if r is not road]
    return all(abs(float(r.offset(np.array(x), np.array(y)))) > r.half_width + 9.0 for r in others)


def _stand(street: Street, body: Body, x: float, y: float, heading: float) -> list[Actor]:
    motion = np.array([[x, y, heading, 0.0]])
    if not street.occupancy.fits(motion, body.size[0], body.size[1]):
        return []
    street.occupancy.add(motion, body.size[0], body.size[1])
    return [Actor(body, motion)]
