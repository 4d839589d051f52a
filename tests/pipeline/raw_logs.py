# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A raw log of a few points in AV2's layout, written out by hand, for tests that break it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

from stages.av2.adapter import Av2
from stages.frames.ingest import Ingest
from stages.sources.catalog import log_entry

BOXES = "annotations.feather"
LOG = "11111111-2222-3333-4444-555555555555"
TIMES = [315966265259836000 + 100_000_000 * i for i in range(4)]
POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


def av2_entry(folder: Path, digest: str) -> dict[str, list[int | str]]:
    """Catalog entry of a log in AV2's layout."""
    return log_entry(folder, Av2().files(folder.name, folder), digest, Av2().is_sweep)


def av2_ingest(pair_gap_s: tuple[float, float] = (0.05, 0.15)) -> Ingest:
    """What ingest is told about a log in AV2's layout."""
    return Ingest(pair_gap_s, Av2(), code="")


def sweep_table(points: int = 20, seed: int = 0) -> pa.Table:
    xyz = np.random.default_rng(seed).uniform(-20, 20, (points, 3)).astype(np.float16)
    return pa.table(
        {
            **{axis: xyz[:, i] for i, axis in enumerate("xyz")},
            "intensity": np.arange(points, dtype=np.uint8),
            "laser_number": (np.arange(points) % 64).astype(np.uint8),
            "offset_ns": (np.arange(points) * 1000).astype(np.int32),
        }
    )


def pose_table(times: list[int]) -> pa.Table:
    rows = [(1.0, 0.0, 0.0, 0.0, 5000.0 + i, 2000.0, 40.0) for i in range(len(times))]
    columns = dict(zip(POSE, np.array(rows).T, strict=True))
    return pa.table({"timestamp_ns": np.array(times, dtype=np.int64), **columns})


def box_table(times: list[int], **changed: object) -> pa.Table:
    """One car seen in every sweep; `changed` replaces columns of the first row."""
    row: dict[str, object] = {
        "track_uuid": "car-1",
        "category": "REGULAR_VEHICLE",
        **dict(zip(("length_m", "width_m", "height_m", *POSE), (4.0, 2.0, 1.5, 1.0, 0, 0, 0, 5.0, 0, 0), strict=True)),
        "num_interior_pts": 3,
    }
    rows = [{"timestamp_ns": time, **row} for time in times]
    rows[0].update(changed)
    types = {
        "timestamp_ns": pa.int64(),
        "track_uuid": pa.string(),
        "category": pa.string(),
        "num_interior_pts": pa.int64(),
    }
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema=schema)


def write_feather(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(table, path, compression="uncompressed")


def write_log(root: Path, split: str = "train", log: str = LOG, times: list[int] | None = None) -> Path:
    """Write a whole good log under `root/sensor/split/log` and return its folder."""
    times = TIMES if times is None else times
    folder = root / "sensor" / split / log
    for i, time in enumerate(times):
        write_feather(folder / f"sensors/lidar/{time}.feather", sweep_table(seed=i))
    write_feather(folder / "city_SE3_egovehicle.feather", pose_table(times))
    mounts = pose_table([0, 0]).drop_columns(["timestamp_ns"])
    names = pa.array(["up_lidar", "down_lidar"])
    write_feather(folder / "calibration/egovehicle_SE3_sensor.feather", mounts.add_column(0, "sensor_name", names))
    write_feather(folder / "annotations.feather", box_table(times))
    (folder / "map").mkdir()
    np.save(folder / f"map/{log}_ground_height_surface____PIT.npy", np.full((10, 10), 40, dtype=np.float16))
    sim2 = {"R": [1.0, 0.0, 0.0, 1.0], "t": [-4990.0, -1990.0], "s": 1 / 0.3}
    (folder / f"map/{log}___img_Sim2_city.json").write_text(json.dumps(sim2))
    return folder
