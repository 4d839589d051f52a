# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small logs written out by hand, and real ones found by AV2_ROOT."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.data.logfile import LogFrames
from stages.frames.ingest import ingest_log
from stages.frames.write import content_digest, write_columns
from tests.pipeline.raw_logs import av2_entry, av2_ingest

PAIR_GAP_S = (0.08, 0.12)


def write_frames(
    path: Path,
    sweeps: list[np.ndarray],
    poses: np.ndarray | None = None,
    lasers: list[np.ndarray] | None = None,
    up: tuple[float, float, float] = (0.0, 0.0, 0.0),
    down: tuple[float, float, float] = (0.0, 0.0, 0.0),
    pair_next: list[bool] | None = None,
) -> LogFrames:
    """A frames file of sweeps (N_t, 3), 0.1 s apart, lidars mounted without rotation at `up` and `down`."""
    count = len(sweeps)
    points = [np.asarray(sweep, dtype=np.float32).reshape(-1, 3) for sweep in sweeps]
    total = sum(map(len, points))
    mounts = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    mounts[:, :3, 3] = up, down
    columns = {
        "xyz": np.concatenate(points),
        "intensity": np.zeros(total, np.uint8),
        "laser_number": np.zeros(total, np.uint8) if lasers is None else np.concatenate(lasers).astype(np.uint8),
        "offset_ns": np.zeros(total, np.int32),
        "frame_start": np.cumsum([0, *map(len, points)], dtype=np.int64),
        "timestamp_ns": 10**18 + 10**8 * np.arange(count, dtype=np.int64),
        "city_SE3_ego": np.broadcast_to(np.eye(4), (count, 4, 4)).copy() if poses is None else poses,
        "pair_next": np.array([t < count - 1 for t in range(count)] if pair_next is None else pair_next),
        "ego_SE3_up_lidar": mounts[0],
        "ego_SE3_down_lidar": mounts[1],
    }
    write_columns(path, "frames/1", columns, {"log_id": path.stem, "digest": content_digest(columns)})
    return LogFrames.open(path)


def box_row(t: int, track: str, centre: tuple[float, float, float], **changes: object) -> dict[str, object]:
    """One row of a boxes file: a pedestrian of 1.8 x 0.8 x 2 m that looks along x, at sweep `t`."""
    row: dict[str, object] = {
        "timestamp_ns": 10**18 + 10**8 * t,
        "track_uuid": track,
        "category": "PEDESTRIAN",
        "length_m": 1.8,
        "width_m": 0.8,
        "height_m": 2.0,
        "qw": 1.0,
        "qx": 0.0,
        "qy": 0.0,
        "qz": 0.0,
        "tx_m": centre[0],
        "ty_m": centre[1],
        "tz_m": centre[2],
        "num_interior_pts": 5,
    }
    return {**row, **changes}


def write_boxes(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def real_log(split: str, min_sweeps: int) -> Path:
    """Folder of the first real log with boxes of a split under AV2_ROOT, or a skip that says what is missing."""
    root = os.environ.get("AV2_ROOT")
    if not root:
        pytest.skip("AV2_ROOT is not set: no real logs to test on")
    for log in sorted(Path(root, "sensor", split).glob("*")):
        sweeps = len(list(log.glob("sensors/lidar/*.feather")))
        if sweeps >= min_sweeps and (log / "annotations.feather").exists():
            return log
    pytest.skip(f"AV2_ROOT ({root}) has no log with boxes and {min_sweeps} sweeps in {split}")


def ingest(log: Path, folder: Path) -> dict[str, Path | None]:
    """Frames, boxes and map of a raw log, as inputs of the functions under test."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {
        "frames": folder / "frames.h5",
        "boxes": folder / "boxes.parquet",
        "maps": folder / "maps.h5",
    }
    arguments = {"entry": json.dumps(av2_entry(log, "quick")), "digest": "quick"}
    ingest_log(log.name, {"raw": log}, outputs, av2_ingest(PAIR_GAP_S), arguments)
    return {kind: path if path.exists() else None for kind, path in outputs.items()}
