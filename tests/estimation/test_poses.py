# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The same poses in every format give the same matrices, and find their sweeps."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pytest
from scipy.spatial.transform import Rotation

from models.errors import InputError
from models.geometry import make_SE3
from stages.estimation.pose_text import read_calibration
from stages.estimation.poses import Poses, read_poses, sweep_poses
from stages.estimation.precision import resolution
from stages.estimation.sequence import name_time, sweep_files, sweep_times

# Turns by 90° about z and x, and one by no round angle.
ROTATIONS = Rotation.from_euler("zyx", [[90, 0, 0], [0, 0, 90], [10.5, -3.25, 1.125]], degrees=True)
POSITIONS = np.array([[0.0, 0.0, 0.0], [1.25, -0.5, 0.125], [2.4375, -1.1, 0.33]])
TIMES = np.array([1_600_000_000_000_000_000, 1_600_000_000_100_000_000, 1_600_000_000_200_000_001])
POSES = make_SE3(ROTATIONS.as_matrix(), POSITIONS)


def kitti(path: Path) -> None:
    path.write_text("".join(" ".join(f"{v:.17g}" for v in pose[:3].ravel()) + "\n" for pose in POSES))


def tum(path: Path) -> None:
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for time, position, xyzw in zip(TIMES, POSITIONS, ROTATIONS.as_quat(), strict=True):
        lines.append(f"{time // 10**9}.{time % 10**9:09d} " + " ".join(f"{v:.17g}" for v in (*position, *xyzw)))
    path.write_text("\n".join(lines) + "\n")


def table(time: str = "timestamp_ns", positions: tuple[str, ...] = ("tx_m", "ty_m", "tz_m")) -> pa.Table:
    xyzw = ROTATIONS.as_quat()
    return pa.table(
        {
            time: TIMES if time == "timestamp_ns" else TIMES / 1e9,
            **{name: xyzw[:, i] for name, i in (("qw", 3), ("qx", 0), ("qy", 1), ("qz", 2))},
            **{name: POSITIONS[:, i] for i, name in enumerate(positions)},
        }
    )


FILES = {
    "kitti": ("poses.txt", kitti, None),
    "tum": ("poses.tum", tum, TIMES),
    "csv": ("poses.csv", lambda path: pa.csv.write_csv(table(), path), TIMES),
    "csv in seconds": ("p.csv", lambda path: pa.csv.write_csv(table("timestamp", ("x", "y", "z")), path), "seconds"),
    "av2": ("city_SE3_egovehicle.feather", lambda path: pa.feather.write_feather(table(), path), TIMES),
    "npy": ("poses.npy", lambda path: np.save(path, POSES), None),
    "npy 3x4": ("poses.npy", lambda path: np.save(path, POSES[:, :3]), None),
}


@pytest.mark.parametrize("case", FILES)
def test_every_format_gives_the_same_matrices(case: str, tmp_path: Path) -> None:
    name, write, times = FILES[case]
    write(tmp_path / name)
    poses = read_poses(tmp_path / name)
    np.testing.assert_allclose(poses.world_SE3_ego, POSES, rtol=0, atol=1e-15)
    assert poses.world_SE3_ego.dtype == np.float64
    if times is None:
        assert poses.time_ns is None
    elif case == "csv in seconds":  # a double holds such a time to a quarter of a µs
        np.testing.assert_allclose(poses.time_ns.astype(float), TIMES.astype(float), rtol=0, atol=500)
    else:
        assert poses.time_ns.tolist() == TIMES.tolist()


def test_calibration_by_hand(tmp_path: Path) -> None:
    """KITTI's camera: x right, y down, z forward, 0.27 m before and 0.08 m under the lidar."""
    path = tmp_path / "calib.txt"
    path.write_text("P0: 1 0 0 0 0 1 0 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n")
    expected = [[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]]
    np.testing.assert_allclose(read_calibration(path), expected, atol=1e-15)


def sweeps(*names: str) -> list[Path]:
    return [Path(f"{name}.bin") for name in names]


def poses(times: np.ndarray | None) -> Poses:
    return Poses(Path("poses.txt"), POSES, times, 0.0)


def test_poses_by_row_by_number_and_by_time() -> None:
    by_row, none = sweep_poses(poses(None), sweeps("a", "b", "c"), None)
    np.testing.assert_array_equal(by_row, POSES)
    assert none is None
    by_number, _ = sweep_poses(poses(None), sweeps("000001", "000002"), None)
    np.testing.assert_array_equal(by_number, POSES[1:])
    near = [int(TIMES[0]) + 400_000, int(TIMES[2])]  # 0.4 ms off is the same moment
    by_time, told = sweep_poses(poses(TIMES), sweeps("a", "b"), near)
    np.testing.assert_array_equal(by_time, POSES[[0, 2]])
    assert told == near
    _, told = sweep_poses(poses(TIMES), sweeps("a", "b", "c"), None)
    assert told == TIMES.tolist()


def test_between_two_poses_the_way_is_straight_and_the_turn_even() -> None:
    turns = make_SE3(Rotation.from_euler("z", [[0], [20]], degrees=True).as_matrix(), [[0, 0, 0], [2, 0, 1]])
    between, _ = sweep_poses(Poses(Path("p"), turns, np.array([0, 10**8]), 0.0), sweeps("a"), [25 * 10**6])
    expected = make_SE3(Rotation.from_euler("z", 5, degrees=True).as_matrix(), [0.5, 0, 0.25])
    np.testing.assert_allclose(between[0], expected, atol=1e-12)


