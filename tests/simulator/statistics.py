# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How hard a folder of logs is: moving points by class and speed, and what the nearest neighbour makes of them.

Own truth from boxes and own metric (`python -m tests.simulator.statistics FOLDER` prints them for a split's folder),
so that the simulator is judged by nothing that was written for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tests.simulator.logs import RawLog, inside, read_log, sizes

META = {
    "CAR": ("REGULAR_VEHICLE",),
    "OTHER_VEHICLES": ("BOX_TRUCK", "LARGE_VEHICLE", "TRUCK", "TRUCK_CAB", "BUS", "SCHOOL_BUS"),
    "PEDESTRIAN": ("PEDESTRIAN", "STROLLER", "WHEELCHAIR", "OFFICIAL_SIGNALER"),
    "WHEELED_VRU": ("BICYCLE", "BICYCLIST", "MOTORCYCLE", "MOTORCYCLIST", "WHEELED_DEVICE", "WHEELED_RIDER"),
}
BUCKETS = 51  # of 0.04 m a frame, the last without end
CLASS = {category: k for k, names in enumerate(META.values()) for category in names}


def ground(points: NDArray[np.float64], city_SE3_ego: NDArray[np.float64], raster: dict[str, Any]) -> NDArray[np.bool_]:
    """The official rule of the second metric: rounded cell, 0.4 m."""
    city = points @ city_SE3_ego[:3, :3].T + city_SE3_ego[:3, 3]
    cell = np.rint(raster["s"] * (city[:, :2] + raster["t"])).astype(int)[:, ::-1]
    known = ((cell >= 0) & (cell < raster["height"].shape)).all(axis=1)
    height = np.full(len(points), np.nan)
    height[known] = raster["height"][tuple(cell[known].T)]
    return (np.abs(city[:, 2] - height) <= 0.4) | (city[:, 2] < height)


def residual_truth(log: RawLog, frame: int) -> tuple[NDArray[np.float64], NDArray[np.int_], NDArray[np.bool_]]:
    """Residual flow (N, 3) in the axes of the next ego frame, row of META or -1 (N,), validity (N,)."""
    points = log.points[frame]
    ego1_SE3_ego0 = np.linalg.inv(log.city_SE3_ego[frame + 1]) @ log.city_SE3_ego[frame]
    carried = points @ ego1_SE3_ego0[:3, :3].T + ego1_SE3_ego0[:3, 3]
    residual, kind, valid = np.zeros_like(points), np.full(len(points), -1), np.ones(len(points), dtype=bool)
    before, pose0 = log.boxes_at(frame)
    after, pose1 = log.boxes_at(frame + 1)
    next_pose = {t: pose1[k] for k, t in enumerate(after["track_uuid"]) if after["num_interior_pts"][k]}
    for k in np.flatnonzero(before["num_interior_pts"] > 0):
        size = sizes(before)[k] + [0.2, 0.2, 0.0]
        near = np.flatnonzero(np.abs(points - pose0[k][:3, 3]).max(axis=1) < np.linalg.norm(size) / 2)
        rows = near[inside(points[near], pose0[k], size)]
        kind[rows] = CLASS.get(before["category"][k], len(META))
        pose = next_pose.get(before["track_uuid"][k])
        if pose is None:
            valid[rows] = False
            continue
        motion = pose @ np.linalg.inv(pose0[k])
        residual[rows] = points[rows] @ motion[:3, :3].T + motion[:3, 3] - carried[rows]
    return residual, kind, valid


def statistics(folders: Sequence[Path], every: int = 1) -> dict[str, dict[str, Any]]:
    """Per class: points in each dynamic bucket, and the bucketed error of the nearest neighbour."""
    total = np.zeros((len(META), BUCKETS, 3))  # error, speed, count
    for folder in folders:
        log = read_log(folder)
        raster: dict[str, Any] = json.loads(next((folder / "map").glob("*Sim2_city.json")).read_text())
        raster["height"] = np.load(next((folder / "map").glob("*.npy"))).astype(np.float64)
        for frame in range(0, len(log.stamps) - 1, every):
            _add_pair(total, log, frame, raster)
    out = {}
    for row, name in enumerate(META):
        error, speed, count = total[row, 1:].T
        filled = count > 0
        score = float((error[filled] / speed[filled]).mean()) if filled.any() else float("nan")
        out[name] = {"counts": count.astype(int).tolist(), "nearest": score}
    return out


def _add_pair(total: NDArray[np.float64], log: RawLog, frame: int, raster: dict[str, Any]) -> None:
    residual, kind, valid = residual_truth(log, frame)
    ego1_SE3_ego0 = np.linalg.inv(log.city_SE3_ego[frame + 1]) @ log.city_SE3_ego[frame]
    carried = log.points[frame] @ ego1_SE3_ego0[:3, :3].T + ego1_SE3_ego0[:3, 3]
    scored = valid & (kind >= 0) & (kind < len(META)) & ~ground(log.points[frame], log.city_SE3_ego[frame], raster)
    scored &= (np.abs(carried[:, :2]) < 35).all(axis=1) & (np.abs(carried[:, 2]) < 2.5)
    target = log.points[frame + 1][~ground(log.points[frame + 1], log.city_SE3_ego[frame + 1], raster)]
    distance, index = cKDTree(target).query(carried[scored], distance_upper_bound=2.0)
    found = np.isfinite(distance)
    guess = np.zeros((int(scored.sum()), 3))
    guess[found] = target[index[found]] - carried[scored][found]
    error = np.linalg.norm(residual[scored] - guess, axis=1)
    speed = np.linalg.norm(residual[scored], axis=1)
    bucket = np.minimum((speed / 0.04).astype(int), BUCKETS - 1)
    np.add.at(total, (kind[scored], bucket), np.stack([error, speed, np.ones_like(speed)], axis=1))


def report(folders: Sequence[Path]) -> str:
    lines = []
    result = statistics(folders)
    for name, values in result.items():
        counts = np.array(values["counts"])
        lines.append(
            f"{name:15} moving {counts.sum():7d}  buckets {np.count_nonzero(counts):2d}, "
            f"of 1000 and more {(counts >= 1000).sum():2d}  nearest {values['nearest']:.3f}"
        )
    lines.append(f"nearest, mean Dynamic {np.mean([v['nearest'] for v in result.values()]):.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(report([log for log in sorted(Path(sys.argv[1]).iterdir()) if log.is_dir()]) + "\n")
