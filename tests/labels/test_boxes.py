# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stages.labels.boxes import boxes_by_sweep, read_boxes, track_numbers
from stages.labels.categories import CATEGORIES, CATEGORY_ID
from tests.labels.logs import box_row, write_boxes


def test_categories_are_those_of_av2_in_its_order() -> None:
    enums = pytest.importorskip("av2.datasets.sensor.constants")
    assert sorted(category.value for category in enums.AnnotationCategories) == list(CATEGORIES)
    assert (CATEGORY_ID["ANIMAL"], CATEGORY_ID["PEDESTRIAN"], CATEGORY_ID["WHEELED_RIDER"]) == (1, 17, 30)
    assert CATEGORY_ID["REGULAR_VEHICLE"] == 19


def test_tracks_are_numbered_by_time_then_by_row() -> None:
    times = np.array([30, 10, 20, 10, 30], dtype=np.int64)
    assert track_numbers(times, ["c", "b", "a", "c", "d"]).tolist() == [2, 1, 3, 2, 4]


def test_boxes_of_each_sweep_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [
        box_row(1, "a", (1.0, 0.0, 0.0)),
        box_row(0, "b", (2.0, 0.0, 0.0), category="BUS", num_interior_pts=0),
        box_row(1, "c", (3.0, 0.0, 0.0)),
        box_row(7, "d", (4.0, 0.0, 0.0)),
        box_row(0, "a", (5.0, 0.0, 0.0)),
    ]
    times = 10**18 + 10**8 * np.arange(3)
    sweeps = list(boxes_by_sweep(*read_boxes(write_boxes(tmp_path / "b.parquet", rows)), times))
    assert [sweep.ego_SE3_box[:, 0, 3].tolist() for sweep in sweeps] == [[2.0, 5.0], [1.0, 3.0], []]
    assert [sweep.track.tolist() for sweep in sweeps] == [[1, 2], [2, 3], []]
    assert sweeps[0].category.tolist() == [CATEGORY_ID["BUS"], CATEGORY_ID["PEDESTRIAN"]]
    assert sweeps[0].interior.tolist() == [0, 5]


def test_full_quaternions(tmp_path: Path) -> None:
    turn = Rotation.from_euler("zyx", [100, 20, -30], degrees=True)
    x, y, z, w = turn.as_quat()
    path = write_boxes(tmp_path / "b.parquet", [box_row(0, "a", (0.0, 0.0, 0.0), qw=w, qx=x, qy=y, qz=z)])
    _, boxes = read_boxes(path)
    np.testing.assert_allclose(boxes.ego_SE3_box[0, :3, :3], turn.as_matrix(), atol=1e-15)
