# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One sweep: rays into the scene, ranges back, points in the ego frame of the sweep's stamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3, transform_points
from stages.simulator.actors import Actors
from stages.simulator.ego import Ego
from stages.simulator.groundcast import ground_hits
from stages.simulator.lidar import REVOLUTION, Rays, sweep_rays
from stages.simulator.parameters import LidarParameters
from stages.simulator.raycast import first_hits
from stages.simulator.solids import NO_OWNER, Solids, concatenate
from stages.simulator.world import Ground

GROUND_REFLECTANCE = 0.12  # asphalt
LEAST_RANGE = 1.0  # m; nearer returns are the car's own
GROUND, SCENERY = -2, NO_OWNER  # owners of points that no actor owns


@dataclass(frozen=True)
class Scene:
    """All that a ray can meet."""

    ground: Ground
    scenery: Solids
    actors: Actors
    ego: Ego


@dataclass(frozen=True)
class Sweep:
    """Returns of one sweep, in the order in which they were fired."""

    xyz: NDArray[np.float16]  # (N, 3) m, ego frame at the stamp
    intensity: NDArray[np.uint8]  # (N,)
    laser_number: NDArray[np.uint8]  # (N,)
    offset_ns: NDArray[np.int32]  # (N,)
    owner: NDArray[np.int32]  # (N,) row of the actor that was hit, SCENERY or GROUND


def cast_sweep(
    scene: Scene, lidar: LidarParameters, stamp: float, start: float, generator: np.random.Generator
) -> Sweep:
    """The sweep that begins at `stamp`.

    Args:
        scene: the world and who is in it.
        lidar: what the lidars can do.
        stamp: s.
        start: see `sweep_rays`.
        generator: for range noise, lost returns and intensity.
    """
    rays = sweep_rays(lidar, scene.ego, stamp, start)
    solids = concatenate([scene.scenery, scene.actors.solids(stamp, REVOLUTION)])
    reached, hit = first_hits(rays, solids, lidar.range_m)
    ground = ground_hits(rays, scene.ground, lidar.range_m)
    on_ground = ground < reached
    distance = np.where(on_ground, ground, reached)
    owner = np.where(hit >= 0, solids.owner[hit], SCENERY).astype(np.int32)
    owner[on_ground] = GROUND
    reflectance = np.where(on_ground, GROUND_REFLECTANCE, solids.reflectance[hit])
    kept = _returns(distance, reflectance, lidar, generator)
    noise = np.clip(generator.standard_normal(len(distance)), -2.0, 2.0) * lidar.noise_m
    intensity = _intensity(distance, reflectance, lidar, generator)
    xyz = _ego_points(rays, distance + noise, scene.ego, stamp, kept)
    return Sweep(xyz, intensity[kept], rays.laser_number[kept], rays.offset_ns[kept], owner[kept])


def _returns(
    distance: NDArray[np.float32],
    reflectance: NDArray[np.float64],
    lidar: LidarParameters,
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Rows of the rays that come back."""
    with np.errstate(invalid="ignore"):
        faint = (distance / lidar.range_m) ** 2 * (1.0 - np.sqrt(reflectance)) * 0.5
    lost = generator.uniform(size=len(distance)) < lidar.dropout + faint
    return np.flatnonzero(np.isfinite(distance) & (distance > LEAST_RANGE) & ~lost)


def _intensity(
    distance: NDArray[np.float32],
    reflectance: NDArray[np.float64],
    lidar: LidarParameters,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    speckle = generator.lognormal(0.0, 0.25, len(distance))
    with np.errstate(invalid="ignore", over="ignore"):
        value = 160.0 * reflectance * speckle * np.exp(-distance / (0.7 * lidar.range_m))
    return np.asarray(np.clip(np.nan_to_num(value), 1, 255), dtype=np.uint8)


def _ego_points(
    rays: Rays, distance: NDArray[np.float64], ego: Ego, stamp: float, kept: NDArray[np.intp]
) -> NDArray[np.float16]:
    """Where the returns lie, seen from where the car was at the stamp: (N, 3)."""
    local = rays.origin[kept].astype(np.float64) + distance[kept, None] * rays.direction[kept]
    ego_SE3_local = inverse_SE3(ego.local_SE3_ego(np.array([stamp]))[0])
    return transform_points(ego_SE3_local, local).astype(np.float16)
