# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Argoverse 2's lidar data set: the same logs without boxes, under `lidar/`, here without maps too."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from models.data.logfile import LogColumns, LogFrames
from tests.pipeline.project import SMALL, make_project
from tests.pipeline.raw_logs import POSE, TIMES, sweep_table, write_feather, write_log

LOGS = [f"{digit * 8}-2222-3333-4444-555555555555" for digit in "ab"]


def street(seed: int) -> pa.Table:
    """A sweep of 6,000 points, most of them on a flat street a wheel's radius below the axle, the others above it."""
    table = sweep_table(6000, seed)
    z = abs(table["z"].to_numpy()) / 10
    z[:5000] = -0.33
    return table.set_column(table.column_names.index("z"), "z", pa.array(z))


def write_lidar_log(root: Path, split: str, log: str) -> Path:
    """A log of four sweeps of 6,000 points, as the lidar data set has them, less its map."""
    folder = write_log(root / "sensor-layout", split, log)
    for i, time in enumerate(TIMES):
        write_feather(folder / f"sensors/lidar/{time}.feather", street(seed=i))
    mounts = {"sensor_name": ["up_lidar", "down_lidar"], "qw": [1.0, 1.0], "tz_m": [1.4, 1.3]}
    rest = {name: [0.0, 0.0] for name in POSE if name not in mounts}
    write_feather(folder / "calibration/egovehicle_SE3_sensor.feather", pa.table({**mounts, **rest}))
    (folder / "annotations.feather").unlink()
    shutil.rmtree(folder / "map")
    target = root / "lidar" / split / log
    target.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(target)


@pytest.mark.slow
def test_from_raw_logs_to_a_trained_network(tmp_path: Path) -> None:
    """Two logs for training, none to score: frames, Patchwork++ ground, labels, weights; no boxes, maps or truth."""
    root = tmp_path / "av2"
    for log in LOGS:
        write_lidar_log(root, "train", log)
    shutil.rmtree(root / "sensor-layout")
    small = {
        **SMALL,
        "data.source": "av2",
        "catalog.digest": "quick",
        "train.seflow.dynamic": 0.0,
        "train.seflow.cluster": 0.0,
    }
    project = make_project(tmp_path / "project", small)
    project.repro("train", "quality", AV2_ROOT=os.fspath(root))
    data = project.folder / "data"
    for log in LOGS:
        frames = LogFrames.open(data / f"frames/train/{log}.h5")
        assert (frames.num_frames, frames.num_points) == (4, 24_000)
        ground = LogColumns.open(data / f"ground/train/{log}.h5", "ground/1", frames).column("ground")
        assert 0 < ground.sum() < len(ground)
        assert (data / f"clusters/train/{log}.h5").exists()
    for kind in ("boxes", "maps", "truth"):
        assert [path.name for path in (data / kind / "train").iterdir()] == []
    assert (data / "weights/flow.safetensors").stat().st_size > 0
