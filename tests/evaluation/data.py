# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small made-up splits in the project's own file formats."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.geometry import make_SE3, rigid_flow
from stages.frames.write import content_digest, write_columns

CATEGORY_CHOICES = np.array([0, 0, 0, 1, 3, 6, 17, 19, 19, 30])


def yaw(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def log_arrays(seed: int, sweeps: int, points: int, gap_after: int | None = None) -> dict[str, Any]:
    """One log: points of `sweeps` sweeps, truth of every pair, ground masks, a prediction with errors."""
    rng = np.random.default_rng(seed)
    start = np.cumsum([0, *(points + rng.integers(0, 7, sweeps))])
    total = int(start[-1])
    xyz = (rng.uniform(-1, 1, (total, 3)) * [70.0, 60.0, 3.0]).astype(np.float16)
    poses = np.stack([make_SE3(yaw(0.02 * t), [1000.0 + 0.6 * t, -2000.0 + 0.1 * t, 3.0]) for t in range(sweeps)])
    pair_next = np.ones(sweeps, dtype=bool)
    pair_next[-1] = False
    if gap_after is not None:
        pair_next[gap_after] = False
    category = rng.choice(CATEGORY_CHOICES, total).astype(np.uint8)
    speed = np.where((category > 0) & (rng.random(total) < 0.7), rng.uniform(0, 2.4, total), 0.0)
    angle = rng.uniform(0, 2 * np.pi, total)
    motion = speed[:, None] * np.stack([np.cos(angle), np.sin(angle), np.zeros(total)], axis=1)
    rigid = np.zeros((total, 3))
    for t in np.flatnonzero(pair_next):
        rows = slice(start[t], start[t + 1])
        rigid[rows] = rigid_flow(xyz[rows], np.linalg.inv(poses[t + 1]) @ poses[t])
    paired = np.repeat(pair_next, np.diff(start))
    return {
        "xyz": xyz,
        "frame_start": start.astype(np.int64),
        "timestamp_ns": 315966265259836000 + 100_000_000 * np.arange(sweeps, dtype=np.int64),
        "city_SE3_ego": poses,
        "pair_next": pair_next,
        "flow": np.where(paired[:, None], rigid + motion, 0.0).astype(np.float32),
        "category": np.where(paired, category, 0).astype(np.uint8),
        "valid": paired & (rng.random(total) > 0.05),
        "ground_v1": rng.random(total) < 0.1,
        "ground_v2": rng.random(total) < 0.15,
        "residual": (motion + rng.normal(0, 0.06, (total, 3))).astype(np.float32),
    }


def write_log(data: Path, split: str, log_id: str, arrays: dict[str, Any], with_map: bool = True) -> str:
    """Write frames, truth, ground and predictions of a log; returns the digest of its frames."""
    total = len(arrays["xyz"])
    frames = {key: arrays[key] for key in ("xyz", "frame_start", "timestamp_ns", "city_SE3_ego", "pair_next")}
    frames["intensity"] = np.zeros(total, dtype=np.uint8)
    frames["laser_number"] = np.zeros(total, dtype=np.uint8)
    frames["offset_ns"] = np.zeros(total, dtype=np.int32)
    frames["ego_SE3_up_lidar"] = make_SE3(yaw(-0.005), [1.35, 0.0, 1.64])
    frames["ego_SE3_down_lidar"] = make_SE3(yaw(0.0), [1.35, 0.0, 1.5])
    digest = content_digest(frames)
    write_columns(data / "frames" / split / f"{log_id}.h5", "frames/1", frames, {"log_id": log_id, "digest": digest})
    of_log = {"log_id": log_id, "frames_digest": digest}
    truth = {key: arrays[key] for key in ("flow", "category", "valid")}
    truth["instance"] = np.zeros(total, dtype=np.int32)
    truth["has_flow"] = arrays["pair_next"]
    write_columns(data / "truth" / split / f"{log_id}.h5", "truth/1", truth, {**of_log, "recipe": "official"})
    ground = {"ground": arrays["ground_v1"]}
    if with_map:
        ground.update({key: arrays[key] for key in ("ground_v1", "ground_v2")})
    rule = "map_v1" if with_map else "patchwork++"
    write_columns(data / "ground" / split / f"{log_id}.h5", "ground/1", ground, {**of_log, "rule": rule})
    write_predictions(data, split, log_id, digest, arrays["residual"], arrays["pair_next"])
    return digest


def write_predictions(
    data: Path,
    split: str,
    log_id: str,
    digest: str,
    residual: NDArray[Any],
    has_flow: NDArray[Any],
    **attributes: Any,
) -> Path:
    path = data / "predictions" / split / f"{log_id}.h5"
    columns = {"residual": residual, "covered": np.ones(len(residual), dtype=bool), "has_flow": has_flow}
    made = {"weights": "ab" * 32, "device": "cpu", **attributes}
    write_columns(path, "predictions/1", columns, {"log_id": log_id, "frames_digest": digest, **made})
    return path


def write_split(root: Path, logs: Sequence[dict[str, Any]], split: str = "val") -> list[str]:
    """Write a split with its catalog under `root/data`; returns the log ids, sorted."""
    names = [f"log-{i:02d}" for i in range(len(logs))]
    for kind in ("frames", "truth", "ground", "predictions"):  # there also where the split has no logs
        (root / "data" / kind / split).mkdir(parents=True, exist_ok=True)
    for name, arrays in zip(names, logs, strict=True):
        write_log(root / "data", split, name, arrays)
    catalog = root / "data" / "catalog" / f"{split}.json"
    catalog.parent.mkdir(parents=True, exist_ok=True)
    catalog.write_text(json.dumps({"logs": names}) + "\n")
    return names
