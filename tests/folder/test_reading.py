# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Plain folders through ingest: what is read, and each fault told in one sentence with log, file and remedy."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from models.data.logfile import LogFrames
from models.errors import InputError
from models.geometry import inverse_SE3, make_SE3, quaternion_to_rotation
from stages.frames.ingest import ingest_log
from stages.sources.transforms import require_transforms
from tests.folder.logs import LOG, SWEEPS, folder_entry, folder_ingest, points, save_av2_log, write_folder_log
from tests.pipeline.raw_logs import TIMES, av2_entry, av2_ingest, box_table, write_log


def ingest(folder: Path, out: Path, entry: dict | None = None) -> LogFrames:
    outputs = {"frames": out / "frames.h5", "boxes": out / "boxes.parquet", "maps": out / "maps.h5"}
    arguments = {"entry": json.dumps(folder_entry(folder) if entry is None else entry), "digest": "full"}
    ingest_log(folder.name, {"raw": folder}, outputs, folder_ingest(), arguments)
    return LogFrames.open(outputs["frames"])


def test_a_log_by_hand(tmp_path: Path) -> None:
    frames = ingest(write_folder_log(tmp_path), tmp_path / "out")
    assert frames.log_id == LOG
    assert frames.timestamp_ns.tolist() == TIMES
    assert frames.city_SE3_ego[:, 0, 3].tolist() == [5000.0, 5001.0, 5002.0, 5003.0]
    assert np.array_equal(frames.xyz(2), points(2)[:, :3])
    assert frames.column("intensity")[:20].tolist() == list(range(20))
    assert frames.column("laser_number").max() == 0 and frames.column("offset_ns").max() == 0
    assert frames.ego_SE3_lidar["down_lidar"][:3, 3].tolist() == [1.0, 0.0, 1.8]  # one lidar stands for both
    assert pq.read_table(tmp_path / "out/boxes.parquet").num_rows == SWEEPS
    assert not (tmp_path / "out/maps.h5").exists()


def test_the_same_log_in_both_layouts_gives_the_same_bytes(tmp_path: Path) -> None:
    av2 = write_log(tmp_path)
    save_av2_log(av2, tmp_path / "plain" / av2.name)
    ingest(tmp_path / "plain" / av2.name, tmp_path / "out")
    theirs = {kind: tmp_path / "av2" / name for kind, name in
              {"frames": "frames.h5", "boxes": "boxes.parquet", "maps": "maps.h5"}.items()}  # fmt: skip
    arguments = {"entry": json.dumps(av2_entry(av2, "full")), "digest": "full"}
    ingest_log(av2.name, {"raw": av2}, theirs, av2_ingest(), arguments)
    for kind in ("frames", "boxes"):
        assert (tmp_path / "out" / theirs[kind].name).read_bytes() == theirs[kind].read_bytes()


def rename_to(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / f"sweeps/{i}.npy").rename(folder / f"sweeps/{name}.tmp")
    for name in names:
        (folder / f"sweeps/{name}.tmp").rename(folder / f"sweeps/{name}.npy")


@pytest.mark.parametrize("names", [["8", "9", "10", "11"], ["0008", "0009", "0010", "0011"]])
def test_sweeps_follow_their_numbers(names: list[str], tmp_path: Path) -> None:
    """By name, 10 would come before 8."""
    folder = write_folder_log(tmp_path)
    rename_to(folder, names)
    frames = ingest(folder, tmp_path / "out")
    assert all(np.array_equal(frames.xyz(i), points(i)[:, :3]) for i in range(SWEEPS))


