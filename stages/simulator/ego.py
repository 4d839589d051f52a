# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The ego car: what it does in a log, and where it is at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.simulator.actors import standing
from stages.simulator.trajectories import Path, Speed, fillet, follow
from stages.simulator.world import World

AXLE_HEIGHT = 0.33  # m from the ground to the ego frame's origin, the middle of the rear axle
LENGTH, WIDTH = 4.9, 2.0  # m
AXLE_TO_MIDDLE = 1.4  # m from the rear axle forward to the middle of the car
NODDING = 0.003  # rad, amplitude of roll and pitch on the springs
MANOEUVRES = ("drive", "turn right", "brake", "turn left", "start")


@dataclass(frozen=True)
class Ego:
    """The ego car's trajectory."""

    times: NDArray[np.float64]  # (K,) s
    motion: NDArray[np.float64]  # (K, 4) x, y m of the rear axle, heading rad, metres travelled
    rotation: NDArray[np.float64]  # (K, 3) roll, pitch, yaw, rad, yaw unwrapped
    height: NDArray[np.float64]  # (K,) of the frame's origin, m

    def at(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions (N, 3) in m and roll, pitch, yaw (N, 3) in rad at times (N,) in s."""
        place = np.stack([np.interp(times, self.times, c) for c in (*self.motion[:, :2].T, self.height)], axis=1)
        turn = np.stack([np.interp(times, self.times, c) for c in self.rotation.T], axis=1)
        return place, turn

    def local_SE3_ego(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transforms (N, 4, 4) at times (N,) in s."""
        place, turn = self.at(times)
        out = np.zeros((len(times), 4, 4))
        out[:, :3, :3] = rpy_rotation(turn)
        out[:, :3, 3] = place
        out[:, 3, 3] = 1.0
        return out

    def middle(self) -> NDArray[np.float64]:
        """The motion (K, 4) of the middle of the car."""
        out = self.motion.copy()
        out[:, 0] += AXLE_TO_MIDDLE * np.cos(out[:, 2])
        out[:, 1] += AXLE_TO_MIDDLE * np.sin(out[:, 2])
        return out


def rpy_rotation(angles: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rotations Rz(yaw) Ry(pitch) Rx(roll), (N, 3, 3), of roll, pitch, yaw (N, 3) in rad."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles).T, np.sin(angles).T
    rows = [
        cy * cp,
        cy * sp * sr - sy * cr,
        cy * sp * cr + sy * sr,
        sy * cp,
        sy * sp * sr + cy * cr,
        sy * sp * cr - cy * sr,
        -sp,
        cp * sr,
        cp * cr,
    ]
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def drive(world: World, generator: np.random.Generator, times: NDArray[np.float64], index: int) -> Ego:
    """The ego car's trajectory; what it does follows from the log's place in its split."""
    manoeuvre = MANOEUVRES[index % len(MANOEUVRES)]
    duration = float(times[-1]) - 0.5
    lane = world.main.lanes[1 if manoeuvre == "turn right" else 0]
    path, along = Path((0.0, -lane, 0.0)), 0.0
    if manoeuvre.startswith("turn"):
        path, along = _turn(world, manoeuvre == "turn right", lane), -float(generator.uniform(1.0, 4.0))
    motion = follow(path, _speed(manoeuvre, generator, duration), times, 0.0, along)
    rotation = standing(world.ground, motion[:, 0], motion[:, 1], motion[:, 2], np.ones(len(times), dtype=bool))
    return Ego(times, motion, _angles(rotation, times, generator), _height(world, motion))


def _speed(manoeuvre: str, generator: np.random.Generator, duration: float) -> Speed:
    if manoeuvre == "brake":
        return Speed(float(generator.uniform(4.5, 6.0)), -2.5, 0.3, duration)
    if manoeuvre == "start":
        return Speed(0.0, 2.0, 0.4, 4.5)
    if manoeuvre == "drive":
        return Speed(float(generator.uniform(6.0, 9.0)), float(generator.uniform(-0.5, 0.5)), 0.0, min(duration, 4.0))
    return Speed(float(generator.uniform(4.0, 5.5)))


def _turn(world: World, right: bool, lane: float) -> Path:
    road = next(r for r in world.crossings if r.point[0] > 0)
    target = road.lanes[0]
    heading = road.heading + (np.pi if right else 0.0)
    x, y = road.at(0.0, target if right else -target)
    return fillet((0.0, -lane, 0.0), (x, y, heading), 7.0 if right else 10.0)


def _angles(
    rotation: NDArray[np.float64], times: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Roll, pitch and yaw of the car on the road, with some nodding on its springs."""
    roll = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    pitch = -np.arcsin(rotation[:, 2, 0])
    yaw = np.unwrap(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    phase = generator.uniform(0, 2 * np.pi, 2)
    roll = roll + NODDING * np.sin(2 * np.pi * 0.9 * times + phase[0])
    pitch = pitch + NODDING * np.sin(2 * np.pi * 1.2 * times + phase[1])
    return np.stack([roll, pitch, yaw], axis=1)


def _height(world: World, motion: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(world.ground.base(motion[:, 0], motion[:, 1]) + AXLE_HEIGHT)
