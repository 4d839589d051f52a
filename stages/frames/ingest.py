# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A raw log into frames, boxes and map: the only code that touches raw logs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.data.logfile import FRAMES_SCHEMA, LogFrames
from stages.av2.boxes import read_boxes
from stages.av2.layout import ANNOTATIONS, CALIBRATION, POSES, sweep_timestamps
from stages.av2.poses import read_mounts, read_poses
from stages.av2.raster import read_raster
from stages.av2.raw_log import RawLog
from stages.av2.sweeps import Sweep, read_sweep
from stages.frames.check import check_frames
from stages.frames.write import atomic, content_digest, write_columns


@dataclass(frozen=True)
class IngestParameters:
    """Section `ingest`.

    Attributes:
        pair_gap_s: least and greatest time between two sweeps that make a pair, seconds.
    """

    pair_gap_s: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.pair_gap_s
        if not 0 < low < high:
            raise ValueError(f"pair_gap_s must be two increasing positive times, not {list(self.pair_gap_s)}")


def ingest_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: IngestParameters,
    arguments: Mapping[str, str | int | float],
) -> None:
    """Write `frames`, and `boxes` and `maps` where the log has them.

    Args:
        log_id: id of the log.
        inputs: `raw`, the log folder.
        outputs: the files to write, by kind.
        parameters: the pair tolerance.
        arguments: `entry`, the log's catalog entry as JSON, and `digest`, the catalog's rule.

    Raises:
        InputError: naming log, file and remedy for anything that is missing, damaged or changed.
    """
    folder = inputs["raw"] or Path(log_id)
    log = RawLog(folder, json.loads(str(arguments["entry"])), str(arguments["digest"]))
    log.check_names()
    timestamps = np.array(sweep_timestamps(list(log.entry)), dtype=np.int64)
    _write_frames(outputs["frames"], log, timestamps, parameters)
    if log.has(ANNOTATIONS):
        boxes = read_boxes(log.read(ANNOTATIONS), log_id, timestamps).replace_schema_metadata(None)
        with atomic(outputs["boxes"]) as temporary:
            pq.write_table(boxes, temporary, compression="zstd")
    _write_map(outputs["maps"], log)
    check_frames(outputs["frames"])


def pair_next(timestamps: NDArray[np.int64], gap_s: tuple[float, float]) -> NDArray[np.bool_]:
    """Which sweeps (T,) are followed by the next within the tolerance; the last never is."""
    gap = np.diff(timestamps) / 1e9
    return np.append((gap >= gap_s[0]) & (gap <= gap_s[1]), False)


def _write_frames(path: Path, log: RawLog, timestamps: NDArray[np.int64], parameters: IngestParameters) -> None:
    poses = read_poses(log.read(POSES), log.log_id, timestamps)
    mounts = read_mounts(log.read(CALIBRATION), log.log_id)
    sweeps = [read_sweep(log.read(name), log.log_id, name) for name in log.sweeps()]
    columns: dict[str, NDArray[Any]] = {
        **_per_point(sweeps),
        "frame_start": np.cumsum([0, *(len(sweep.xyz) for sweep in sweeps)], dtype=np.int64),
        "timestamp_ns": timestamps,
        "city_SE3_ego": poses,
        "pair_next": pair_next(timestamps, parameters.pair_gap_s),
        **{f"ego_SE3_{lidar}": mount for lidar, mount in mounts.items()},
    }
    write_columns(path, FRAMES_SCHEMA, columns, {"log_id": log.log_id, "digest": content_digest(columns)})


def _per_point(sweeps: list[Sweep]) -> dict[str, NDArray[np.generic]]:
    names = ("xyz", "intensity", "laser_number", "offset_ns")
    return {name: np.concatenate([getattr(sweep, name) for sweep in sweeps]) for name in names}


def _write_map(path: Path, log: RawLog) -> None:
    height = log.only(".npy", "_ground_height_surface____")
    if height is None:
        return
    sim2 = log.only(".json", "___img_Sim2_city") or f"map/{log.log_id}___img_Sim2_city.json"
    raster = read_raster(log.read(height), height, log.read(sim2), sim2, log.log_id)
    columns: dict[str, NDArray[Any]] = {"height": raster.height, "array_R_city": raster.R, "array_t_city": raster.t}
    write_columns(path, "map/1", columns, {"log_id": log.log_id, "array_s_city": raster.s})


def write_index(folder: Path) -> None:
    """Write `index.parquet` beside the frames of a split: one row a sweep, in order of log and time."""
    import pyarrow as pa

    rows: dict[str, list[object]] = {
        name: [] for name in ("log_id", "frame", "timestamp_ns", "point_start", "point_count", "pair_next")
    }
    for path in sorted(folder.glob("*.h5")):
        log = LogFrames.open(path)
        rows["log_id"] += [log.log_id] * log.num_frames
        rows["frame"] += range(log.num_frames)
        rows["timestamp_ns"] += log.timestamp_ns.tolist()
        rows["point_start"] += log.frame_start[:-1].tolist()
        rows["point_count"] += np.diff(log.frame_start).tolist()
        rows["pair_next"] += log.pair_next.tolist()
    types = {"log_id": pa.string(), "pair_next": pa.bool_()}
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in rows])
    with atomic(folder / "index.parquet") as temporary:
        pq.write_table(pa.table(rows, schema=schema), temporary, compression="zstd")
