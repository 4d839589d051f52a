# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A log of three points, written out by hand, as a scene; and the choice of frames."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.geometry import make_SE3
from stages.frames.write import write_columns
from stages.rendering.scene import LogScene, outline
from stages.rendering.selection import busiest, run_around, worst, worst_place
from stages.rendering.statistics import FrameStatistics, frame_statistics
from tests.labels.logs import box_row, write_boxes, write_frames

POINTS = np.array([[5.0, 0, 1], [0.0, 8, 1], [3.0, 3, 0]])
EGO = np.stack([np.eye(4), make_SE3(np.eye(3), [1.0, 0, 0]), make_SE3(np.eye(3), [2.0, 0, 0])])  # 1 m forward a sweep


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The first point moves 0.6 m to the left, the second stands, the third is ground; predicted is 0.4 m."""
    frames = write_frames(tmp_path / "frames/val/a.h5", [POINTS] * 3, poses=EGO)
    of_log = {"log_id": "a", "frames_digest": frames.digest}
    total = np.tile(np.array([[-1.0, 0.6, 0], [-1.0, 0, 0], [-1.0, 0, 0]], dtype=np.float32), (3, 1))
    has_flow = np.array([True, True, False])
    truth = {"flow": total, "category": np.zeros(9, np.uint8), "instance": np.zeros(9, np.int32)}
    truth.update(valid=np.ones(9, bool), has_flow=has_flow)
    write_columns(tmp_path / "truth/val/a.h5", "truth/1", truth, {**of_log, "recipe": "official"})
    ground = np.tile([False, False, True], 3)
    write_columns(tmp_path / "ground/val/a.h5", "ground/1", {"ground": ground}, {**of_log, "rule": "map_v1"})
    residual = np.tile(np.array([[0, 0.4, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float32), (3, 1))
    predictions = {"residual": residual, "covered": np.ones(9, bool), "has_flow": has_flow}
    write_columns(tmp_path / "predictions/val/a.h5", "predictions/1", predictions, of_log)
    (tmp_path / "boxes/val").mkdir(parents=True)
    still, moving = box_row(0, "still", (0.0, 8.0, 1.0)), box_row(0, "moving", (5.0, 0.0, 1.0))
    later = [box_row(1, "still", (-1.0, 8.0, 1.0)), box_row(1, "moving", (4.0, 0.6, 1.0))]
    write_boxes(tmp_path / "boxes/val/a.parquet", [still, moving, *later, box_row(0, "gone", (9.0, 9.0, 1.0))])
    return tmp_path


def opened(data: Path) -> LogScene:
    return LogScene.open(data, "val", "a", {"model": data / "predictions/val/a.h5"})


def test_a_pair_in_residual_flow(data: Path) -> None:
    pair = opened(data).pair(0)
    assert pair.truth is not None
    np.testing.assert_allclose(pair.truth, [[0, 0.6, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6)
    assert pair.moving.tolist() == [True, False, False]
    np.testing.assert_allclose(pair.error("model"), [0.2, 0, 0], atol=1e-6)
    assert pair.error("other") is None
    assert pair.seconds == pytest.approx(0.1)


def test_only_boxes_that_move_by_themselves_are_outlined(data: Path) -> None:
    """The standing box comes nearer by the ego motion alone; the third one is not in the next sweep."""
    outlines = opened(data).pair(0).outlines
    assert len(outlines) == 1
    np.testing.assert_allclose(outlines[0].mean(axis=0), [5.35, 0.0], atol=0.2)


def test_an_outline_by_hand() -> None:
    """A box of 4 x 2 m at (10, 5) that looks along y: its corners, and the tick of 0.8 m out of its front."""
    turned = make_SE3(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), [10.0, 5.0, 0.0])
    path = outline(np.array([4.0, 2.0, 1.5]), turned)
    np.testing.assert_allclose(path[1:5], [[9, 7], [9, 3], [11, 3], [11, 7]], atol=1e-12)
    np.testing.assert_allclose(path[6], [10, 7.8], atol=1e-12)
    np.testing.assert_allclose(path[0], path[5])


def test_statistics_of_a_pair(data: Path) -> None:
    found = frame_statistics("a", opened(data).pair(1))
    assert (found.points, found.moving, found.moving_predicted) == (2, 1, 1)
    assert found.speed == pytest.approx(6.0, abs=1e-5)
    assert found.error_moving == pytest.approx(0.2, abs=1e-6)
    assert found.error_still == pytest.approx(0.0, abs=1e-6)


def test_without_truth_ground_or_boxes(data: Path) -> None:
    for kind in ("truth/val/a.h5", "ground/val/a.h5", "boxes/val/a.parquet"):
        (data / kind).unlink()
    pair = opened(data).pair(0)
    assert (pair.truth, pair.outlines, pair.ground.any(), pair.moving.any()) == (None, [], False, False)
    found = frame_statistics("a", pair)
    assert (found.moving, found.moving_predicted, found.error_moving, found.error_still) == (None, 1, None, None)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="log b has no frames"):
        LogScene.open(tmp_path, "val", "b", {})


def test_where_most_of_the_error_is(data: Path) -> None:
    assert worst_place(opened(data).pair(0), "model") == (7.5, 2.5)  # cell of 5 m that holds (5, 0)


def frame(log: str, number: int, moving: int | None, error: float | None = None) -> FrameStatistics:
    return FrameStatistics(log, number, 1000, moving, 7, None, error, None)


def test_busiest_frames_come_from_different_logs_first() -> None:
    frames = [frame("a", 0, 90), frame("a", 6, 80), frame("b", 0, 5), frame("a", 5, 85), frame("a", 1, 89)]
    assert [(f.log_id, f.frame) for f in busiest(frames, 2)] == [("a", 0), ("b", 0)]
    assert [(f.log_id, f.frame) for f in busiest(frames, 9)] == [("a", 0), ("b", 0), ("a", 5)]  # others are too near
    assert busiest([], 3) == []
    assert busiest([frame("a", 0, None), frame("b", 0, 3)], 1)[0].log_id == "a"  # by the prediction, which says 7


def test_worst_frames_are_of_different_scenes() -> None:
    frames = [frame("a", n, 500, 1.0 + 0.1 * n) for n in range(8)] + [frame("b", 0, 500, 0.4), frame("b", 9, 3, 9.0)]
    assert [(f.log_id, f.frame) for f in worst(frames, 3, 100)] == [("a", 7), ("a", 2), ("b", 0)]
    assert worst([frame("a", 0, None), frame("a", 1, 0)], 3, 1) == []


def test_a_run_around_a_frame() -> None:
    pairs = [0, 1, 2, 4, 5, 6, 7]
    assert run_around(pairs, 4, 3) == [2, 4, 5]
    assert run_around(pairs, 0, 3) == [0, 1, 2]
    assert run_around(pairs, 7, 3) == [5, 6, 7]
    assert run_around(pairs, 5, 100) == pairs
    assert run_around(pairs, 5, 0) == []
