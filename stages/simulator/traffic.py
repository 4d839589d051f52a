# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Who moves around the ego car, and how: candidates are drawn until enough fit between the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.simulator import bodies
from stages.simulator.actors import ALWAYS, Actor
from stages.simulator.ego import Ego
from stages.simulator.occupancy import Occupancy
from stages.simulator.parameters import TrafficParameters
from stages.simulator.routes import Route, cyclist_route, pedestrian_route, vehicle_route
from stages.simulator.trajectories import Speed, follow
from stages.simulator.world import SIDEWALK, World

SPELL = 4.0  # s; the parameters' counts are for each such part of a log
SMALL = 0.75  # share of the radius within which pedestrians and riders pass, who are hard to see farther off
TRIES = 40  # candidates for each actor that is wanted

Draw = Callable[[np.random.Generator], tuple[bodies.Body, Speed]]
Plan = Callable[[World, np.random.Generator, tuple[float, float], float], Route]


@dataclass(frozen=True)
class Street:
    """What a candidate must fit into."""

    world: World
    ego: Ego
    occupancy: Occupancy
    times: NDArray[np.float64]  # (K,) s


@dataclass(frozen=True)
class Group:
    """Actors of one sort."""

    count: int  # wanted for each spell
    draw: Draw
    plan: Plan
    within: float  # m from the ego car at the anchor time
    clear: float  # m that they keep from the middle of the ego car; a near truck hides the whole street


def build_traffic(street: Street, parameters: TrafficParameters, generator: np.random.Generator) -> list[Actor]:
    """Moving actors, large ones first."""
    radius = parameters.radius_m
    groups = [
        Group(parameters.trucks, _truck, vehicle_route, radius, 6.2),
        Group(parameters.cars, _car, vehicle_route, radius, 3.0),
        Group(parameters.cyclists, _cyclist, cyclist_route, SMALL * radius, 2.5),
        Group(parameters.pedestrians, _pedestrian, pedestrian_route, SMALL * radius, 2.5),
    ]
    duration = float(street.times[-1]) - 0.5
    spells = max(1, int(np.ceil(duration / SPELL)))
    actors = []
    for spell in range(spells):
        anchor = (spell + 0.5) * duration / spells
        for group in groups:
            actors += _fill(street, group, parameters.vanish_share, generator, anchor)
    return actors


def _fill(
    street: Street, group: Group, vanish_share: float, generator: np.random.Generator, anchor: float
) -> list[Actor]:
    """Up to the wanted number of actors that pass near the ego car at time `anchor`."""
    middle = street.ego.middle()[:, :2]
    near = (float(np.interp(anchor, street.times, middle[:, 0])), float(np.interp(anchor, street.times, middle[:, 1])))
    actors: list[Actor] = []
    for _ in range(TRIES * group.count):
        if len(actors) == group.count:
            break
        body, speed = group.draw(generator)
        route = group.plan(street.world, generator, near, group.within)
        speed = Speed(min(speed.initial, route.limit), speed.acceleration, anchor + speed.begin, anchor + speed.end)
        motion = follow(route.path, speed, street.times, anchor, route.along)
        alive = _life(street, vanish_share, generator)
        clear = np.hypot(*(motion[:, :2] - middle).T).min() > group.clear
        if not clear or not _off_buildings(street.world, motion):
            continue
        if street.occupancy.fits(motion, body.size[0], body.size[1]):
            street.occupancy.add(motion, body.size[0], body.size[1])
            actors.append(Actor(body, motion, alive))
    return actors


def _off_buildings(world: World, motion: NDArray[np.float64]) -> bool:
    return bool((world.ground.kerb_distance(motion[:, 0], motion[:, 1]) < SIDEWALK - 0.5).all())


def _life(street: Street, share: float, generator: np.random.Generator) -> tuple[float, float]:
    """Some come out of a door or leave by one in the middle of the log."""
    chance, when = generator.uniform(size=2)
    at = float(when * (street.times[-1] - 0.5))
    if chance < share / 2:
        return at, np.inf
    return (-np.inf, at) if chance < share else ALWAYS


def _speed(generator: np.random.Generator, low: float, high: float, steady: float) -> Speed:
    """A speed in m/s; `steady` is the chance that it stays the same."""
    initial = float(generator.uniform(low, high))
    if generator.uniform() < steady:
        return Speed(initial)
    change = float(generator.choice([-2.5, -1.2, 1.0, 1.8]))
    return Speed(initial, change, -float(generator.uniform(0, 1.0)), float(generator.uniform(0.3, 1.5)))


def _car(generator: np.random.Generator) -> tuple[bodies.Body, Speed]:
    return bodies.car(generator), _speed(generator, 3.0, 14.0, 0.7)


def _truck(generator: np.random.Generator) -> tuple[bodies.Body, Speed]:
    if generator.uniform() < 0.35:
        return bodies.bus(generator), _speed(generator, 6.5, 13.0, 0.8)
    return bodies.truck(generator), _speed(generator, 4.5, 13.0, 0.7)


def _pedestrian(generator: np.random.Generator) -> tuple[bodies.Body, Speed]:
    kind, walks = generator.uniform(size=2)
    if kind < 0.06:
        return bodies.wheelchair(generator), _speed(generator, 0.8, 1.8, 1.0)
    runs = walks < 0.3
    return bodies.pedestrian(generator), _speed(generator, *((2.0, 3.8) if runs else (0.7, 1.9)), 0.8)


def _cyclist(generator: np.random.Generator) -> tuple[bodies.Body, Speed]:
    kind = generator.uniform()
    if kind < 0.55:
        return bodies.cyclist(generator), _speed(generator, 2.0, 7.5, 0.8)
    if kind < 0.8:
        return bodies.motorcyclist(generator), _speed(generator, 4.0, 13.0, 0.8)
    return bodies.scooter(generator), _speed(generator, 2.0, 6.0, 0.8)
