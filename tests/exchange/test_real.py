# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A real log, points in half precision and mounts that turn, to OpenSceneFlow's layout and back."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.data.logfile import LogFrames
from stages.exchange.export import export_split
from stages.exchange.importing import ImportTask, import_log
from tests.evaluation.raw import prepare


def test_a_real_log_there_and_back_gives_the_same_bytes(tmp_path: Path) -> None:
    raw = Path(os.environ.get("AV2_ROOT", "")) / "sensor/val"
    if "AV2_ROOT" not in os.environ or not raw.is_dir():
        pytest.skip("AV2_ROOT names no folder with sensor/val/<log>")
    data = tmp_path / "data"
    log = prepare(raw, data, "val")[0]
    frames = LogFrames.open(data / f"frames/val/{log}.h5")
    scene = export_split(data, "val", [log], tmp_path / "osf", "ours", None)[0]
    with h5py.File(scene) as file:  # the points that are stored are those of the lidar, by a matrix product of our own
        stored = file[str(frames.timestamp_ns[0])]["lidar"][()]
        lidar_SE3_ego = np.linalg.inv(frames.ego_SE3_lidar["up_lidar"])
        points = np.c_[frames.xyz(0).astype(float), np.ones(len(stored))] @ lidar_SE3_ego.T
        np.testing.assert_allclose(stored, points[:, :3], atol=2e-5)  # float32 at 200 m
    written = import_log(scene, tmp_path / "back", ImportTask("val", None, None, (0.05, 0.15)))
    assert {"frames", "ground", "truth"} <= set(written)
    for kind in ("frames", "ground", "truth"):
        assert written[kind].read_bytes() == (data / kind / "val" / f"{log}.h5").read_bytes(), kind