def test_kitti_sweeps_and_text_poses_and_seconds(tmp_path: Path) -> None:
    folder = write_folder_log(tmp_path)
    wanted = ingest(folder, tmp_path / "npy")
    for i in range(SWEEPS):
        (folder / f"sweeps/{i}.npy").unlink()
        points(i).tofile(folder / f"sweeps/{i}.bin")
    poses = np.load(folder / "poses.npy")
    (folder / "poses.npy").unlink()
    np.savetxt(folder / "poses.txt", poses[:, :3].reshape(SWEEPS, 12))
    (folder / "timestamps.txt").write_text("".join(f"{time // 10**9}.{time % 10**9:09d}\n" for time in TIMES))
    found = ingest(folder, tmp_path / "bin")
    assert found.digest == wanted.digest


def test_poses_of_four_digits_become_rigid(tmp_path: Path) -> None:
    """Between two equal poses nothing moves: as they stand in the text, points 50 m away would by half a centimetre."""
    folder = write_folder_log(tmp_path)
    text = (
        "0.8779 -0.4555 0.1473 41.5 0.4570 0.8891 0.0256 -7.25 -0.1426 0.0449 0.9888 0.5"  # yaw 27.5, pitch 8.2 degrees
    )
    (folder / "poses.npy").unlink()
    (folder / "poses.txt").write_text(f"{text}\n" * SWEEPS)
    mount = np.vstack([np.array(text.split(), float).reshape(3, 4), [0, 0, 0, 1]])
    (folder / "mounts.json").write_text(json.dumps({"up_lidar": mount.tolist()}))
    frames = ingest(folder, tmp_path / "out")
    assert np.abs((inverse_SE3(mount) @ mount - np.eye(4))[:3, :3]).max() > 1e-4
    np.testing.assert_allclose(frames.ego1_SE3_ego0(0), np.eye(4), rtol=0, atol=1e-12)
    for found in (frames.city_SE3_ego[0], frames.ego_SE3_lidar["up_lidar"]):
        np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found, mount, rtol=0, atol=1e-4)
        assert np.array_equal(found[:3, 3], mount[:3, 3])


def test_transforms_in_double_precision_stay_as_they_are() -> None:
    """Bytes of logs whose poses come from quaternions, as Argoverse 2's."""
    wxyz = np.random.default_rng(0).normal(size=(200, 4))
    given = make_SE3(quaternion_to_rotation(wxyz), np.random.default_rng(1).uniform(-5000, 5000, (200, 3)))
    assert require_transforms(given, 200, LOG, "poses", "").tobytes() == given.tobytes()


def test_csv_boxes(tmp_path: Path) -> None:
    folder = write_folder_log(tmp_path)
    ingest(folder, tmp_path / "parquet")
    (folder / "boxes.parquet").unlink()
    csv.write_csv(box_table(TIMES), folder / "boxes.csv")
    ingest(folder, tmp_path / "csv")
    wanted, found = (pq.read_table(tmp_path / kind / "boxes.parquet") for kind in ("parquet", "csv"))
    assert found.equals(wanted)


