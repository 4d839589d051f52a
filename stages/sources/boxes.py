# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotated boxes of a log, checked row by row, whatever file they came from."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.errors import InputError
from stages.labels.categories import CATEGORIES
from stages.sources.tables import REFETCH, checked_columns, require_finite, require_unit_quaternions, stack

_TEXT = ("string", "large_string")
_SIZE = ("length_m", "width_m", "height_m")
_QUATERNION = ("qw", "qx", "qy", "qz")
_TRANSLATION = ("tx_m", "ty_m", "tz_m")
BOX_COLUMNS = {
    "timestamp_ns": ("int64",),
    "track_uuid": _TEXT,
    "category": _TEXT,
    **{name: ("double",) for name in (*_SIZE, *_QUATERNION, *_TRANSLATION)},
    "num_interior_pts": ("int64",),
}


def checked_boxes(
    table: pa.Table, log_id: str, name: str, timestamps: NDArray[np.int64], remedy: str = REFETCH
) -> pa.Table:
    """Boxes at the given sweeps, in the order of the file, each in the ego frame of its sweep.

    Args:
        table: rows with the columns `BOX_COLUMNS`: time of the sweep, name of the track, one of AV2's 30 categories,
            size, rotation and centre in the ego frame of the sweep, points that annotators saw inside.
        log_id: log that they belong to.
        name: file that they came from.
        timestamps: (T,) sweep times in ns; boxes at other times are left out.
        remedy: what to do about a fault of the file.

    Raises:
        InputError: naming the first row that is not finite, not of positive size, not turned by a unit
            quaternion, of an unknown category, or of a track that its sweep already has.
    """
    table = checked_columns(table, log_id, name, BOX_COLUMNS, remedy)
    numbers = stack(table, (*_SIZE, *_QUATERNION, *_TRANSLATION))
    require_finite(numbers, log_id, name, "boxes", remedy)
    require_unit_quaternions(stack(table, _QUATERNION), log_id, name, remedy)
    _require_positive(stack(table, _SIZE), log_id, name, remedy)
    _require_known(table["category"].to_pylist(), log_id, name)
    _require_single(table, log_id, name, remedy)
    at_sweep = np.isin(table["timestamp_ns"].to_numpy(), timestamps)
    if len(at_sweep) and not at_sweep.any():
        raise InputError(
            f"log {log_id}: {name} has {len(at_sweep)} boxes and none at the time of a sweep, the first at "
            f"{table['timestamp_ns'][0]} ns; give the boxes the timestamps of the sweeps"
        )
    return table.filter(pa.array(at_sweep)).combine_chunks()


def _require_positive(size: NDArray[np.float64], log_id: str, name: str, remedy: str) -> None:
    bad = np.flatnonzero((size <= 0).any(axis=1))
    if len(bad):
        raise InputError(f"log {log_id}: {name} row {bad[0]} has a box of size {size[bad[0]]} m; {remedy}")


def _require_known(categories: list[str], log_id: str, name: str) -> None:
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        row = categories.index(unknown[0])
        raise InputError(
            f"log {log_id}: {name} row {row} has category {unknown[0]!r}, which Argoverse 2 does not have; "
            "rename it to one of its 30 categories"
        )


def _require_single(table: pa.Table, log_id: str, name: str, remedy: str) -> None:
    seen: set[tuple[int, str]] = set()
    for row, key in enumerate(zip(table["timestamp_ns"].to_pylist(), table["track_uuid"].to_pylist(), strict=True)):
        if key in seen:
            raise InputError(
                f"log {log_id}: {name} row {row} has track {key[1]} a second time in sweep {key[0]}; {remedy}"
            )
        seen.add(key)
