# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What actors look like: annotation box and the solids inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.simulator.solids import BOX, CYLINDER, ELLIPSOID

MARGIN = 0.05  # m between a body and its box, so that range noise stays inside


@dataclass(frozen=True)
class Part:
    """One solid of a body, in the axes of its box (x forward, origin in the box's middle)."""

    kind: int
    centre: tuple[float, float, float]  # m
    half: tuple[float, float, float]  # m
    swing: float = 0.0  # m that it swings forward and back while walking


@dataclass(frozen=True)
class Body:
    """A kind of actor: category of Argoverse 2, size of its box, parts."""

    category: str
    size: tuple[float, float, float]  # length, width, height of the box, m
    parts: tuple[Part, ...]
    reflectance: float  # 0..1
    tilts: bool  # True: stands square on the slope; False: upright


def _between(
    low: tuple[float, float, float], high: tuple[float, float, float], kind: int = BOX, swing: float = 0.0
) -> Part:
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    half = tuple((b - a) / 2 for a, b in zip(low, high, strict=True))
    return Part(kind, (centre[0], centre[1], centre[2]), (half[0], half[1], half[2]), swing)


def _limits(size: tuple[float, float, float]) -> tuple[float, float, float]:
    return size[0] / 2 - MARGIN, size[1] / 2 - MARGIN, size[2] / 2 - MARGIN


def car(generator: np.random.Generator) -> Body:
    """A car: body, cabin, and wheels that block the view below it."""
    length, width, height = generator.uniform([4.1, 1.8, 1.45], [5.1, 2.05, 1.95])
    size = (float(length), float(width), float(height))
    x, y, z = _limits(size)
    waist = -z + 0.56 * height
    nose = generator.uniform(0.18, 0.3) * length
    parts = (
        _between((-x, -y, -z + 0.22), (x, y, waist)),
        _between((-x + generator.uniform(0.05, 0.6), -y + 0.12, waist), (x - nose, y - 0.12, z)),
        *_axles(x, y, z, 0.33, 0.8),
    )
    return Body("REGULAR_VEHICLE", size, parts, float(generator.uniform(0.05, 0.6)), True)


def _axles(x: float, y: float, z: float, radius: float, inset: float) -> tuple[Part, Part]:
    return tuple(  # type: ignore[return-value]
        _between((at - radius, -y + 0.02, -z - MARGIN + 0.01), (at + radius, y - 0.02, -z + 2 * radius))
        for at in (-x + inset, x - inset)
    )


def truck(generator: np.random.Generator) -> Body:
    """A truck: cab in front, cargo box behind it, a gap between."""
    category = str(generator.choice(["BOX_TRUCK", "TRUCK", "LARGE_VEHICLE"]))
    length, width, height = generator.uniform([6.2, 2.2, 2.6], [9.0, 2.5, 3.5])
    size = (float(length), float(width), float(height))
    x, y, z = _limits(size)
    cab = x - generator.uniform(1.7, 2.2)
    parts = (
        _between((cab, -y + 0.05, -z + 0.35), (x, y - 0.05, z - generator.uniform(0.1, 0.7))),
        _between((-x, -y, -z + 0.7), (cab - 0.25, y, z)),
        *_axles(x, y, z, 0.45, 1.2),
    )
    return Body(category, size, parts, float(generator.uniform(0.2, 0.7)), True)


def bus(generator: np.random.Generator) -> Body:
    """A bus: one long body on two axles."""
    category = str(generator.choice(["BUS", "SCHOOL_BUS"]))
    length, width, height = generator.uniform([9.5, 2.45, 2.9], [12.0, 2.6, 3.3])
    size = (float(length), float(width), float(height))
    x, y, z = _limits(size)
    parts = (_between((-x, -y, -z + 0.3), (x, y, z)), *_axles(x, y, z, 0.48, 2.2))
    return Body(category, size, parts, float(generator.uniform(0.2, 0.7)), True)


def pedestrian(generator: np.random.Generator) -> Body:
    """A person: head, trunk, and two legs that swing."""
    height, width = generator.uniform([1.5, 0.52], [1.92, 0.66])
    size = (float(generator.uniform(0.55, 0.8)), float(width), float(height))
    x, y, z = _limits(size)
    hip = -z + 0.48 * height
    swing = x - 0.11
    parts = (
        _between((-0.11, -0.1, z - 0.26), (0.11, 0.1, z), ELLIPSOID),
        _between((-0.15, -y, hip - 0.05), (0.15, y, z - 0.22), ELLIPSOID),
        _between((-0.1, 0.03, -z), (0.1, 0.2, hip + 0.1), CYLINDER, swing),
        _between((-0.1, -0.2, -z), (0.1, -0.03, hip + 0.1), CYLINDER, -swing),
    )
    return Body("PEDESTRIAN", size, parts, float(generator.uniform(0.1, 0.6)), False)


