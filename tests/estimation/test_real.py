# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Real logs under AV2_ROOT: one flow from every format, ego motion without poses, and whether the flow is worth it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.feather as feather
import pytest
from scipy.spatial.transform import Rotation

from models.geometry import inverse_SE3, make_SE3, transform_points
from stages.estimation.formats import read_cloud
from stages.estimation.frame import Frame
from stages.estimation.motion import Overlay, Source, turn_deg
from stages.estimation.poses import read_poses, sweep_poses
from stages.estimation.sequence import sweep_times
from stages.estimation.validate_frame import check_frame
from stages.estimation.validate_pair import check_motion
from tests.estimation.scene import write
from tests.estimation.test_command import MARKS, NAMES, columns
from tests.labels.logs import real_log

MOUNT = (1.3, 0.0, 1.6)  # m, of a lidar in the vehicle's frame; any place does, points are only moved there
POSES = "city_SE3_egovehicle.feather"


@pytest.fixture(scope="module")
def log() -> Path:
    return real_log("val", 2)


def sweeps(log: Path) -> list[Path]:
    return sorted((log / "sensors/lidar").glob("*.feather"))


def test_the_same_points_in_every_format_have_the_same_flow(log: Path, estimate: Callable, tmp_path: Path) -> None:
    """From Argoverse 2's own files, and from copies of their points that are named by the same times."""
    files = sweeps(log)[:2]
    result = estimate(*files, "--poses", log / POSES, "-o", tmp_path / "own", "--no-picture")
    assert (result.code, result.err) == (0, "")
    own = columns(tmp_path / "own" / files[0].name)
    assert own["flow_x"].dtype == np.float32 and len(own["valid"]) == len(read_cloud(files[0]).xyz)
    for suffix in (".npy", ".bin", ".pcd", ".ply", ".csv"):
        copies = [write(tmp_path / f"{file.stem}{suffix}", read_cloud(file).xyz) for file in files]
        result = estimate(*copies, "--poses", log / POSES, "-o", tmp_path / "copies", "--no-picture")
        assert (result.code, result.err) == (0, "")
        got = columns(tmp_path / "copies" / copies[0].name)
        for name in [*NAMES, *MARKS]:
            np.testing.assert_array_equal(got[name].astype(np.float32), own[name].astype(np.float32), name)


def test_kitti_sweeps_without_poses_get_their_ego_motion(log: Path, estimate: Callable, tmp_path: Path) -> None:
    """Against the true relative pose: 3 cm and 0.1°, a tenth of a walking pedestrian's step and of a sharp turn."""
    ego_SE3_lidar = make_SE3(np.eye(3), MOUNT)
    files = sweeps(log)[:8]
    (tmp_path / "velodyne").mkdir()
    for i, file in enumerate(files):
        write(tmp_path / f"velodyne/{i:06d}.bin", (read_cloud(file).xyz - MOUNT).astype(np.float32))
    height = MOUNT[2] + 0.33
    result = estimate(tmp_path / "velodyne", "--mount-height", height, "-o", tmp_path / "out", "--no-picture")
    assert result.code == 0 and "warning: no poses are given; ego motion by registration" in result.err
    poses, _ = sweep_poses(read_poses(log / POSES), files, sweep_times(files))
    record = json.loads(
        (tmp_path / "out/000000.json" if len(files) == 2 else tmp_path / "out/estimate.json").read_text()
    )
    assert len(record["pairs"]) == len(files) - 1
    for i, row in enumerate(record["pairs"]):
        true = inverse_SE3(poses[i + 1] @ ego_SE3_lidar) @ poses[i] @ ego_SE3_lidar
        off = inverse_SE3(true) @ np.array(row["ego_motion"]["ego1_SE3_ego0"])
        assert np.linalg.norm(off[:3, 3]) < 0.03, i
        assert turn_deg(off) < 0.1, i
        assert row["ego_motion"]["residual_m"] < 0.05


def test_wrong_ego_motion_of_a_real_pair_is_found(log: Path) -> None:
    """The checks of `test_validate`, where walls, trees and traffic are real and the vehicle hardly moves."""
    files = sweeps(log)[-5::4][:2] if len(sweeps(log)) > 4 else sweeps(log)[:2]
    first, second = map(read_cloud, files)
    poses, _ = sweep_poses(read_poses(log / POSES), files, sweep_times(files))
    true = inverse_SE3(poses[1]) @ poses[0]
    moved = replace(second, xyz=transform_points(inverse_SE3(true), second.xyz).astype(np.float32))
    pair, compensated = Overlay(first, second), Overlay(first, moved)

    def found(overlay: Overlay, motion: np.ndarray, source: Source, inverted: np.ndarray | None = None) -> set[str]:
        return {finding.name for finding in check_motion(overlay, overlay.judged(motion, source), True, inverted)}

    assert found(pair, true, "poses") == set()
    assert found(compensated, true, "poses") == {"compensated"}
    assert found(pair, inverse_SE3(true), "poses") == {"inverted"}
    assert found(pair, poses[1] @ inverse_SE3(poses[0]), "poses", true) == {"inverted"}  # each pose, kilometres away
    assert found(pair, true, "poses", poses[1] @ inverse_SE3(poses[0])) == set()
    assert found(pair, np.eye(4), "compensated") == {"not compensated"}
    assert found(compensated, np.eye(4), "compensated") == set()


def turned(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        (np.eye(3), None, ""),
        (3.28084 * np.eye(3), "units", "in feet the road lies where it should, at z = -0.33 m"),
        (10 * np.eye(3), "units", "farther than any lidar sees: decimetres ("),
        (100 * np.eye(3), "units", "farther than any lidar sees: centimetres ("),
        (turned("y", 6), "tilt", "° off level (it rises by -"),
        (turned("x", -20), "tilt", "mounted at a slant? level the points"),
        (np.diag([1.0, -1.0, -1.0]), "upside down", "z points down"),
    ],
)
def test_a_real_cloud_in_another_frame_is_found(log: Path, change: np.ndarray, name: str | None, words: str) -> None:
    """Streets are never quite level, and vehicles stand in them."""
    for file in sweeps(log)[:: max(1, len(sweeps(log)) // 4)]:
        found = list(check_frame(read_cloud(file).xyz @ change.T, Frame()))
        assert [finding.name for finding in found] == ([] if name is None else [name])
        assert all(words in finding.text for finding in found)


def test_moving_points_of_a_real_pair_get_most_of_their_flow(log: Path, estimate: Callable, tmp_path: Path) -> None:
    """The default weights, which never saw a real cloud: at most half of ego motion's error; still points stay."""
    if not (log / "flow_labels.feather").exists():
        pytest.skip(f"log {log.name} has no flow_labels.feather to compare with")
    files = sweeps(log)[:2]
    assert estimate(*files, "--poses", log / POSES, "-o", tmp_path, "--no-picture").code == 0
    got, labels = columns(tmp_path / files[0].name), feather.read_table(log / "flow_labels.feather")
    flow, residual = (np.stack([got[f"{name}_{axis}"] for axis in "xyz"], axis=1) for name in ("flow", "residual"))
    truth = np.stack([labels[f"flow_t{axis}_m"].to_numpy() for axis in "xyz"], axis=1)
    moving = labels["dynamic"].to_numpy() & got["covered"]
    still = ~labels["dynamic"].to_numpy() & got["covered"]
    error = np.linalg.norm(flow - truth, axis=1)
    ego_motion = np.linalg.norm(flow - residual - truth, axis=1)
    assert moving.sum() > 1000
    assert error[moving].mean() < 0.5 * ego_motion[moving].mean()
    assert error[still].mean() < 0.05
