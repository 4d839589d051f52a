# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Our readers against the `av2` package's own, on a log that both can read."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from models.geometry import inverse_SE3, make_SE3, quaternion_to_rotation, rigid_flow, transform_points
from stages.av2.adapter import Av2
from stages.av2.layout import dataset_folder, sweep_timestamps
from stages.av2.poses import read_mounts, read_poses
from stages.av2.sweeps import read_sweep
from stages.sources.catalog import file_entry
from stages.sources.log_files import LogFiles
from tests.pipeline.raw_logs import TIMES, av2_entry, write_log


@pytest.fixture(scope="module")
def real_log() -> Path:
    if "AV2_ROOT" not in os.environ:
        pytest.skip("AV2_ROOT is not set: no real log to read")
    logs = Av2().logs(dataset_folder(Path(os.environ["AV2_ROOT"])), "val")
    if not logs:
        pytest.skip("AV2_ROOT has no val split")
    return min(logs.values())


def test_poses_and_mounts_equal_av2(real_log: Path) -> None:
    from av2.utils.io import read_city_SE3_ego, read_ego_SE3_sensor

    times = np.array(sorted(int(path.stem) for path in (real_log / "sensors/lidar").glob("*.feather")))
    ours = read_poses((real_log / "city_SE3_egovehicle.feather").read_bytes(), real_log.name, times)
    theirs = read_city_SE3_ego(real_log)
    for time, pose in zip(times, ours, strict=True):
        np.testing.assert_allclose(pose, theirs[time].transform_matrix, rtol=0, atol=1e-9)
    mounts = read_mounts((real_log / "calibration/egovehicle_SE3_sensor.feather").read_bytes(), real_log.name)
    for name, mount in mounts.items():
        np.testing.assert_allclose(mount, read_ego_SE3_sensor(real_log)[name].transform_matrix, rtol=0, atol=1e-9)


def test_a_sweep_equals_av2(real_log: Path) -> None:
    from av2.structures.sweep import Sweep

    path = min((real_log / "sensors/lidar").glob("*.feather"))
    ours, theirs = read_sweep(path.read_bytes(), real_log.name, path.name), Sweep.from_feather(path)
    assert ours.xyz.dtype == np.float16
    assert np.array_equal(ours.xyz, theirs.xyz.astype(np.float16))
    assert np.array_equal(ours.laser_number, theirs.laser_number)
    assert np.array_equal(ours.offset_ns, theirs.offset_ns)


def test_transforms_by_hand() -> None:
    """A quarter turn about z (w = z = 1/sqrt 2) takes x to y; then a step of (1, 2, 3)."""
    half = np.sqrt(0.5)
    T = make_SE3(quaternion_to_rotation([half, 0, 0, half]), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(transform_points(T, np.array([[1.0, 0, 0]])), [[1, 3, 3]], atol=1e-15)
    np.testing.assert_allclose(rigid_flow(np.array([[1.0, 0, 0]]), T), [[0, 3, 3]], atol=1e-15)
    np.testing.assert_allclose(inverse_SE3(T) @ T, np.eye(4), atol=1e-15)


def test_times_are_listed_once_for_all_sweeps_of_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[int] = []

    def counted(names: Iterable[str]) -> list[int]:
        listed.append(len(tuple(names)))
        return sweep_timestamps(names)

    monkeypatch.setattr("stages.av2.adapter.sweep_timestamps", counted)
    for log_id in ("a", "b"):
        folder = write_log(tmp_path / log_id, times=TIMES if log_id == "a" else TIMES[1:])
        log = LogFiles(log_id, folder, av2_entry(folder, "full"), "full", Av2().is_sweep)
        times = Av2().timestamps(log)
        assert times.tolist() == (TIMES if log_id == "a" else TIMES[1:])
        for index in range(len(times)):
            assert np.array_equal(Av2().sweep(log, index).xyz, read(folder, times[index]))
    assert len(listed) == 2


def read(folder: Path, time: int) -> np.ndarray:
    name = f"sensors/lidar/{time}.feather"
    return read_sweep((folder / name).read_bytes(), "a", name).xyz


def test_quick_digest_sees_size_and_both_ends_of_sweeps_only(tmp_path: Path) -> None:
    big = tmp_path / "sweep.feather"
    content = bytearray(200 * 1024)
    name = "sensors/lidar/1.feather"

    def entry(name: str, rule: str) -> tuple[int, str]:
        big.write_bytes(content)
        return file_entry(big, rule, Av2().is_sweep(name))

    quick, full, small = entry(name, "quick"), entry(name, "full"), entry("annotations.feather", "quick")
    content[100 * 1024] = 1  # in the middle
    assert entry(name, "quick") == quick
    assert entry(name, "full") != full
    assert entry("annotations.feather", "quick") != small
    content[-1] = 1
    assert entry(name, "quick") != quick


def test_a_catalog_entry_names_no_place(tmp_path: Path) -> None:
    here, there = write_log(tmp_path / "a"), write_log(tmp_path / "b")
    assert av2_entry(here, "full") == av2_entry(there, "full")
    assert str(tmp_path) not in json.dumps(av2_entry(here, "full"))
