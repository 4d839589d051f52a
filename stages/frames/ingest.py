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
from models.errors import InputError
from stages.frames.check import check_frames
from stages.frames.write import atomic, content_digest, write_columns
from stages.sources.adapter import LIDARS, Adapter, Sweep
from stages.sources.log_files import LogFiles
from stages.sources.transforms import require_increasing, require_transforms

_REMEDY = "correct the data or its adapter, then run `make catalog`"


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


@dataclass(frozen=True)
class Ingest:
    """What decides the files of a log beside its raw files.

    Attributes:
        pair_gap_s: as in `IngestParameters`.
        adapter: how the raw files are read.
        code: digest of the adapter's code, so that a change of one adapter leaves logs of the others as they are.
    """

    pair_gap_s: tuple[float, float]
    adapter: Adapter
    code: str


def ingest_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: Ingest,
    arguments: Mapping[str, str | int | float],
) -> None:
    """Write `frames`, and `boxes` and `maps` where the log has them.

    Args:
        log_id: id of the log.
        inputs: `raw`, the folder that the catalog's names are relative to.
        outputs: the files to write, by kind.
        parameters: the pair tolerance, and how to read.
        arguments: `entry`, the log's catalog entry as JSON, and `digest`, the catalog's rule.

    Raises:
        InputError: naming log, file and remedy for anything that is missing, damaged or changed.
    """
    adapter, folder = parameters.adapter, inputs["raw"] or Path(log_id)
    entry = json.loads(str(arguments["entry"]))
    log = LogFiles(log_id, folder, entry, str(arguments["digest"]), adapter.is_sweep)
    log.check_folder()
    log.check_names(adapter.files(log_id, folder))
    _write_frames(outputs["frames"], adapter, log, parameters.pair_gap_s)
    boxes = adapter.boxes(log)
    if boxes is not None:
        with atomic(outputs["boxes"]) as temporary:
            pq.write_table(boxes.replace_schema_metadata(None), temporary, compression="zstd")
    _write_map(outputs["maps"], adapter, log)
    check_frames(outputs["frames"])


def pair_next(timestamps: NDArray[np.int64], gap_s: tuple[float, float]) -> NDArray[np.bool_]:
    """Which sweeps (T,) are followed by the next within the tolerance; the last never is."""
    gap = np.diff(timestamps) / 1e9
    return np.append((gap >= gap_s[0]) & (gap <= gap_s[1]), False)


def _write_frames(path: Path, adapter: Adapter, log: LogFiles, gap_s: tuple[float, float]) -> None:
    timestamps = adapter.timestamps(log)
    _require(len(timestamps) > 0, log, "has no sweep")
    require_increasing(timestamps, log.log_id, "times of the sweeps", _REMEDY)
    poses = require_transforms(adapter.poses(log), len(timestamps), log.log_id, "poses", _REMEDY)
    mounts = adapter.mounts(log)
    _require(set(mounts) == set(LIDARS), log, f"has mounts of {sorted(mounts)}, wanted {' and '.join(LIDARS)}")
    mounts = {
        lidar: require_transforms(mount[None], 1, log.log_id, f"mount of {lidar}", _REMEDY)[0]
        for lidar, mount in mounts.items()
    }
    sweeps = [_finite_sweep(adapter, log, index) for index in range(len(timestamps))]
    columns: dict[str, NDArray[Any]] = {
        **_per_point(sweeps),
        "frame_start": np.cumsum([0, *(len(sweep.xyz) for sweep in sweeps)], dtype=np.int64),
        "timestamp_ns": timestamps,
        "city_SE3_ego": poses,
        "pair_next": pair_next(timestamps, gap_s),
        **{f"ego_SE3_{lidar}": mount for lidar, mount in mounts.items()},
    }
    write_columns(path, FRAMES_SCHEMA, columns, {"log_id": log.log_id, "digest": content_digest(columns)})


def _finite_sweep(adapter: Adapter, log: LogFiles, index: int) -> Sweep:
    sweep = adapter.sweep(log, index)
    _require(bool(np.isfinite(sweep.xyz).all()), log, f"has points with NaN or infinity in sweep {index}")
    return sweep


def _require(fine: bool, log: LogFiles, fault: str) -> None:
    """What an adapter itself did not refuse."""
    if not fine:
        raise InputError(f"log {log.log_id} {fault}; {_REMEDY}")


def _per_point(sweeps: list[Sweep]) -> dict[str, NDArray[np.generic]]:
    names = ("xyz", "intensity", "laser_number", "offset_ns")
    return {name: np.concatenate([getattr(sweep, name) for sweep in sweeps]) for name in names}


def _write_map(path: Path, adapter: Adapter, log: LogFiles) -> None:
    raster = adapter.raster(log)
    if raster is None:
        return
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
