# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic points of one log by DUFOMap (Duberg et al., RA-L 2024): what stands where free space was once seen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.geometry import inverse_SE3, transform_points
from stages.frames.write import write_columns
from stages.labels.inputs import required
from stages.labels.lidars import points_by_lidar
from stages.labels.silence import silenced

SCHEMA = "dynamic/1"


@dataclass(frozen=True)
class DynamicParameters:
    """Knobs of the free-space map.

    Attributes:
        recipe: `dufomap`.
        resolution: edge of a voxel, metres.
        d_s: each ray stops this far short of its hit, against range noise and pose error, metres.
        d_p: a voxel was seen free only if its neighbours up to this many voxels away were observed too.
        min_range: points nearer to their lidar are not integrated (the vehicle itself), metres.
        max_range: points farther from their lidar are not integrated, metres.
        min_voxels: groups of fewer dynamic voxels become static; 0 keeps all.
        group_distance: dynamic voxels within this distance belong to one group, metres.
    """

    recipe: Literal["dufomap"]
    resolution: float
    d_s: float
    d_p: int
    min_range: float
    max_range: float
    min_voxels: int
    group_distance: float

    def __post_init__(self) -> None:
        for name in ("resolution", "group_distance"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("d_s", "d_p", "min_range", "min_voxels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.max_range <= self.min_range:
            raise ValueError(f"max_range must exceed min_range ({self.min_range}), but is {self.max_range}")


class FreeSpaceMap:
    """DUFOMap of one log, one thread (more threads give other bytes), without a word on stdout."""

    def __init__(self, parameters: DynamicParameters) -> None:
        from dufomap import dufomap

        self._grouped = parameters.min_voxels > 0
        with silenced():
            self._map = dufomap(parameters.resolution, parameters.d_s, parameters.d_p, num_threads=1)
            if self._grouped:
                self._map.setCluster(0, parameters.min_voxels, parameters.group_distance)

    def integrate(self, points: NDArray[np.float64], origin: NDArray[np.float64]) -> None:
        """Cast the rays of one scan from its origin (3,) to its hits (N, 3), both in the map's frame, metres."""
        if len(points):
            with silenced():
                self._map.run(points, _pose_at(origin), cloud_transform=False)

    def finish(self) -> None:
        """Call once, after the last scan and before the first query."""
        with silenced():
            self._map.oncePropagateCluster(if_propagate=True, if_cluster=self._grouped)

    def dynamic(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether points (N, 3) of the map's frame lie where free space was seen -> (N,)."""
        if not len(points):
            return np.zeros(0, dtype=np.bool_)
        with silenced():
            labels = self._map.segment(points, _pose_at(np.zeros(3)), cloud_transform=False)
        return np.asarray(labels, dtype=np.bool_)


def _pose_at(origin: NDArray[np.float64]) -> list[float]:
    """The library's pose, translation and unit quaternion."""
    return [*map(float, origin), 1.0, 0.0, 0.0, 0.0]


def dynamic_points(frames: LogFrames, ground: NDArray[np.bool_], parameters: DynamicParameters) -> NDArray[np.bool_]:
    """Dynamic mask of all points of a log; ground (P,) is never dynamic -> (P,).

    The map's frame is the ego frame of the log's first sweep: city coordinates are kilometres, and the
    library computes in single precision.
    """
    space = FreeSpaceMap(parameters)
    map_SE3_city = inverse_SE3(frames.city_SE3_ego[0]) if frames.num_frames else np.eye(4)
    for t in range(frames.num_frames):
        map_SE3_ego = map_SE3_city @ frames.city_SE3_ego[t]
        ego = frames.xyz(t).astype(np.float64)  # (N, 3)
        for origin, rows in points_by_lidar(frames, t):
            distance = np.linalg.norm(ego[rows] - origin, axis=1)
            used = rows[(distance > parameters.min_range) & (distance < parameters.max_range)]
            space.integrate(transform_points(map_SE3_ego, ego[used]), transform_points(map_SE3_ego, origin))
    space.finish()
    dynamic = np.zeros(frames.num_points, dtype=np.bool_)
    for t in range(frames.num_frames):
        rows = frames.frame_start[t] + np.flatnonzero(~ground[frames.span(t)])
        points = frames.column("xyz")[rows]
        dynamic[rows] = space.dynamic(transform_points(map_SE3_city @ frames.city_SE3_ego[t], points))
    return dynamic


def dynamic_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: DynamicParameters,
) -> None:
    """Dynamic points of one log, from its `frames` and `ground` to `dynamic`."""
    frames = LogFrames.open(required(inputs, "frames", log_id))
    ground = LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames).column("ground")
    columns: dict[str, NDArray[Any]] = {"dynamic": dynamic_points(frames, np.asarray(ground), parameters)}
    attributes = {"log_id": log_id, "frames_digest": frames.digest, **asdict(parameters)}
    write_columns(outputs["dynamic"], SCHEMA, columns, attributes)
