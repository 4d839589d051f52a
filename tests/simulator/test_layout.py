# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated log has Argoverse 2's files, columns and types, and the av2 package reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest

from tests.simulator.conftest import SWEEPS
from tests.simulator.logs import columns, poses, read_log

POSE = {name: "double" for name in ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")}
SCHEMAS = {
    "sensors/lidar/*.feather": {
        "x": "halffloat",
        "y": "halffloat",
        "z": "halffloat",
        "intensity": "uint8",
        "laser_number": "uint8",
        "offset_ns": "int32",
    },
    "city_SE3_egovehicle.feather": {"timestamp_ns": "int64", **POSE},
    "calibration/egovehicle_SE3_sensor.feather": {"sensor_name": "string", **POSE},
    "calibration/intrinsics.feather": {
        "sensor_name": "string",
        **{name: "double" for name in ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3")},
        "height_px": "uint16",
        "width_px": "uint16",
    },
    "annotations.feather": {
        "timestamp_ns": "int64",
        "track_uuid": "string",
        "category": "string",
        "length_m": "double",
        "width_m": "double",
        "height_m": "double",
        **POSE,
        "num_interior_pts": "int64",
    },
}


def schema(folder: Path, pattern: str) -> dict[str, str]:
    file = sorted(folder.glob(pattern))[0]
    return {field.name: str(field.type) for field in pyarrow.feather.read_table(file).schema}


@pytest.mark.parametrize("pattern", SCHEMAS)
def test_columns_and_types(val_log: Path, pattern: str) -> None:
    assert schema(val_log, pattern) == SCHEMAS[pattern]


def real_log() -> Path | None:
    root = os.environ.get("AV2_ROOT")
    logs = sorted(p.parent for p in Path(root).glob("sensor/val/*/annotations.feather")) if root else []
    return logs[0] if logs else None


@pytest.mark.skipif(real_log() is None, reason="AV2_ROOT names no folder with sensor/val/<log>/annotations.feather")
@pytest.mark.parametrize("pattern", SCHEMAS)
def test_columns_and_types_of_a_real_log(pattern: str) -> None:
    folder = real_log()
    assert folder is not None
    if not list(folder.glob(pattern)):
        pytest.skip(f"{folder.name} has no {pattern}")
    assert schema(folder, pattern) == SCHEMAS[pattern]


def test_poses_are_denser_than_sweeps_and_exact_at_each(val_log: Path) -> None:
    stamps = [int(f.stem) for f in (val_log / "sensors" / "lidar").iterdir()]
    track = columns(val_log / "city_SE3_egovehicle.feather")
    moments, counts = np.unique(track["timestamp_ns"], return_counts=True)
    assert len(stamps) == SWEEPS
    assert len(moments) > 10 * SWEEPS and counts.max() == 1
    assert np.isin(stamps, moments).all()
    place = poses(track)[:, :3, 3]
    assert 1000 < np.hypot(place[:, 0], place[:, 1]).min() and np.hypot(place[:, 0], place[:, 1]).max() < 5000
    assert (np.diff(track["timestamp_ns"]) > 0).all()


def test_both_lidars_turn_through_the_whole_sweep(val_log: Path) -> None:
    sweep = read_log(val_log).sweeps[0]
    assert set(np.unique(sweep["laser_number"])) == set(range(64))
    assert (np.diff(sweep["offset_ns"].astype(np.int64)) >= 0).all()
    azimuth = np.arctan2(sweep["y"].astype(float), sweep["x"].astype(float) - 1.35)
    for lidar in (sweep["laser_number"] < 32, sweep["laser_number"] >= 32):
        offset = sweep["offset_ns"][lidar]
        assert offset.min() >= 0 and 90e6 < offset.max() < 110e6
        early = lidar & (sweep["offset_ns"] < offset.min() + 25e6)
        assert np.ptp(np.unwrap(np.sort(azimuth[early]))) < np.pi  # a quarter turn and the beams' spread


def test_test_split_has_no_annotations(test_log: Path) -> None:
    assert not (test_log / "annotations.feather").exists()
    assert (test_log / "city_SE3_egovehicle.feather").exists()


def test_ground_raster_lies_under_the_ego_car(val_log: Path) -> None:
    log = read_log(val_log)
    height = np.load(next((val_log / "map").glob("*_ground_height_surface____*.npy")))
    sim2 = json.loads(next((val_log / "map").glob("*___img_Sim2_city.json")).read_text())
    assert height.dtype == np.float16 and sim2["s"] == pytest.approx(1 / 0.3)
    for pose in log.city_SE3_ego:
        column, row = np.floor(sim2["s"] * (pose[:2, 3] + sim2["t"])).astype(int)
        # the ego frame's origin is 0.33 m up; a cell of 0.3 m on a slope and float16 cost about 2 cm
        assert pose[2, 3] - height[row, column] == pytest.approx(0.33, abs=0.03)


def test_av2_reads_sweeps_poses_boxes_and_map(val_log: Path) -> None:
    from av2.datasets.sensor.av2_sensor_dataloader import AV2SensorDataLoader
    from av2.map.map_api import ArgoverseStaticMap
    from av2.structures.sweep import Sweep

    log = read_log(val_log)
    loader = AV2SensorDataLoader(data_dir=val_log.parent, labels_dir=val_log.parent)
    stamps = loader.get_ordered_log_lidar_timestamps(val_log.name)
    assert stamps == log.stamps
    np.testing.assert_allclose(
        loader.get_city_SE3_ego(val_log.name, stamps[1]).transform_matrix, log.city_SE3_ego[1], atol=1e-9
    )
    table, pose = log.boxes_at(0)
    cuboids = loader.get_labels_at_lidar_timestamp(val_log.name, stamps[0]).cuboids
    assert [c.category for c in cuboids] == list(table["category"])
    np.testing.assert_allclose([c.dst_SE3_object.translation for c in cuboids], pose[:, :3, 3], atol=1e-9)
    sweep = Sweep.from_feather(val_log / "sensors" / "lidar" / f"{stamps[0]}.feather")
    np.testing.assert_array_equal(sweep.xyz, log.points[0])
    static_map = ArgoverseStaticMap.from_map_dir(val_log / "map", build_raster=True)
    assert static_map.vector_lane_segments and static_map.vector_drivable_areas
    city = sweep.xyz @ log.city_SE3_ego[0][:3, :3].T + log.city_SE3_ego[0][:3, 3]
    assert 0.05 < static_map.get_ground_points_boolean(city).mean() < 0.6


def test_av2_scene_flow_loader_gives_flow(val_log: Path) -> None:
    from av2.torch.data_loaders.scene_flow import SceneFlowDataloader

    loader = SceneFlowDataloader(val_log.parents[3], "av2", "val")
    assert len(loader) == SWEEPS - 1
    sweep, _, _, flow = loader[0]
    log = read_log(val_log)
    np.testing.assert_array_equal(sweep.lidar.as_tensor()[:, :3].numpy(), log.points[0].astype(np.float32))
    assert flow.is_dynamic.sum() > 100
