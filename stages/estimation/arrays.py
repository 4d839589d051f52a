# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""NumPy's .npy and .npz, and the headerless float32 .bin of KITTI and nuScenes."""

import io
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.cloud import Cloud, Columns, records_xyz, refuse_taken, single, with_columns

_KEYS = ("points", "xyz", "pc", "cloud", "lidar", "pc0")  # what people call the points in an .npz
# What NumPy, its parser of headers and the zip reader raise at bytes that are no array; RuntimeError: unknown packing.
_NO_ARRAY = (ValueError, OSError, EOFError, KeyError, AttributeError, SyntaxError, RuntimeError, TokenError)
_DAMAGE = (*_NO_ARRAY, zipfile.BadZipFile, zlib.error)
_KITTI, _NUSCENES = 4, 5  # x y z intensity, and the ring too


def read_npy(path: Path) -> Cloud:
    """Points of an array (N, 3 or more), x y z first, or of a structured array with fields x, y and z."""
    array = load_npy(path)
    return Cloud(path, _xyz(array, path, "array"), array)


def write_npy(cloud: Cloud, columns: Columns) -> bytes:
    """The same array with more columns: structured as it was, or floating-point numbers side by side."""
    stream = io.BytesIO()
    array = cloud.content
    np.save(stream, with_columns(array, columns, cloud.path) if array.dtype.names else beside(array, columns))
    return stream.getvalue()


def read_npz(path: Path) -> Cloud:
    """Points of an archive: arrays x, y and z, or one (N, 3 or more), by a usual name where there are several."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as .npz ({_reason(error)}); write it again with np.savez") from error
    if all(axis in arrays for axis in "xyz"):
        return Cloud(path, _xyz(_side_by_side(arrays, path), path, "array"), arrays)
    name = _points_name(arrays, path)
    return Cloud(path, _xyz(arrays[name], path, f"array {name}"), arrays)


def write_npz(cloud: Cloud, columns: Columns) -> bytes:
    """All arrays of the archive, and flow (N, 3), residual (N, 3) and one array for each mark."""
    grouped = {name: np.stack([columns[f"{name}_{axis}"] for axis in "xyz"], axis=1) for name in ("flow", "residual")}
    marks = {name: column for name, column in columns.items() if name.partition("_")[0] not in grouped}
    refuse_taken(cloud.content, {**grouped, **marks}, cloud.path)
    stream = io.BytesIO()
    arrays: dict[str, Any] = {**cloud.content, **grouped, **marks}
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_bin(path: Path) -> Cloud:
    """Points of a headerless file of float32: x y z intensity (KITTI); in a .pcd.bin the ring too (nuScenes)."""
    data = path.read_bytes()
    width = _NUSCENES if path.name.endswith(".pcd.bin") else _KITTI
    if not data or len(data) % (4 * width):
        raise InputError(
            f"{path} has {len(data)} bytes, not a multiple of {4 * width} ({width} float32 a point): it is truncated "
            "or of another layout; .bin holds x y z intensity, .pcd.bin x y z intensity ring"
        )
    array = np.frombuffer(data, dtype="<f4").reshape(-1, width)
    return Cloud(path, single(array[:, :3]), array)


def write_bin(cloud: Cloud, columns: Columns) -> bytes:
    """Little-endian float32, the columns of the output behind the file's own; marks are 0 or 1."""
    return beside(cloud.content, columns).astype("<f4").tobytes()


def beside(array: NDArray[Any], columns: Columns) -> NDArray[Any]:
    """Columns behind those of an array (N, K), float32 or the array's own type where that is wider."""
    kind = np.result_type(array.dtype, np.float32)
    return np.concatenate([array.astype(kind), *(column.astype(kind)[:, None] for column in columns.values())], axis=1)


def load_npy(path: Path) -> NDArray[Any]:
    """The array of a .npy file; InputError if it is damaged, holds objects, or is an archive."""
    try:
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as .npy ({_reason(error)}); write it again with np.save") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays; name it .npz")
    return array


def _side_by_side(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    shapes = {axis: arrays[axis].shape for axis in "xyz"}
    if len(set(shapes.values())) > 1 or arrays["x"].ndim != 1:
        raise InputError(f"{path} has arrays x, y and z of shapes {', '.join(map(str, shapes.values()))}, wanted (N,)")
    return np.stack([arrays[axis] for axis in "xyz"], axis=1)


def _points_name(arrays: dict[str, NDArray[Any]], path: Path) -> str:
    like_points = [name for name, array in arrays.items() if array.ndim == 2 and array.shape[1] >= 3]
    named = [name for name in _KEYS if name in like_points]
    if not named and len(like_points) != 1:
        raise InputError(
            f"{path} does not say which array holds the points (it has {', '.join(arrays) or 'none'}); name it points"
        )
    return (named or like_points)[0]


def _xyz(array: NDArray[Any], path: Path, what: str) -> NDArray[np.float32]:
    if array.dtype.names:
        return records_xyz(array.reshape(-1), path)
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds an {what} of shape {array.shape} and type {array.dtype}; wanted numbers (N, 3) or wider, "
            "x y z first"
        )
    return single(array[:, :3])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
