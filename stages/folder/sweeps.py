# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One sweep of a plain log folder: an array of points."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.folder.layout import REMEDY
from stages.sources.adapter import Sweep, narrow
from stages.sources.tables import require_finite

_KITTI_COLUMNS = 4
_EXTRA: dict[str, type[np.integer]] = {"intensity": np.uint8, "laser_number": np.uint8, "offset_ns": np.int32}


def read_sweep(content: bytes, log_id: str, name: str) -> Sweep:
    """Parse a sweep; InputError names log and file if it is damaged, of a wrong shape or holds non-finite points.

    Args:
        content: bytes of the file.
        log_id: log that it belongs to.
        name: `.bin`, little-endian float32 x, y, z, intensity a point, or `.npy`: (N, C) numbers, C at least 3,
            x, y, z and, where there is a fourth column, intensity; or (N,) records with the fields x, y, z and any of
            intensity, laser_number and offset_ns.
    """
    xyz, extra = _columns(_array(content, log_id, name), log_id, name)
    stored = narrow(xyz)
    require_finite(stored, log_id, name, "points", REMEDY)
    columns = {key: _integers(extra.get(key), len(stored), kind, log_id, name, key) for key, kind in _EXTRA.items()}
    return Sweep(xyz=stored, **columns)


def _array(content: bytes, log_id: str, name: str) -> NDArray[Any]:
    if name.endswith(".bin"):
        if len(content) % (4 * _KITTI_COLUMNS):
            raise InputError(
                f"log {log_id}: {name} has {len(content)} bytes, no multiple of 16 (x, y, z, intensity as float32); "
                f"save other arrays as .npy, or {REMEDY}"
            )
        return np.frombuffer(content, dtype="<f4").reshape(-1, _KITTI_COLUMNS)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"log {log_id}: {name} cannot be read as a NumPy array; {REMEDY}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"log {log_id}: {name} holds several arrays; save one with np.save, then run `make catalog`")
    return array


def _columns(array: NDArray[Any], log_id: str, name: str) -> tuple[NDArray[np.floating], dict[str, NDArray[Any]]]:
    """Coordinates (N, 3) and what else there is by name."""
    fields = array.dtype.names
    if fields and array.ndim == 1 and {"x", "y", "z"} <= set(fields):
        xyz = np.stack([np.asarray(array[axis], dtype=np.float64) for axis in "xyz"], axis=-1)
        return xyz, {key: array[key] for key in _EXTRA if key in fields}
    if fields or array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise InputError(
            f"log {log_id}: {name} has shape {array.shape} and type {array.dtype}, wanted (points, 3 or more) numbers "
            f"or records with x, y, z; {REMEDY}"
        )
    numbers = array.astype(np.float64)
    return numbers[:, :3], {"intensity": numbers[:, 3]} if numbers.shape[1] > 3 else {}


def _integers(
    values: NDArray[Any] | None, count: int, kind: type[np.integer], log_id: str, name: str, key: str
) -> NDArray[Any]:
    """A column rounded to its stored type, zeros where there is none; InputError if it does not fit."""
    if values is None:
        return np.zeros(count, dtype=kind)
    limits, rounded = np.iinfo(kind), np.rint(values.astype(np.float64))
    fine = (rounded >= limits.min) & (rounded <= limits.max)
    if not fine.all():
        row = int(np.flatnonzero(~fine)[0])
        raise InputError(
            f"log {log_id}: {name} row {row} has {key} {values[row]}, wanted {limits.min} to {limits.max}; {REMEDY}"
        )
    return rounded.astype(kind)
