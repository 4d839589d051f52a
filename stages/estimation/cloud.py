# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One sweep from a file: its points, and all else that its file holds, to be written again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Cloud:
    """A sweep as its file holds it, rows in the file's order.

    Attributes:
        path: the file.
        xyz: points, metres, float32; NaN or infinity where the sensor had no return  # (N, 3)
        content: what the reader of this format keeps so that its writer can give all of it back.
        note: what the reader left out of account, in one sentence; empty if nothing.
    """

    path: Path
    xyz: NDArray[np.float32]
    content: Any
    note: str = ""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Rows whose three coordinates are finite  # (N,)."""
        return np.asarray(np.isfinite(self.xyz).all(axis=1))


def single(points: NDArray[Any]) -> NDArray[np.float32]:
    """Coordinates (N, 3) of any number type as float32: what the network takes; what is too large becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(points, dtype=np.float32)


def records_xyz(records: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Points (N, 3) of a structured array with fields x, y and z; InputError if one is missing or holds no numbers."""
    names = records.dtype.names or ()
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{path} has no field {missing[0]} (it has {', '.join(names)}); points need x, y and z")
    shaped = [axis for axis in "xyz" if records[axis].ndim != 1]
    if shaped:
        raise InputError(f"{path} has {records[shaped[0]].shape[1]} values a point in field {shaped[0]}, not one")
    kinds = {axis: records[axis].dtype for axis in "xyz"}
    wrong = [axis for axis, kind in kinds.items() if kind.kind not in "fiu"]
    if wrong:
        raise InputError(f"{path} has field {wrong[0]} of type {kinds[wrong[0]]}, wanted numbers")
    return single(np.stack([records[axis] for axis in "xyz"], axis=1))


def with_columns(records: NDArray[Any], columns: Columns, path: Path) -> NDArray[Any]:
    """A structured array (N,) with more fields behind its own; bool becomes uint8."""
    refuse_taken(records.dtype.names or (), columns, path)
    values = {name: column.astype(np.uint8) if column.dtype == bool else column for name, column in columns.items()}
    own = [(name, records.dtype[name]) for name in records.dtype.names or ()]
    result = np.empty(len(records), dtype=[*own, *((name, column.dtype) for name, column in values.items())])
    for name in records.dtype.names or ():
        result[name] = records[name]
    for name, column in values.items():
        result[name] = column
    return result


def refuse_taken(names: Any, columns: Columns, path: Path) -> None:
    """Refuse a file that already has a column of the output: which of the two is meant would be open."""
    taken = [name for name in columns if name in names]
    if taken:
        raise InputError(
            f"{path} already has a column {taken[0]}; rename or drop it, or give the file it was made from"
        )
