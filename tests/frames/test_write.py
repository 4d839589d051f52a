# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Per-point files: the same bytes for the same content, readable as memory maps, never half written."""

from mmap import mmap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames, _open
from models.errors import InputError
from stages.frames.write import atomic, content_digest, write_columns

XYZ = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 14, 15]], dtype=np.float16)


def frames(path: Path, shift: float = 0.0) -> LogFrames:
    """Two sweeps of two and three points; the car drives 1 m along x between them."""
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 1.0
    columns = {
        "xyz": XYZ + np.float16(shift),
        "frame_start": np.array([0, 2, 5]),
        "timestamp_ns": np.array([10, 100_000_010]),
        "city_SE3_ego": poses,
        "pair_next": np.array([True, False]),
        "ego_SE3_up_lidar": np.eye(4),
    }
    write_columns(path, "frames/1", columns, {"log_id": "log", "digest": content_digest(columns)})
    return LogFrames.open(path)


def test_sweeps_are_slices_of_a_map(tmp_path: Path) -> None:
    log = frames(tmp_path / "log.h5")
    assert log.xyz(1).tolist() == XYZ[2:].tolist()
    assert log.pairs().tolist() == [0]
    assert log.ego1_SE3_ego0(0)[:3, 3].tolist() == [-1.0, 0.0, 0.0]


def test_large_columns_are_views_of_one_map_of_the_file(tmp_path: Path) -> None:
    """Of small ones a copy is taken: no file descriptor is held for them."""
    path = tmp_path / "columns.h5"
    large, small = np.arange(60_000, dtype=np.float32).reshape(-1, 3), np.arange(5)
    write_columns(path, "ground/1", {"large": large, "also": large + 1, "small": small}, {"frames_digest": "digest"})
    columns, _ = _open(path)
    for name, values in (("large", large), ("also", large + 1)):
        assert isinstance(_mapped(columns[name]), mmap)
        np.testing.assert_array_equal(columns[name], values)
        with pytest.raises(ValueError, match="read-only"):
            columns[name][0, 0] = 1
    assert not isinstance(_mapped(columns["small"]), mmap)
    np.testing.assert_array_equal(columns["small"], small)
    assert _mapped(columns["large"]) is _mapped(columns["also"])


def _mapped(array: NDArray[Any]) -> object:
    """What the memory of an array belongs to in the end."""
    base = array.base
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


def test_equal_content_gives_equal_bytes_and_aligned_columns(tmp_path: Path) -> None:
    frames(tmp_path / "a.h5")
    frames(tmp_path / "other-name.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "other-name.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(dataset.id.get_offset() % 64 == 0 and dataset.chunks is None for dataset in file.values())


def test_labels_of_other_frames_are_refused(tmp_path: Path) -> None:
    log, other = frames(tmp_path / "log.h5"), frames(tmp_path / "other.h5", shift=1)
    labels = tmp_path / "labels.h5"
    write_columns(labels, "ground/1", {"ground": np.zeros(5, bool)}, {"frames_digest": log.digest})
    assert LogColumns.open(labels, "ground/1", log).column("ground").tolist() == [False] * 5
    with pytest.raises(InputError, match="made from other frames of log log"):
        LogColumns.open(labels, "ground/1", other)
    with pytest.raises(InputError, match="holds schema 'ground/1' where 'truth/1' is wanted"):
        LogColumns.open(labels, "truth/1", log)
    with pytest.raises(InputError, match="has no column 'flow'"):
        LogColumns.open(labels, "ground/1", log).column("flow")


def test_absent_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        LogFrames.open(tmp_path / "none.h5")
    (tmp_path / "bad.h5").write_bytes(b"not HDF5")
    with pytest.raises(InputError, match="bad.h5 cannot be read as HDF5"):
        LogFrames.open(tmp_path / "bad.h5")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "old")]
