# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Argoverse 2's two stacked 32-beam spinning lidars: mounts, beams, and the rays of one sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.geometry import quaternion_to_rotation
from stages.simulator.ego import Ego, rpy_rotation
from stages.simulator.parameters import LidarParameters

REVOLUTION = 0.1  # s
SLOT = 2304  # ns between two firings; two beams fire at once, 16 slots a cycle
START_AZIMUTH = 147.0  # degrees in the ego frame, where the up lidar begins a sweep
MOUNTS = {  # ego_SE3_sensor: qw, qx, qy, qz, tx, ty, tz (m); the down lidar hangs upside down
    "up_lidar": (0.99998707147, 0.0, 0.0, -0.00508496650, 1.35018, 0.0, 1.64042),
    "down_lidar": (-0.00053788990, -0.99491958140, 0.10067133272, -0.00014135552, 1.34676, 0.00457, 1.52550),
}
ELEVATION = (  # degrees, by laser number modulo 32
    7.0, -1.667, 1.667, -0.667, 15.0, -0.333, 3.333, 0.667, 1.333, 0.0, 1.0, 2.333, 0.333, -1.0, 4.667, 10.333,
    -6.148, -15.639, -3.0, -2.0, -4.0, -8.843, -4.667, -3.333,
    -2.667, -5.333, -1.333, -7.254, -3.667, -11.31, -2.333, -25.0,
)  # fmt: skip
AZIMUTH = (  # degrees to the left of the head's heading, by laser number modulo 32
    1.4, -1.4, 4.2, -4.2, 1.4, -1.4, 1.4, -4.2, 1.4, 1.4, -1.4, -1.4, 4.2, 4.2, -1.4, -1.4,
    1.4, 1.4, -1.4, -4.2, 1.4, 1.4, -1.4, -4.2, 1.4, -4.2, 1.4, -1.4, 4.2, -1.4, 4.2, -1.4,
)  # fmt: skip
FIRING = (  # slot of the firing cycle, by laser number modulo 32
    12, 1, 8, 3, 14, 5, 10, 7, 6, 2, 9, 11, 4, 0, 13, 15,
    5, 1, 12, 14, 7, 3, 8, 10, 11, 6, 15, 4, 9, 2, 13, 0,
)  # fmt: skip


@dataclass(frozen=True)
class Rays:
    """Rays in the local frame; those of one sweep, R of them."""

    origin: NDArray[np.float32]  # (R, 3) m
    direction: NDArray[np.float32]  # (R, 3) of length 1
    time: NDArray[np.float32]  # (R,) s after the sweep's stamp
    offset_ns: NDArray[np.int32]  # (R,)
    laser_number: NDArray[np.uint8]  # (R,) 0..31 up lidar, 32..63 down lidar


def sweep_rays(lidar: LidarParameters, ego: Ego, stamp: float, start: float) -> Rays:
    """All rays of a sweep.

    Args:
        lidar: what the lidars can do.
        ego: where they are carried.
        stamp: time of the sweep, s.
        start: how far the heads have turned past their usual start, in firing steps; the rays leave that much later.

    Returns:
        Rays in the order in which they leave.
    """
    cycle = 1e9 * REVOLUTION / lidar.azimuth_steps  # ns
    columns = np.arange(lidar.azimuth_steps)[:, None]
    slot = min(SLOT, cycle / 16)
    offset = np.rint((columns + start) * cycle + np.array(FIRING) * slot)  # (steps, 32) ns
    turned = np.radians(-360.0 * 1e-9 / REVOLUTION * offset)  # clockwise seen from above
    rays = [
        _head(name, turned, np.radians(phase))
        for name, phase in (("up_lidar", 0.0), ("down_lidar", -lidar.down_phase_deg))
    ]
    offset = np.concatenate([offset.ravel()] * 2).astype(np.int32)
    laser = np.concatenate([np.tile(np.arange(32, dtype=np.uint8) + base, lidar.azimuth_steps) for base in (0, 32)])
    order = np.lexsort((laser, offset))
    origin, direction = (np.concatenate(p)[order] for p in zip(*rays, strict=True))
    return _carry(ego, stamp, origin, direction, offset[order], laser[order])


def _head(name: str, turned: NDArray[np.float64], phase: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origins and directions (steps * 32, 3) of a lidar's rays in the ego frame."""
    mount = MOUNTS[name]
    rotation = quaternion_to_rotation(np.array(mount[:4]))
    upside = float(np.sign(rotation[2, 2]))
    zero = np.arctan2(rotation[1, 0], rotation[0, 0])  # ego azimuth of the sensor's x axis
    heading = upside * (np.radians(START_AZIMUTH) + phase + turned - zero)  # (steps, 32) in the sensor's frame
    azimuth = heading + np.radians(AZIMUTH)
    elevation = np.broadcast_to(np.radians(ELEVATION), azimuth.shape)
    flat = np.cos(elevation)
    beam = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1).reshape(-1, 3)
    return np.broadcast_to(np.array(mount[4:]), beam.shape), beam @ rotation.T


def _carry(
    ego: Ego,
    stamp: float,
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    offset: NDArray[np.int32],
    laser: NDArray[np.uint8],
) -> Rays:
    """Rays in the local frame, each from where the car is when it leaves."""
    time = np.asarray(offset, dtype=np.float64) * 1e-9
    place, turn = ego.at(stamp + time)
    rotation = rpy_rotation(turn)
    return Rays(
        origin=(np.einsum("nij,nj->ni", rotation, origin) + place).astype(np.float32),
        direction=np.einsum("nij,nj->ni", rotation, direction).astype(np.float32),
        time=time.astype(np.float32),
        offset_ns=offset,
        laser_number=laser,
    )


def passing_time(lidar: LidarParameters, azimuth: NDArray[np.float64], start: float) -> NDArray[np.float64]:
    """When the up lidar's head points along ego azimuths (N,) in rad: s after the sweep's stamp."""
    behind = (START_AZIMUTH - np.degrees(azimuth)) % 360.0
    begin = start * 360.0 / lidar.azimuth_steps
    return np.asarray((behind + 360.0 * (behind < begin)) / 360.0 * REVOLUTION)
