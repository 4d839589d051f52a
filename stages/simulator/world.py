# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Streets and the ground they lie on.

Everything is simulated in a local frame: the main street runs along x through the origin, z is up, metres. A log's
`city_SE3_local` puts it somewhere in a city.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

CITIES = ("ATX", "DTW", "MIA", "PAO", "PIT", "WDC")
KERB_HEIGHT = 0.14  # m
KERB_WIDTH = 0.15  # m over which the kerb rises
BLOCK = 85.0  # m between cross streets
SIDEWALK = 4.6  # m behind the kerb, kept free of buildings


@dataclass(frozen=True)
class Road:
    """A straight street without ends; offsets are metres to the left of its heading."""

    point: tuple[float, float]  # on the centre line, m
    heading: float  # rad
    lanes: tuple[float, ...]  # centres of the lanes, distances from the centre line, m
    bike_lane: float  # centre of the bicycle lane, m
    parking: float  # centre of the parking lane, m; 0 where there is none
    half_width: float  # from the centre line to the kerb, m

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector along the heading."""
        return float(np.cos(self.heading)), float(np.sin(self.heading))

    def offset(self, x: Floats, y: Floats) -> Floats:
        """Distance to the left of the centre line, m."""
        c, s = self.direction
        return np.asarray((y - self.point[1]) * c - (x - self.point[0]) * s)

    def along(self, x: float, y: float) -> float:
        """Distance along the centre line from `point`, m."""
        c, s = self.direction
        return (x - self.point[0]) * c + (y - self.point[1]) * s

    def at(self, along: float, offset: float) -> tuple[float, float]:
        """Point at a distance along and to the left of the centre line, m."""
        c, s = self.direction
        return self.point[0] + along * c - offset * s, self.point[1] + along * s + offset * c


@dataclass(frozen=True)
class Ground:
    """Height field: a slope, a few long waves, and pavements raised by a kerb."""

    slope: tuple[float, float]  # m/m along x and y
    waves: tuple[tuple[float, float, float, float], ...]  # amplitude m, wave vector x and y rad/m, phase rad
    roads: tuple[Road, ...]

    def base(self, x: Floats, y: Floats) -> Floats:
        """Height without kerbs, m."""
        height = self.slope[0] * x + self.slope[1] * y
        for amplitude, kx, ky, phase in self.waves:
            height = height + amplitude * np.sin(kx * x + ky * y + phase)
        return height

    def gradient(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Slope of `base` along x and y, m/m."""
        gx, gy = np.full_like(x, self.slope[0]), np.full_like(y, self.slope[1])
        for amplitude, kx, ky, phase in self.waves:
            wave = amplitude * np.cos(kx * x + ky * y + phase)
            gx, gy = gx + kx * wave, gy + ky * wave
        return gx, gy

    def kerb_distance(self, x: Floats, y: Floats) -> Floats:
        """Distance behind the nearest kerb, m; negative on a road."""
        distance = np.abs(self.roads[0].offset(x, y)) - self.roads[0].half_width
        for road in self.roads[1:]:
            distance = np.minimum(distance, np.abs(road.offset(x, y)) - road.half_width)
        return distance

    def kerb(self, x: Floats, y: Floats) -> Floats:
        """Height above `base`, 0..KERB_HEIGHT, m."""
        return np.asarray(np.clip(self.kerb_distance(x, y) * (KERB_HEIGHT / KERB_WIDTH), 0.0, KERB_HEIGHT))

    def height(self, x: Floats, y: Floats) -> Floats:
        """Height of the surface, m."""
        return self.base(x, y) + self.kerb(x, y)

    @property
    def max_slope(self) -> float:
        """Bound on the slope of `base`, m/m."""
        waves = sum(abs(a) * float(np.hypot(kx, ky)) for a, kx, ky, _ in self.waves)
        return float(np.hypot(*self.slope)) + waves


@dataclass(frozen=True)
class World:
    """Roads (the first is the main street), ground, and where it all lies in a city."""

    ground: Ground
    city: str
    city_SE3_local: NDArray[np.float64]  # (4, 4)

    @property
    def main(self) -> Road:
        """The street along x."""
        return self.ground.roads[0]

    @property
    def crossings(self) -> tuple[Road, ...]:
        """The streets that cross it, from west to east."""
        return self.ground.roads[1:]


def build_world(generator: np.random.Generator, reach: float) -> World:
    """A random world whose streets cover `reach` metres ahead of the origin and one range behind it."""
    main = Road((0.0, 0.0), 0.0, lanes=(1.6, 4.8), bike_lane=7.3, parking=9.4, half_width=10.6)
    first = float(generator.uniform(22.0, 34.0))
    roads = [main]
    for k in range(-2, 3 + int(reach // BLOCK)):
        heading = np.pi / 2 + float(generator.uniform(-0.15, 0.15))
        roads.append(Road((first + k * BLOCK, 0.0), heading, (1.7,), 4.3, 0.0, 5.4))
    return World(_ground(generator, tuple(roads)), str(generator.choice(CITIES)), _city(generator))


def _ground(generator: np.random.Generator, roads: tuple[Road, ...]) -> Ground:
    waves = []
    for _ in range(3):
        length, angle = generator.uniform(70.0, 180.0), generator.uniform(0.0, 2 * np.pi)
        k = 2 * np.pi / length
        amplitude = generator.uniform(0.1, 0.014 / k)  # each wave adds at most 1.4 % of slope
        waves.append(
            (
                float(amplitude),
                float(k * np.cos(angle)),
                float(k * np.sin(angle)),
                float(generator.uniform(0, 2 * np.pi)),
            )
        )
    slope = generator.uniform(-0.015, 0.015, 2)
    return Ground((float(slope[0]), float(slope[1])), tuple(waves), roads)


def _city(generator: np.random.Generator) -> NDArray[np.float64]:
    """Somewhere 1.5 to 4 km from the city's origin, 8 to 22 m high: float16 heights stay within 1 cm."""
    bearing, distance, yaw = generator.uniform([0, 1500, -np.pi], [2 * np.pi, 4000, np.pi])
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:3, 3] = distance * np.cos(bearing), distance * np.sin(bearing), generator.uniform(8.0, 22.0)
    return out
