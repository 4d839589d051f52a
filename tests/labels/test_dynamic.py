# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogColumns
from models.geometry import make_SE3
from stages.frames.write import write_columns
from stages.labels.dynamic import DynamicParameters, dynamic_log, dynamic_points
from tests.labels.logs import write_frames

PARAMETERS = DynamicParameters(
    recipe="dufomap",
    resolution=0.15,
    d_s=0.2,
    d_p=1,
    min_range=2.0,
    max_range=50.0,
    min_voxels=20,
    group_distance=0.2,
)


def rays() -> np.ndarray:
    """Directions (R, 3) of a spinning lidar that looks along x: 90 degrees wide, 16 high, 0.25 apart."""
    azimuth, elevation = np.meshgrid(np.radians(np.arange(-45, 45, 0.25)), np.radians(np.arange(-8, 8, 0.25)))
    directions = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return np.stack(directions, axis=-1).reshape(-1, 3)


def scene(box_y: float, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) on a wall at x = 15 and on the front of a box at x = 8, 2 m wide and 1.5 m high.

    Returns:
        points in the frame of the scene, and which are on the box.
    """
    directions = rays()
    start = np.array(origin)
    on_wall = start + directions * ((15.0 - start[0]) / directions[:, :1])
    on_box = start + directions * ((8.0 - start[0]) / directions[:, :1])
    hit = (np.abs(on_box[:, 1] - box_y) <= 1.0) & (np.abs(on_box[:, 2]) <= 0.75)
    return np.where(hit[:, None], on_box, on_wall), hit


def test_moving_box_is_dynamic_and_the_wall_is_not(tmp_path: Path) -> None:
    sweeps, hits = zip(*(scene(-4.0 + 0.8 * t) for t in range(11)), strict=True)
    frames = write_frames(tmp_path / "log.h5", list(sweeps))
    box = np.concatenate(hits)
    dynamic = dynamic_points(frames, np.zeros(frames.num_points, np.bool_), PARAMETERS)
    assert dynamic[~box].sum() == 0
    assert dynamic[box].all() and box.sum() == 23645


def test_the_same_from_a_moving_vehicle_kilometres_away(tmp_path: Path) -> None:
    sweeps, boxes, poses = [], [], []
    turn = np.array([[np.cos(2.0), -np.sin(2.0), 0.0], [np.sin(2.0), np.cos(2.0), 0.0], [0.0, 0.0, 1.0]])
    for t in range(11):
        points, hit = scene(-4.0 + 0.8 * t, origin=(0.3 * t, 0.0, 0.0))
        city_SE3_ego = make_SE3(turn, [4000.0, -3000.0, 20.0]) @ make_SE3(np.eye(3), [0.3 * t, 0.0, 0.0])
        sweeps.append(points - [0.3 * t, 0.0, 0.0])
        boxes.append(hit)
        poses.append(city_SE3_ego)
    frames = write_frames(tmp_path / "log.h5", sweeps, np.stack(poses))
    box = np.concatenate(boxes)
    dynamic = dynamic_points(frames, np.zeros(frames.num_points, np.bool_), PARAMETERS)
    assert dynamic[~box].sum() == 0
    assert dynamic[box].mean() > 0.9


def test_a_box_that_stands_is_static(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "log.h5", [scene(0.0)[0]] * 5)
    assert not dynamic_points(frames, np.zeros(frames.num_points, np.bool_), PARAMETERS).any()


def test_ground_is_never_dynamic(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "log.h5", [scene(-4.0 + 0.8 * t)[0] for t in range(11)])
    ground = np.arange(frames.num_points) % 2 == 0
    everything = dynamic_points(frames, np.zeros(frames.num_points, np.bool_), PARAMETERS)
    some = dynamic_points(frames, ground, PARAMETERS)
    assert not some[ground].any()
    assert np.array_equal(some[~ground], everything[~ground])


def test_each_lidar_casts_from_its_own_place(tmp_path: Path) -> None:
    # One sweep sees a screen at y = 6, from the upper lidar; the others see what lies beyond it, from the lower
    # lidar at y = 12. Cast from the upper lidar those rays would cross the screen and call it dynamic.
    down = (0.0, 12.0, 0.0)
    fan = rays()
    fan = fan[np.abs(fan[:, 1]) < 0.3 * fan[:, 0]]
    beyond = fan / fan[:, :1] * 10.0 + down
    x, z = np.meshgrid(np.arange(2, 14, 0.05), np.arange(-1, 1, 0.05))
    screen = np.stack([x.ravel(), np.full(x.size, 6.0), z.ravel()], axis=1)
    sweeps = [screen, beyond, beyond]
    lasers = [np.full(len(sweep), 3 if sweep is screen else 40) for sweep in sweeps]
    right = write_frames(tmp_path / "right.h5", sweeps, lasers=lasers, down=down)
    wrong = write_frames(tmp_path / "wrong.h5", sweeps, lasers=lasers)
    none = np.zeros(right.num_points, np.bool_)
    assert not dynamic_points(right, none, PARAMETERS).any()
    assert dynamic_points(wrong, none, PARAMETERS)[right.span(0)].any()


def test_twice_the_same_and_not_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frames = write_frames(tmp_path / "log.h5", [scene(-4.0 + 0.8 * t)[0] for t in range(6)])
    none = np.zeros(frames.num_points, np.bool_)
    first = dynamic_points(frames, none, PARAMETERS)
    assert first.any() and np.array_equal(first, dynamic_points(frames, none, PARAMETERS))
    assert capfd.readouterr() == ("", "")


def test_range_is_measured_from_the_lidar(tmp_path: Path) -> None:
    far_only = DynamicParameters(**{**vars(PARAMETERS), "min_range": 25.0})
    frames = write_frames(tmp_path / "log.h5", [scene(-4.0 + 0.8 * t)[0] for t in range(6)])
    assert not dynamic_points(frames, np.zeros(frames.num_points, np.bool_), far_only).any()


def test_file_of_a_log_with_empty_sweeps(tmp_path: Path) -> None:
    sweeps = [np.zeros((0, 3)), np.array([[5.0, 0.0, 0.0]]), np.zeros((0, 3))]
    frames = write_frames(tmp_path / "log.h5", sweeps)
    made_from = {"frames_digest": frames.digest}
    write_columns(tmp_path / "ground.h5", "ground/1", {"ground": np.zeros(1, np.bool_)}, made_from)
    inputs = {"frames": tmp_path / "log.h5", "ground": tmp_path / "ground.h5"}
    dynamic_log("log", inputs, {"dynamic": tmp_path / "dynamic.h5"}, PARAMETERS)
    made = LogColumns.open(tmp_path / "dynamic.h5", "dynamic/1", frames)
    assert made.column("dynamic").tolist() == [False]
    assert made.attributes["resolution"] == 0.15 and made.attributes["recipe"] == "dufomap"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"resolution": 0.0}, "resolution"),
        ({"group_distance": -0.2}, "group_distance"),
        ({"d_s": -1.0}, "d_s"),
        ({"d_p": -1}, "d_p"),
        ({"min_voxels": -1}, "min_voxels"),
        ({"min_range": 50.0}, "max_range"),
    ],
)
def test_senseless_parameters_are_refused_by_name(change: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        DynamicParameters(**{**vars(PARAMETERS), **change})