def test_poses_of_other_sweeps_are_refused() -> None:
    with pytest.raises(
        InputError, match="has 3 poses for 2 sweeps, and the sweeps' names are neither times of poses nor"
    ):
        sweep_poses(poses(None), sweeps("a", "b"), None)
    with pytest.raises(InputError, match=r"no pose at the time of sweep a\.bin \(the nearest is \+5\.000 s away\)"):
        sweep_poses(poses(TIMES), sweeps("a"), [int(TIMES[0]) - 5 * 10**9])


BAD = {
    "two columns qw": ("p.csv", "qw,qw,qx,qy,qz,x,y,z\n1,1,0,0,0,0,0,0\n", r"p\.csv has 2 columns qw; leave one"),
    "a time is missing": (
        "p.csv",
        "timestamp_ns,qw,qx,qy,qz,x,y,z\n1600000000000000001,1,0,0,0,0,0,0\n,1,0,0,0,0,0,0\n",
        "has in column timestamp_ns missing values beside whole numbers beyond 2.53",
    ),
    "width": ("p.txt", "1 2 3\n", "has 3 numbers a row; wanted 12 .KITTI"),
    "empty": ("p.txt", "", "has no numbers a row"),
    "words": ("p.txt", "1 0 0 0 0 1 0 0 0 0 one 0\n", "holds a word that is no number"),
    "scale": ("p.txt", "2 0 0 0 0 2 0 0 0 0 2 0\n", "in row 1 a matrix whose left 3x3 part is no rotation"),
    "mirror": ("p.txt", "1 0 0 0 0 1 0 0 0 0 -1 0\n", "in row 1 a matrix whose left 3x3 part is no rotation"),
    "nan": ("p.txt", "1 0 0 nan 0 1 0 0 0 0 1 0\n", "has 1 poses with NaN or infinity, the first in row 1"),
    "quaternion": ("p.txt", "0 1 2 3 0 0 0 0.5\n", "in row 1 a quaternion of length 0.5, not 1"),
    "time": ("p.txt", "1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "in row 2 a time that is not after the one before"),
    "columns": (
        "p.csv",
        "timestamp_ns,qw,qx,qy,qz,tx,ty\n0,1,0,0,0,0,0\n",
        "has no column tx_m .it has timestamp_ns, qw",
    ),
    "rotation column": ("p.csv", "tx,ty,tz\n0,0,0\n", "has no column qw"),
    "time column": (
        "p.csv",
        "timestamp,qw,qx,qy,qz,tx,ty,tz\n,1,0,0,0,0,0,0\n",
        "in row 1 the time nan, which is none",
    ),
    "no rows": ("p.csv", "timestamp,qw,qx,qy,qz,tx,ty,tz\n", "holds no pose"),
    "array": ("p.npy", None, r"holds \(3, 3\) of float64; wanted poses \(T, 4, 4\) or \(T, 3, 4\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_poses_are_told_in_one_sentence(case: str, tmp_path: Path) -> None:
    name, text, message = BAD[case]
    np.save(tmp_path / name, np.eye(3)) if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_poses(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)


def test_a_calibration_without_its_row_is_told(tmp_path: Path) -> None:
    (tmp_path / "calib.txt").write_text("P0: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(InputError, match="has no row Tr: or Tr_velo_to_cam:"):
        read_calibration(tmp_path / "calib.txt")


def test_resolution_of_stored_positions() -> None:
    random = np.random.default_rng(0)
    city = random.uniform(4_000_000, 4_000_100, (50, 3))
    assert resolution(city.astype(np.float32)) == 0.25 or resolution(city.astype(np.float32)) == 0.5
    assert resolution(city.astype(np.float32).astype(np.float64)) == np.spacing(np.float32(city.max()))
    assert resolution(np.round(city, 1)) == pytest.approx(0.1)
    assert resolution(city) == 0
    assert resolution((city - city[0]).astype(np.float32)) == 0  # near the origin float32 is fine
    assert resolution(np.outer(np.arange(9), (0.5, 0, 0))) == 0  # a straight drive in even steps


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("315966265259836000", 315966265259836000),
        ("1557539957498448", 1557539957498448000),
        ("1557539957498", 1557539957498000000),
        ("1403636579.763555", 1403636579763555000),
        ("000012", None),
        ("scan_1", None),
    ],
)
def test_times_in_names(name: str, time: int | None) -> None:
    assert name_time(name) == time


def test_a_folder_is_taken_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("10.bin", "9.bin", "notes.txt", ".hidden.bin"):
        (tmp_path / name).touch()
    files = sweep_files(tmp_path, None)
    assert [file.name for file in files] == ["9.bin", "10.bin"]
    assert sweep_times(files) is None


def test_what_is_no_pair_and_no_folder_of_one_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").touch()
    (tmp_path / "velodyne").mkdir()
    with pytest.raises(InputError, match=r"holds 1 clouds .*, wanted at least two; it has folders velodyne"):
        sweep_files(tmp_path, None)
    (tmp_path / "b.ply").touch()
    with pytest.raises(InputError, match=r"several kinds \(\.bin, \.ply\)"):
        sweep_files(tmp_path, None)
    with pytest.raises(InputError, match="has no flow; give the next sweep too"):
        sweep_files(tmp_path / "a.bin", None)
    with pytest.raises(InputError, match="leave out"):
        sweep_files(tmp_path, tmp_path / "a.bin")
    with pytest.raises(InputError, match="cannot be read"):
        sweep_files(tmp_path / "a.bin", tmp_path / "c.bin")