def wheelchair(generator: np.random.Generator) -> Body:
    """A person in a wheelchair."""
    size = (1.1, 0.7, float(generator.uniform(1.25, 1.4)))
    x, y, z = _limits(size)
    parts = (
        _between((-x, -y, -z), (x - 0.2, y, -z + 0.55)),
        _between((-x, -y + 0.05, -z + 0.5), (-x + 0.35, y - 0.05, z), ELLIPSOID),
    )
    return Body("WHEELCHAIR", size, parts, float(generator.uniform(0.1, 0.6)), False)


def _rider(generator: np.random.Generator, category: str, size: tuple[float, float, float], frame: float) -> Body:
    x, y, z = _limits(size)
    parts = (
        _between((-x, -frame, -z), (x, frame, -z + 0.75)),
        _between((x - 0.45, -y, -z + 0.85), (x - 0.35, y, -z + 1.0)),
        _between((-0.35, -0.22, -z + 0.65), (0.2, 0.22, z - 0.2), ELLIPSOID),
        _between((-0.05, -0.11, z - 0.26), (0.19, 0.11, z), ELLIPSOID),
    )
    return Body(category, size, parts, float(generator.uniform(0.1, 0.6)), True)


def cyclist(generator: np.random.Generator) -> Body:
    """A bicycle and its rider, one box."""
    length, height = generator.uniform([1.7, 1.6], [1.9, 1.85])
    return _rider(generator, "BICYCLIST", (float(length), 0.68, float(height)), 0.06)


def motorcyclist(generator: np.random.Generator) -> Body:
    """A motorcycle and its rider, one box."""
    length, height = generator.uniform([2.0, 1.55], [2.3, 1.75])
    return _rider(generator, "MOTORCYCLIST", (float(length), 0.85, float(height)), 0.2)


def scooter(generator: np.random.Generator) -> Body:
    """A rider standing on a kick scooter."""
    size = (1.25, 0.62, float(generator.uniform(1.65, 1.9)))
    x, y, z = _limits(size)
    parts = (
        _between((-x, -0.07, -z), (x, 0.07, -z + 0.16)),
        _between((x - 0.15, -0.04, -z), (x - 0.07, 0.04, -z + 1.05)),
        _between((-0.2, -0.2, -z + 0.1), (0.15, 0.2, z - 0.2), ELLIPSOID),
        _between((-0.14, -0.11, z - 0.26), (0.1, 0.11, z), ELLIPSOID),
    )
    return Body("WHEELED_RIDER", size, parts, float(generator.uniform(0.1, 0.6)), True)


def bicycle(generator: np.random.Generator) -> Body:
    """A bicycle that is leaned somewhere."""
    size = (1.75, 0.5, 1.1)
    x, y, z = _limits(size)
    parts = (_between((-x, -0.06, -z), (x, 0.06, z - 0.3)), _between((x - 0.5, -y, z - 0.2), (x - 0.4, y, z)))
    return Body("BICYCLE", size, parts, float(generator.uniform(0.2, 0.6)), True)


def cone(generator: np.random.Generator) -> Body:
    """A construction cone."""
    size = (0.4, 0.4, 0.75)
    x, y, z = _limits(size)
    return Body("CONSTRUCTION_CONE", size, (_between((-x, -y, -z), (x, y, z), ELLIPSOID),), 0.8, True)


def bollard(generator: np.random.Generator) -> Body:
    """A bollard."""
    size = (0.3, 0.3, float(generator.uniform(0.9, 1.1)))
    x, y, z = _limits(size)
    return Body("BOLLARD", size, (_between((-x, -y, -z), (x, y, z), CYLINDER),), 0.4, False)


def sign(generator: np.random.Generator) -> Body:
    """A stop sign on its post."""
    size = (0.3, 0.85, float(generator.uniform(2.6, 3.0)))
    x, y, z = _limits(size)
    parts = (_between((-0.05, -0.05, -z), (0.05, 0.05, z), CYLINDER), _between((-0.04, -y, z - 0.75), (0.04, y, z)))
    return Body("STOP_SIGN", size, parts, 0.9, False)


Maker = Callable[[np.random.Generator], Body]
