# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogColumns
from models.geometry import inverse_SE3, make_SE3, rigid_flow
from stages.labels.categories import CATEGORY_ID
from stages.labels.truth import TruthParameters, truth_log
from tests.labels.logs import box_row, write_boxes, write_frames

PEDESTRIAN, BUS = CATEGORY_ID["PEDESTRIAN"], CATEGORY_ID["BUS"]
OFFICIAL = TruthParameters("official")


def truth_of(
    folder: Path,
    points: list[list[float]],
    rows: list[dict[str, object]],
    poses: np.ndarray | None = None,
    sweeps: int = 2,
    pair_next: list[bool] | None = None,
) -> LogColumns:
    """Truth of a log whose sweeps all hold the same points."""
    frames = write_frames(folder / "log.h5", [np.array(points)] * sweeps, poses, pair_next=pair_next)
    inputs = {"frames": folder / "log.h5", "boxes": write_boxes(folder / "log.parquet", rows)}
    truth_log("log", inputs, {"truth": folder / "truth.h5"}, OFFICIAL)
    return LogColumns.open(folder / "truth.h5", "truth/1", frames)


def test_three_points_and_one_box(tmp_path: Path) -> None:
    # The box is 1.8 x 0.8 x 2 m around (10, 0, 0): grown to 2 x 1 x 2 m. The car drives 0.5 m along x.
    poses = np.stack([np.eye(4), make_SE3(np.eye(3), [0.5, 0.0, 0.0])])
    points = [[10.0, 0.0, 0.0], [11.0, 0.5, 1.0], [11.0, 0.5, 1.0000001192092896]]
    rows = [box_row(0, "a", (10.0, 0.0, 0.0)), box_row(1, "a", (9.75, 0.25, 0.0))]
    truth = truth_of(tmp_path, points, rows, poses)
    # On the grown faces: inside. Height does not grow: the last point is 0.1 micrometres outside.
    assert truth.column("flow")[:3].tolist() == [[-0.25, 0.25, 0.0], [-0.25, 0.25, 0.0], [-0.5, 0.0, 0.0]]
    assert truth.column("category")[:3].tolist() == [PEDESTRIAN, PEDESTRIAN, 0]
    assert truth.column("instance")[:3].tolist() == [1, 1, 0]
    assert truth.column("valid")[:3].tolist() == [True, True, True]
    assert truth.column("has_flow").tolist() == [True, False]
    assert truth.attributes["recipe"] == "official"


def test_last_sweep_has_no_truth(tmp_path: Path) -> None:
    rows = [box_row(t, "a", (10.0, 0.0, 0.0)) for t in (0, 1)]
    truth = truth_of(tmp_path, [[10.0, 0.0, 0.0]], rows)
    assert truth.column("flow")[1].tolist() == [0.0, 0.0, 0.0]
    assert not truth.column("valid")[1] and truth.column("category")[1] == 0


def test_turning_box_carries_its_points_round(tmp_path: Path) -> None:
    half = np.sqrt(0.5)
    rows = [box_row(0, "a", (10.0, 0.0, 0.0)), box_row(1, "a", (10.0, 0.0, 0.0), qw=half, qz=half)]
    truth = truth_of(tmp_path, [[10.75, 0.25, 0.0]], rows)
    # In the box (0.75, 0.25); a quarter turn takes it to (-0.25, 0.75).
    np.testing.assert_allclose(truth.column("flow")[0], [-1.0, 0.5, 0.0], atol=1e-7)


def test_box_that_looks_along_y(tmp_path: Path) -> None:
    half = np.sqrt(0.5)
    rows = [box_row(t, "a", (10.0, 0.0, 0.0), qw=half, qz=half) for t in (0, 1)]
    truth = truth_of(tmp_path, [[10.0, 0.9, 0.0], [10.9, 0.0, 0.0]], rows)
    assert truth.column("category")[:2].tolist() == [PEDESTRIAN, 0]


def test_rolled_and_pitched_box_moves_rigidly(tmp_path: Path) -> None:
    q0, q1 = np.array([0.96, 0.08, 0.1, 0.25]), np.array([0.95, 0.1, -0.08, 0.28])
    q0, q1 = q0 / np.linalg.norm(q0), q1 / np.linalg.norm(q1)
    names = ("qw", "qx", "qy", "qz")
    rows = [
        box_row(0, "a", (10.0, 0.0, 0.0), **dict(zip(names, q0.tolist(), strict=True))),
        box_row(1, "a", (10.5, 0.0, 0.1), **dict(zip(names, q1.tolist(), strict=True))),
    ]
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    pose0 = make_SE3(rotation.from_quat(q0, scalar_first=True).as_matrix(), [10.0, 0.0, 0.0])
    pose1 = make_SE3(rotation.from_quat(q1, scalar_first=True).as_matrix(), [10.5, 0.0, 0.1])
    point = np.array([[10.25, 0.25, -0.25]])
    truth = truth_of(tmp_path, point.tolist(), rows)
    expected = rigid_flow(point, pose1 @ inverse_SE3(pose0))
    np.testing.assert_allclose(truth.column("flow")[:1], expected, atol=1e-7)


