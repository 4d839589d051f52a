# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a log folder with nothing but pyarrow and numpy, independent of the pipeline's readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def columns(path: Path) -> dict[str, NDArray[Any]]:
    table = pyarrow.feather.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def poses(table: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Transforms (N, 4, 4) of the rows of a table with pose columns."""
    out = np.tile(np.eye(4), (len(table["qw"]), 1, 1))
    xyzw = np.stack([table[c] for c in ("qx", "qy", "qz", "qw")], axis=1)
    out[:, :3, :3] = Rotation.from_quat(xyzw).as_matrix()
    out[:, :3, 3] = np.stack([table[c] for c in ("tx_m", "ty_m", "tz_m")], axis=1)
    return out


@dataclass
class RawLog:
    stamps: list[int]
    sweeps: list[dict[str, NDArray[Any]]]
    points: list[NDArray[np.float64]]  # (N, 3) each
    city_SE3_ego: NDArray[np.float64]  # (T, 4, 4)
    boxes: dict[str, NDArray[Any]]

    def boxes_at(self, frame: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        rows = self.boxes["timestamp_ns"] == self.stamps[frame]
        table = {name: column[rows] for name, column in self.boxes.items()}
        return table, poses(table)


def read_log(folder: Path) -> RawLog:
    files = sorted((folder / "sensors" / "lidar").iterdir())
    stamps = [int(f.stem) for f in files]
    sweeps = [columns(f) for f in files]
    points = [np.stack([s[c] for c in "xyz"], axis=1).astype(np.float64) for s in sweeps]
    track = columns(folder / "city_SE3_egovehicle.feather")
    rows = [int(np.flatnonzero(track["timestamp_ns"] == s)[0]) for s in stamps]
    return RawLog(stamps, sweeps, points, poses(track)[rows], columns(folder / "annotations.feather"))


def inside(points: NDArray[np.float64], pose: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Points (N, 3) in a box with faces included."""
    return (np.abs((points - pose[:3, 3]) @ pose[:3, :3]) <= size / 2).all(axis=1)


def sizes(table: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    return np.stack([table[c] for c in ("length_m", "width_m", "height_m")], axis=1)