def test_no_boxes_pass_through(tmp_path: Path) -> None:
    folder = write_folder_log(tmp_path)
    (folder / "boxes.parquet").unlink()
    ingest(folder, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["frames.h5"]


def with_poses(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda log: np.save(log / "poses.npy", change(np.load(log / "poses.npy")))


def put(row: int, at: tuple[int, int], value: float) -> Callable[[Path], None]:
    def change(poses: np.ndarray) -> np.ndarray:
        poses[row][at] = value
        return poses

    return with_poses(change)


def with_sweep(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda log: np.save(log / "sweeps/1.npy", change(points(1)))


def with_nan(array: np.ndarray) -> np.ndarray:
    array[7, 2] = np.nan
    return array


def with_mounts(content: object) -> Callable[[Path], None]:
    return lambda log: (log / "mounts.json").write_text(json.dumps(content))


def with_boxes(**changed: object) -> Callable[[Path], None]:
    return lambda log: pq.write_table(box_table(TIMES, **changed), log / "boxes.parquet")


def kitti_cut(log: Path) -> None:
    (log / "sweeps/1.npy").unlink()
    (log / "sweeps/1.bin").write_bytes(points(1).tobytes()[:-4])


def duplicate(source: str, target: str) -> Callable[[Path], None]:
    return lambda log: (log / target).write_bytes((log / source).read_bytes())


BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing pose": (with_poses(lambda p: p[:3]), ["poses.npy has 3 poses for 4 sweeps"]),
    "one pose too many": (with_poses(lambda p: p[[0, 1, 2, 3, 3]]), ["poses.npy has 5 poses for 4 sweeps"]),
    "poses of wrong shape": (with_poses(lambda p: p.reshape(4, 16)), ["poses.npy has shape (4, 16)", "(sweeps, 4, 4)"]),
    "poses in single precision": (with_poses(lambda p: p.astype(np.float32)), ["poses.npy is of type float32"]),
    "pose not finite": (put(2, (1, 3), np.nan), ["poses.npy row 2 holds NaN or infinity"]),
    "left-handed pose": (put(1, (1, 1), -1.0), ["poses.npy row 1 is left-handed"]),
    "scaled pose": (put(3, (2, 2), 1.1), ["poses.npy row 3 is no rigid transform"]),
    "last row of a pose": (put(3, (3, 3), 2.0), ["poses.npy row 3 is no rigid transform"]),
    "poses that are no array": (lambda log: (log / "poses.npy").write_bytes(b"x"), ["poses.npy cannot be read"]),
    "ragged text poses": (
        lambda log: ((log / "poses.npy").unlink(), (log / "poses.txt").write_text("1 2 3\n" * 4)),
        ["poses.txt has not 12 or 16 numbers in every row"],
    ),
    "text poses that are no numbers": (
        lambda log: ((log / "poses.npy").unlink(), (log / "poses.txt").write_text("a " * 12)),
        ["poses.txt holds something that is no number"],
    ),
    "no poses": (lambda log: (log / "poses.npy").unlink(), ["has no poses.npy or poses.txt"]),
    "both poses": (duplicate("poses.npy", "poses.txt"), ["has both poses.npy and poses.txt"]),
    "times not increasing": (
        lambda log: (log / "timestamps.txt").write_text("100\n200\n200\n300\n"),
        ["timestamps.txt does not increase at row 2", "200 ns, then 200 ns"],
    ),
    "another count of times": (
        lambda log: (log / "timestamps.txt").write_text("100\n200\n300\n"),
        ["timestamps.txt has 3 times for 4 sweeps"],
    ),
    "a time that is none": (lambda log: (log / "timestamps.txt").write_text("1\n2\nx\n4\n"), ["'x', which is no time"]),
    "an endless time": (lambda log: (log / "timestamps.txt").write_text("1\n2\nnan\n4\n"), ["'nan', which is no time"]),
    "no times": (lambda log: (log / "timestamps.txt").unlink(), ["has no timestamps.npy or timestamps.txt"]),
    "sweep of wrong shape": (with_sweep(lambda s: s[:, :2]), ["sweeps/1.npy has shape (20, 2)", "(points, 3 or more)"]),
    "flat sweep": (with_sweep(lambda s: s.ravel()), ["sweeps/1.npy has shape (80,)"]),
    "NaN point": (with_sweep(with_nan), ["sweeps/1.npy has 1 points with NaN or infinity", "row 7"]),
    "intensity out of range": (with_sweep(lambda s: s * [1, 1, 1, 20]), ["sweeps/1.npy row 13 has intensity 260"]),
    "cut KITTI sweep": (kitti_cut, ["sweeps/1.bin has 316 bytes, no multiple of 16"]),
    "cut sweep": (
        lambda log: (log / "sweeps/1.npy").write_bytes((log / "sweeps/1.npy").read_bytes()[:-9]),
        ["sweeps/1.npy cannot be read as a NumPy array"],
    ),
    "sweep without number": (
        lambda log: (log / "sweeps/1.npy").rename(log / "sweeps/one.npy"),
        ["sweeps/one.npy is not named by a number"],
    ),
    "two sweeps of one number": (duplicate("sweeps/1.npy", "sweeps/01.npy"), ["have the same number"]),
    "no sweeps": (lambda log: [path.unlink() for path in (log / "sweeps").iterdir()], ["has no sweeps/*.npy"]),
    "no mounts": (lambda log: (log / "mounts.json").unlink(), ["has no mounts.json"]),
    "mount of an unknown lidar": (with_mounts({"top": np.eye(4).tolist()}), ["mounts.json names top, wanted up_lidar"]),
    "left-handed mount": (with_mounts({"up_lidar": np.diag([1, -1, 1, 1.0]).tolist()}), ["up_lidar, row 0 is left"]),
    "mount of wrong shape": (with_mounts({"up_lidar": [0, 0, 1.8]}), ["mounts.json, up_lidar, has shape (1, 3)"]),
    "mounts that are none": (with_mounts([1, 2]), ["mounts.json holds no 4 x 4 matrix"]),
    "unknown category": (with_boxes(category="vehicle.car"), ["boxes.parquet row 0", "'vehicle.car'", "rename"]),
    "box without size": (with_boxes(width_m=0.0), ["boxes.parquet row 0", "size"]),
    "quaternion not unit": (with_boxes(qw=0.5), ["boxes.parquet row 0", "quaternion of length 0.5"]),
    "box column missing": (
        lambda log: pq.write_table(box_table(TIMES).drop_columns(["track_uuid"]), log / "boxes.parquet"),
        ["boxes.parquet has no column track_uuid"],
    ),
    "boxes at other times": (
        lambda log: pq.write_table(
            box_table(TIMES).set_column(0, "timestamp_ns", pa.array([1, 2, 3, 4])), log / "boxes.parquet"
        ),
        ["boxes.parquet has 4 boxes and none at the time of a sweep"],
    ),
    "cut boxes": (
        lambda log: (log / "boxes.parquet").write_bytes((log / "boxes.parquet").read_bytes()[:-9]),
        ["boxes.parquet cannot be read as a table"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    damage, wanted = BAD[name]
    folder = write_folder_log(tmp_path)
    damage(folder)
    with pytest.raises(InputError) as refusal:
        ingest(folder, tmp_path / "out")
    message = str(refusal.value)
    assert message.startswith(f"log {LOG}")
    assert "\n" not in message
    assert re.search(r"[;?] ?(correct|rename|remove|see|is |give|save)", message), message
    for part in wanted:
        assert part in message


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda log: np.save(log / "sweeps/1.npy", points(9)), "sweeps/1.npy changed since"),
        (lambda log: (log / "boxes.parquet").unlink(), "boxes.parquet is gone since"),
        (lambda log: np.save(log / "sweeps/4.npy", points(9)), "sweeps/4.npy is new since"),
    ],
)
def test_a_log_that_changed_after_the_catalog(change: Callable[[Path], None], part: str, tmp_path: Path) -> None:
    folder = write_folder_log(tmp_path)
    entry = folder_entry(folder)
    change(folder)
    with pytest.raises(InputError, match="make catalog") as refusal:
        ingest(folder, tmp_path / "out", entry)
    assert part in str(refusal.value)


def test_a_catalog_entry_names_no_place_and_quick_reads_ends_of_sweeps_only(tmp_path: Path) -> None:
    here, there = write_folder_log(tmp_path / "a"), write_folder_log(tmp_path / "b")
    assert folder_entry(here) == folder_entry(there)
    big = np.zeros((20_000, 4), dtype=np.float32)
    np.save(here / "sweeps/1.npy", big)
    before = folder_entry(here, "quick"), folder_entry(here, "full")
    big[10_000] = 1  # in the middle
    np.save(here / "sweeps/1.npy", big)
    assert folder_entry(here, "quick") == before[0]
    assert folder_entry(here, "full") != before[1]
