# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotated boxes of a log as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.geometry import make_SE3, quaternion_to_rotation
from stages.labels.categories import CATEGORY_ID


@dataclass(frozen=True)
class Boxes:
    """Boxes of one sweep, in the order of the annotation file.

    Attributes:
        track: number of the track within its log, from 1  # (B,) int32
        category: 1 to 30  # (B,) uint8
        size: length, width, height in metres  # (B, 3)
        ego_SE3_box: pose of the box centre, in the ego frame of the sweep  # (B, 4, 4)
        interior: points that the annotators counted inside  # (B,) int64
    """

    track: NDArray[np.int32]
    category: NDArray[np.uint8]
    size: NDArray[np.float64]
    ego_SE3_box: NDArray[np.float64]
    interior: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.track)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Boxes":
        """The boxes of given rows (mask or indices), in that order."""
        return Boxes(
            self.track[rows], self.category[rows], self.size[rows], self.ego_SE3_box[rows], self.interior[rows]
        )


def track_numbers(timestamps: NDArray[np.int64], tracks: list[str]) -> NDArray[np.int32]:
    """Number tracks from 1 by first appearance: by time, then by row  # (R,) int64, R names -> (R,) int32."""
    numbers: dict[str, int] = {}
    for row in np.argsort(timestamps, kind="stable"):
        numbers.setdefault(tracks[row], len(numbers) + 1)
    return np.array([numbers[track] for track in tracks], dtype=np.int32)


def read_boxes(path: Path) -> tuple[NDArray[np.int64], Boxes]:
    """Read a log's boxes file -> timestamp of each row in nanoseconds (R,), and the boxes of all sweeps."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    timestamps = table["timestamp_ns"].to_numpy().astype(np.int64)
    names = table["category"].to_pylist()

    def columns(*keys: str) -> NDArray[np.float64]:
        return np.stack([table[key].to_numpy().astype(np.float64) for key in keys], axis=-1)

    boxes = Boxes(
        track=track_numbers(timestamps, table["track_uuid"].to_pylist()),
        category=np.array([CATEGORY_ID[name] for name in names], dtype=np.uint8),
        size=columns("length_m", "width_m", "height_m"),
        ego_SE3_box=make_SE3(quaternion_to_rotation(columns("qw", "qx", "qy", "qz")), columns("tx_m", "ty_m", "tz_m")),
        interior=table["num_interior_pts"].to_numpy().astype(np.int64),
    )
    return timestamps, boxes


def boxes_by_sweep(rows: NDArray[np.int64], boxes: Boxes, timestamps: NDArray[np.int64]) -> Iterator[Boxes]:
    """The boxes of each sweep in turn, rows in file order, for sweep times (T,) and row times (R,)."""
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], timestamps, side="left")
    last = np.searchsorted(rows[order], timestamps, side="right")
    for start, stop in zip(first, last, strict=True):
        yield boxes.take(order[start:stop])
