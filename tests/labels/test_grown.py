# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe `grown`, by hand and on the real pair."""

from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogColumns, LogFrames
from models.geometry import inverse_SE3
from stages.labels.boxes import boxes_by_sweep, read_boxes
from stages.labels.categories import CATEGORY_ID
from stages.labels.interior import PointsByColumn
from stages.labels.recipes import log_differences, table
from stages.labels.truth import TruthParameters, grown_size, grown_truth, pair_truth, truth_log
from tests.evaluation.official import AV2_LOG, real_log
from tests.evaluation.raw import prepare
from tests.labels.logs import box_row, write_boxes, write_frames

PEDESTRIAN = CATEGORY_ID["PEDESTRIAN"]


def moved(x: float) -> np.ndarray:
    motion = np.eye(4)
    motion[0, 3] = x
    return motion


@pytest.mark.parametrize(
    ("motion", "size"),
    [
        (0.04, [2.0, 1.0, 1.5]),  # at the limit: still
        (0.5, [2.45, 1.2, 1.7]),  # 0.2 and half the motion
        (9.0, [4.2, 1.2, 1.7]),  # no more than 2 m of stretch
    ],
)
def test_size_by_hand(motion: float, size: list[float]) -> None:
    for count in (1, 400):  # the published norm over all points would grow with their number
        points = np.zeros((count, 3), dtype=np.float32)
        assert grown_size(np.array([2.0, 1.0, 1.5]), points, moved(motion)) == pytest.approx(size)
    assert grown_size(np.array([2.0, 1.0, 1.5]), np.zeros((0, 3)), moved(motion)).tolist() == [2.0, 1.0, 1.5]


def test_log_by_hand(tmp_path: Path) -> None:
    # Boxes of 1.8 x 0.8 x 2 m. The first drives 0.5 m and grows to 2.25 x 1.0 x 2.2 m; the second stands; the third
    # is missing in the second sweep.
    points = [[10.0, 0, 0], [11.1, 0.45, 1.05], [30.0, 0, 0], [30.95, 0, 0], [50.0, 0, 0], [50.95, 0, 0]]
    frames = write_frames(tmp_path / "log.h5", [np.array(points)] * 2)
    rows = [box_row(0, "a", (10.0, 0, 0)), box_row(1, "a", (10.5, 0, 0))]
    rows += [box_row(t, "b", (30.0, 0, 0)) for t in (0, 1)] + [box_row(0, "c", (50.0, 0, 0))]
    inputs = {"frames": tmp_path / "log.h5", "boxes": write_boxes(tmp_path / "log.parquet", rows)}
    truth_log("log", inputs, {"truth": tmp_path / "truth.h5"}, TruthParameters("grown"))
    truth = LogColumns.open(tmp_path / "truth.h5", "truth/1", frames)
    assert truth.attributes["recipe"] == "grown"
    assert truth.column("category")[:6].tolist() == [PEDESTRIAN, PEDESTRIAN, PEDESTRIAN, 0, 0, 0]
    assert truth.column("valid")[:6].tolist() == [True, True, True, True, False, True]
    assert truth.column("flow")[:6, 0] == pytest.approx([0.5, 0.5, 0, 0, 0, 0], abs=1e-6)


def test_real_pair(tmp_path: Path) -> None:
    root = real_log(AV2_LOG)
    data = tmp_path / "data"
    prepare(root / "sensor" / "val", data, "val")

    frames = LogFrames.open(data / "frames" / "val" / f"{AV2_LOG}.h5")
    boxes = list(boxes_by_sweep(*read_boxes(data / "boxes" / "val" / f"{AV2_LOG}.parquet"), frames.timestamp_ns))
    points, motion = frames.xyz(0), frames.ego1_SE3_ego0(0)
    cloud, later = PointsByColumn(points), dict(zip(boxes[1].track.tolist(), boxes[1].ego_SE3_box, strict=True))
    before, after = [], []
    for track, size, pose in zip(boxes[0].track.tolist(), boxes[0].size, boxes[0].ego_SE3_box, strict=True):
        if track in later:
            inside = cloud.inside(pose, size)
            own = inverse_SE3(motion) @ later[track] @ inverse_SE3(pose)
            final = grown_size(size, points[inside], own)
            before.append((len(inside), final[0] > size[0]))
            after.append(len(cloud.inside(pose, final)))
    # The sheet of facts counts points box by box, so one in two boxes counts twice.
    assert sum(grows for _, grows in before) == 26
    assert sum(after) == 9789
    assert (959, True) in before and after[before.index((959, True))] == 1046
    grown, official = (rule(points, boxes[0], boxes[1], motion) for rule in (grown_truth, pair_truth))
    assert int((official.category > 0).sum()) == 9397
    assert int((grown.category > 0).sum()) == 9482
    assert int(grown.valid.sum()) == len(points)


def test_table_of_differences_by_hand(tmp_path: Path) -> None:
    points = [[10.0, 0, 0], [11.1, 0.45, 1.05], [30.0, 0, 0], [30.95, 0, 0], [50.0, 0, 0], [50.95, 0, 0]]
    frames = write_frames(tmp_path / "log.h5", [np.array(points)] * 2)
    rows = [box_row(0, "a", (10.0, 0, 0)), box_row(1, "a", (10.5, 0, 0))]
    rows += [box_row(t, "b", (30.0, 0, 0)) for t in (0, 1)] + [box_row(0, "c", (50.0, 0, 0))]
    counts = log_differences(frames, write_boxes(tmp_path / "log.parquet", rows))
    # Both: 10 and 30. Only official: 30.95 and the two points of the missing box. Only grown: the point at 11.1.
    assert counts[PEDESTRIAN - 1].tolist() == [2, 3, 1, 1, 2, 1]
    text = table(counts).splitlines()
    assert text[1].split() == ["PEDESTRIAN", "2", "3", "1", "1", "2", "1"] and text[2].split()[0] == "all"
