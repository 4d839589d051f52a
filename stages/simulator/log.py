# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One simulated log: a street, an ego car, traffic; then sweep after sweep, written in Argoverse 2's layout."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.simulator.actors import Actors
from stages.simulator.boxes import Boxes, annotate
from stages.simulator.ego import LENGTH, WIDTH, drive
from stages.simulator.maps import write_map
from stages.simulator.occupancy import Occupancy
from stages.simulator.parameters import SceneParameters
from stages.simulator.roadside import parked_cars, small_things, standing_people
from stages.simulator.scenery import build_scenery
from stages.simulator.sweep import Scene, cast_sweep
from stages.simulator.traffic import Street, build_traffic
from stages.simulator.trajectories import time_table
from stages.simulator.world import World, build_world
from stages.simulator.write import pose_columns, write_calibration, write_poses, write_sweep, write_table

PERIOD_NS = 100_000_000
FIRST_STAMP_NS = 315_966_000_000_000_000  # Argoverse 2's clock
POSE_PERIOD_NS = 5_000_000
FASTEST = 12.0  # m/s that the ego car can reach
UNANNOTATED = ("test",)


@dataclass(frozen=True)
class Log:
    """A scene and when it is swept."""

    world: World
    scene: Scene
    uuids: Sequence[str]  # of the actors' tracks
    first_ns: int  # of the first sweep
    stamps: NDArray[np.float64]  # (T,) s after the first
    starts: NDArray[np.float64]  # (T,) firing steps, see `sweep_rays`


def log_id(seed: int, split: str, index: int) -> str:
    """Id of a log, in the form of Argoverse 2's."""
    return str(uuid.UUID(bytes=_digest(seed, split, index)[:16], version=4))


def _digest(seed: int, split: str, index: int) -> bytes:
    return hashlib.sha256(f"{seed}/{split}/{index}".encode()).digest()


def log_generator(seed: int, split: str, index: int) -> np.random.Generator:
    """The random numbers of a log; the same wherever and beside whatever it is made."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(seed, split, index), "big")))


def simulate_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: SceneParameters,
    arguments: Mapping[str, str | int | float],
) -> None:
    """Write the log folder `outputs["raw"]`.

    Args:
        log_id: name of the log.
        inputs: none.
        outputs: `raw`, the folder to write.
        parameters: what the street and the lidars are like.
        arguments: `seed`, `split`, `index` in the split, and number of `sweeps`.
    """
    split, index = str(arguments["split"]), int(arguments["index"])
    generator = log_generator(int(arguments["seed"]), split, index)
    log = build_log(generator, parameters, index, int(arguments["sweeps"]))
    folder = outputs["raw"]
    annotations: list[tuple[int, Boxes]] = []
    for stamp, start in zip(log.stamps, log.starts, strict=True):
        timestamp_ns = log.first_ns + round(stamp * 1e9)
        sweep = cast_sweep(log.scene, parameters.lidar, stamp, start, generator)
        write_sweep(folder, timestamp_ns, sweep)
        boxes = annotate(log.scene.actors, log.scene.ego, parameters.lidar, sweep, stamp, start)
        annotations.append((timestamp_ns, boxes))
    if split not in UNANNOTATED:
        _write_annotations(folder, log, annotations, parameters.traffic.missed_share, generator)
    _write_poses(folder, log, generator)
    write_calibration(folder)
    write_map(folder / "map", log_id, log.world, log.scene.ego.motion[:, :2])


def build_log(generator: np.random.Generator, parameters: SceneParameters, index: int, sweeps: int) -> Log:
    """Lay out a log without sweeping it."""
    jitter_ns = np.rint(generator.normal(0.0, 60.0, sweeps)) * 1000  # Argoverse 2's stamps are whole microseconds
    stamps = (np.arange(sweeps) * (PERIOD_NS + 150_000) + jitter_ns - jitter_ns[0]) * 1e-9
    duration = float(stamps[-1]) + PERIOD_NS * 1e-9
    times = time_table(duration)
    reach = FASTEST * duration
    world = build_world(generator, reach)
    ego = drive(world, generator, times, index)
    occupancy = Occupancy(len(times))
    occupancy.add(ego.middle(), LENGTH, WIDTH)
    scenery = build_scenery(world, generator, reach, occupancy)
    street = Street(world, ego, occupancy, times)
    things = build_traffic(street, parameters.traffic, generator)
    things += parked_cars(street, parameters.traffic, generator, reach)
    things += standing_people(street, parameters.traffic, generator)
    things += small_things(street, generator, reach)
    uuids = [str(uuid.UUID(bytes=generator.bytes(16), version=4)) for _ in things]
    first_ns = FIRST_STAMP_NS + int(generator.integers(10**9)) * 1000
    starts = generator.uniform(0.0, 16.0, sweeps)
    return Log(
        world, Scene(world.ground, scenery, Actors(things, world.ground, times), ego), uuids, first_ns, stamps, starts
    )


def _write_annotations(
    folder: Path, log: Log, annotations: Sequence[tuple[int, Boxes]], missed: float, generator: np.random.Generator
) -> None:
    kept = [np.flatnonzero(generator.uniform(size=len(boxes.actor)) >= missed) for _, boxes in annotations]
    rows = list(zip(annotations, kept, strict=True))
    actor = np.concatenate([boxes.actor[keep] for (_, boxes), keep in rows])
    size = np.concatenate([boxes.size[keep] for (_, boxes), keep in rows])
    pose = np.concatenate([boxes.ego_SE3_box[keep] for (_, boxes), keep in rows])
    write_table(
        folder / "annotations.feather",
        {
            "timestamp_ns": np.concatenate([np.full(len(keep), stamp, dtype=np.int64) for (stamp, _), keep in rows]),
            "track_uuid": [log.uuids[a] for a in actor],
            "category": [log.scene.actors.bodies[a].category for a in actor],
            **{name: np.ascontiguousarray(size[:, k]) for k, name in enumerate(("length_m", "width_m", "height_m"))},
            **pose_columns(pose),
            "num_interior_pts": np.concatenate([boxes.interior[keep] for (_, boxes), keep in rows]),
        },
    )


def _write_poses(folder: Path, log: Log, generator: np.random.Generator) -> None:
    """Poses about every 5 ms, and one at each sweep's stamp."""
    sweeps = np.rint(log.stamps * 1e9).astype(np.int64)
    steady = np.arange(-40_000_000, sweeps[-1] + PERIOD_NS + 40_000_000, POSE_PERIOD_NS, dtype=np.int64)
    steady += generator.integers(-900_000, 900_000, len(steady))
    moment = np.unique(np.concatenate([sweeps, steady]))
    poses = log.world.city_SE3_local @ log.scene.ego.local_SE3_ego(moment * 1e-9)
    write_poses(folder, log.first_ns + moment, poses)