def test_track_without_a_second_box_is_invalid_with_class(tmp_path: Path) -> None:
    poses = np.stack([np.eye(4), make_SE3(np.eye(3), [0.5, 0.0, 0.0])])
    truth = truth_of(tmp_path, [[10.0, 0.0, 0.0], [20.0, 0.0, 0.0]], [box_row(0, "a", (10.0, 0.0, 0.0))], poses)
    assert truth.column("valid")[:2].tolist() == [False, True]
    assert truth.column("category")[:2].tolist() == [PEDESTRIAN, 0]
    assert truth.column("instance")[:2].tolist() == [1, 0]
    assert truth.column("flow")[:2].tolist() == [[-0.5, 0.0, 0.0]] * 2


@pytest.mark.parametrize("empty", [0, 1])
def test_boxes_without_interior_points_do_not_count(tmp_path: Path, empty: int) -> None:
    rows = [box_row(t, "a", (10.0 + t, 0.0, 0.0), num_interior_pts=int(t != empty)) for t in (0, 1)]
    truth = truth_of(tmp_path, [[10.0, 0.0, 0.0]], rows)
    # Empty in the first sweep: no box at all. Empty in the second: its track is missing there.
    assert truth.column("category")[0] == (0 if empty == 0 else PEDESTRIAN)
    assert truth.column("valid")[0] == (empty == 0)
    assert truth.column("flow")[0].tolist() == [0.0, 0.0, 0.0]


def test_later_box_wins_class_and_flow_but_never_restores_validity(tmp_path: Path) -> None:
    lost, bus = box_row(0, "lost", (10.0, 0.0, 0.0)), box_row(0, "bus", (11.0, 0.0, 0.0), category="BUS")
    bus_later = box_row(1, "bus", (11.5, 0.0, 0.0), category="BUS")
    points = [[9.5, 0.0, 0.0], [10.5, 0.0, 0.0], [11.5, 0.0, 0.0]]  # first, both, second
    truth = truth_of(tmp_path, points, [lost, bus, bus_later])
    assert truth.column("category")[:3].tolist() == [PEDESTRIAN, BUS, BUS]
    assert truth.column("instance")[:3].tolist() == [1, 2, 2]
    assert truth.column("flow")[:3, 0].tolist() == [0.0, 0.5, 0.5]
    assert truth.column("valid")[:3].tolist() == [False, False, True]
    truth = truth_of(tmp_path, points, [bus, lost, bus_later])
    # The lost box comes last: it takes the class of the shared point, and leaves the flow it finds.
    assert truth.column("category")[:3].tolist() == [PEDESTRIAN, PEDESTRIAN, BUS]
    assert truth.column("flow")[:3, 0].tolist() == [0.0, 0.5, 0.5]
    assert truth.column("valid")[:3].tolist() == [False, False, True]


def test_no_truth_across_a_gap(tmp_path: Path) -> None:
    rows = [box_row(t, "a", (10.0 + t, 0.0, 0.0)) for t in range(3)]
    truth = truth_of(tmp_path, [[10.0, 0.0, 0.0]], rows, sweeps=3, pair_next=[False, True, False])
    assert truth.column("has_flow").tolist() == [False, True, False]
    assert not truth.column("valid")[0] and truth.column("flow")[0].tolist() == [0.0, 0.0, 0.0]
    assert truth.column("valid")[1]


def test_instances_run_through_the_log(tmp_path: Path) -> None:
    rows = [
        box_row(t, track, (10.0 * (1 + k), 0.0, 0.0))
        for t, k, track in [(0, 0, "a"), (1, 0, "a"), (1, 1, "b"), (2, 1, "b"), (2, 0, "c")]
    ]
    truth = truth_of(tmp_path, [[10.0, 0.0, 0.0], [20.0, 0.0, 0.0]], rows, sweeps=3)
    assert truth.column("instance").tolist() == [1, 0, 1, 2, 0, 0]


def test_a_log_without_boxes_has_no_truth(tmp_path: Path) -> None:
    write_frames(tmp_path / "log.h5", [np.zeros((1, 3))] * 2)
    truth_log("log", {"frames": tmp_path / "log.h5", "boxes": None}, {"truth": tmp_path / "truth.h5"}, OFFICIAL)
    assert not (tmp_path / "truth.h5").exists()


def test_sweeps_without_points_or_boxes(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "log.h5", [np.zeros((0, 3)), np.zeros((1, 3)), np.zeros((0, 3))])
    inputs = {"frames": tmp_path / "log.h5", "boxes": write_boxes(tmp_path / "b.parquet", [box_row(9, "a", (0, 0, 0))])}
    truth_log("log", inputs, {"truth": tmp_path / "truth.h5"}, OFFICIAL)
    truth = LogColumns.open(tmp_path / "truth.h5", "truth/1", frames)
    assert truth.column("flow").shape == (1, 3) and truth.column("valid").tolist() == [True]
