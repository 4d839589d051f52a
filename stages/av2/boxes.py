# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotated boxes of a log, checked row by row."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.errors import InputError
from stages.av2.layout import ANNOTATIONS
from stages.av2.tables import REFETCH, read_table, require_finite, require_unit_quaternions, stack
from stages.labels.categories import CATEGORIES

_TEXT = ("string", "large_string")
_SIZE = ("length_m", "width_m", "height_m")
_QUATERNION = ("qw", "qx", "qy", "qz")
_TRANSLATION = ("tx_m", "ty_m", "tz_m")
_COLUMNS = {
    "timestamp_ns": ("int64",),
    "track_uuid": _TEXT,
    "category": _TEXT,
    **{name: ("double",) for name in (*_SIZE, *_QUATERNION, *_TRANSLATION)},
    "num_interior_pts": ("int64",),
}


def read_boxes(content: bytes, log_id: str, timestamps: NDArray[np.int64]) -> pa.Table:
    """Boxes at the given sweeps, in the order of the file, each in the ego frame of its sweep.

    Args:
        content: bytes of the annotations file.
        log_id: log that it belongs to.
        timestamps: (T,) sweep times in ns; boxes at other times are left out.

    Raises:
        InputError: naming the first row that is not finite, not of positive size, not turned by a unit
            quaternion, of an unknown category, or of a track that its sweep already has.
    """
    table = read_table(content, log_id, ANNOTATIONS, _COLUMNS)
    numbers = stack(table, (*_SIZE, *_QUATERNION, *_TRANSLATION))
    require_finite(numbers, log_id, ANNOTATIONS, "boxes")
    require_unit_quaternions(stack(table, _QUATERNION), log_id, ANNOTATIONS)
    _require_positive(stack(table, _SIZE), log_id)
    _require_known(table["category"].to_pylist(), log_id)
    _require_single(table, log_id)
    at_sweep = np.isin(table["timestamp_ns"].to_numpy(), timestamps)
    if len(at_sweep) and not at_sweep.any():
        raise InputError(
            f"log {log_id}: {ANNOTATIONS} has {len(at_sweep)} boxes and none at the time of a sweep, the first at "
            f"{table['timestamp_ns'][0]} ns; give the boxes the timestamps of the sweeps"
        )
    return table.filter(pa.array(at_sweep)).combine_chunks()


def _require_positive(size: NDArray[np.float64], log_id: str) -> None:
    bad = np.flatnonzero((size <= 0).any(axis=1))
    if len(bad):
        raise InputError(f"log {log_id}: {ANNOTATIONS} row {bad[0]} has a box of size {size[bad[0]]} m; {REFETCH}")


def _require_known(categories: list[str], log_id: str) -> None:
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        row = categories.index(unknown[0])
        raise InputError(
            f"log {log_id}: {ANNOTATIONS} row {row} has category {unknown[0]!r}, which Argoverse 2 does not have; "
            "rename it to one of its 30 categories"
        )


def _require_single(table: pa.Table, log_id: str) -> None:
    seen: set[tuple[int, str]] = set()
    for row, key in enumerate(zip(table["timestamp_ns"].to_pylist(), table["track_uuid"].to_pylist(), strict=True)):
        if key in seen:
            raise InputError(
                f"log {log_id}: {ANNOTATIONS} row {row} has track {key[1]} a second time in sweep {key[0]}; {REFETCH}"
            )
        seen.add(key)
