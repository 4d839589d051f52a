# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Memory-mapped per-point files, one a log: the frames and the label columns that belong to them.

A file holds the points of all sweeps of a log one after the other, contiguous and uncompressed, so a column
is a byte range of the file and a sweep is a slice of it. Nothing is copied before it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import inverse_SE3

FRAMES_SCHEMA = "frames/1"
_LIDAR_PREFIX = "ego_SE3_"


def log_ids(folder: Path, suffix: str = ".h5") -> list[str]:
    """Sorted ids of the logs that have a file in a folder; an absent folder has none."""
    return sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}"))


def _attribute(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


_COPIED = 64 * 1024  # bytes; what is smaller is read, so that a file without large columns keeps no map


def _column(file_map: NDArray[np.uint8], dataset: h5py.Dataset) -> NDArray[Any]:
    """The dataset as a read-only view of the mapped file; small ones are copied."""
    offset, size = dataset.id.get_offset(), dataset.size * dataset.dtype.itemsize
    if offset is None or size <= _COPIED:
        return np.asarray(dataset[()])
    column: NDArray[Any] = file_map[offset : offset + size].view(dataset.dtype).reshape(dataset.shape)
    return column


def _open(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str | int | float | bool]]:
    try:
        # One map a file: each holds a file descriptor for as long as a view of it lives.
        file_map = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))  # a slice of a memmap takes thrice as long
        with h5py.File(path, "r", locking=False) as file:
            columns = {name: _column(file_map, dataset) for name, dataset in file.items()}
            return columns, {name: _attribute(value) for name, value in file.attrs.items()}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it (`dvc repro`)") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path} cannot be opened ({error.strerror})") from error
        raise InputError(f"{path} cannot be read as HDF5 ({error}); delete it and run `dvc repro` again") from error


def _require_schema(path: Path, attributes: Mapping[str, object], schema: str) -> None:
    found = attributes.get("schema")
    if found != schema:
        raise InputError(f"{path} holds schema {found!r} where {schema!r} is wanted; run `dvc repro` again")


@dataclass(frozen=True)
class LogFrames:
    """The sweeps of one log.

    Attributes:
        path: the file.
        log_id: id of the log.
        digest: SHA-256 of the content; label files carry it as `frames_digest`.
        columns: per-point columns `xyz` (P, 3), `intensity`, `laser_number`, `offset_ns` (P,), points in
            metres in the ego frame of their sweep.
        frame_start: (T+1,) first point of each sweep, and P.
        timestamp_ns: (T,) time of each sweep.
        city_SE3_ego: (T, 4, 4) pose of the vehicle at that time.
        pair_next: (T,) whether the next sweep follows within the pair tolerance.
        ego_SE3_lidar: mount of each lidar by its name.
    """

    path: Path
    log_id: str
    digest: str
    columns: Mapping[str, NDArray[Any]]
    frame_start: NDArray[np.int64]
    timestamp_ns: NDArray[np.int64]
    city_SE3_ego: NDArray[np.float64]
    pair_next: NDArray[np.bool_]
    ego_SE3_lidar: Mapping[str, NDArray[np.float64]]

    @classmethod
    def open(cls, path: Path) -> "LogFrames":
        """Map the frames file of a log; raises InputError if it is absent, unreadable or of another schema."""
        data, attributes = _open(path)
        _require_schema(path, attributes, FRAMES_SCHEMA)
        lidars = {name: data.pop(name) for name in sorted(data) if name.startswith(_LIDAR_PREFIX)}
        return cls(
            path=path,
            log_id=str(attributes["log_id"]),
            digest=str(attributes["digest"]),
            frame_start=np.asarray(data.pop("frame_start")),
            timestamp_ns=np.asarray(data.pop("timestamp_ns")),
            city_SE3_ego=np.asarray(data.pop("city_SE3_ego")),
            pair_next=np.asarray(data.pop("pair_next")),
            ego_SE3_lidar={name.removeprefix(_LIDAR_PREFIX): np.asarray(m) for name, m in lidars.items()},
            columns=data,
        )

    @property
    def num_frames(self) -> int:
        """Number of sweeps T."""
        return len(self.timestamp_ns)

    @property
    def num_points(self) -> int:
        """Number of points P of all sweeps together."""
        return int(self.frame_start[-1])

    @cached_property
    def _ego1_SE3_ego0(self) -> NDArray[np.float64]:
        motion: NDArray[np.float64] = inverse_SE3(self.city_SE3_ego[1:]) @ self.city_SE3_ego[:-1]  # (T-1, 4, 4)
        return motion

    def span(self, frame: int) -> slice:
        """Rows of the points of one sweep in every column of the log."""
        return slice(int(self.frame_start[frame]), int(self.frame_start[frame + 1]))

    def column(self, name: str) -> NDArray[Any]:
        """A per-point column (P, ...), mapped."""
        return self.columns[name]

    def xyz(self, frame: int) -> NDArray[np.floating[Any]]:
        """Points (N, 3) of one sweep in its ego frame, metres, in the stored type (float16 for AV2)."""
        return self.columns["xyz"][self.span(frame)]

    def pairs(self) -> NDArray[np.int64]:
        """Frames (K,) that the next sweep follows within the pair tolerance."""
        return np.flatnonzero(self.pair_next).astype(np.int64)

    def ego1_SE3_ego0(self, frame: int) -> NDArray[np.float64]:
        """Ego motion (4, 4) from a sweep to the next: ``C1⁻¹ C0``, double precision."""
        motion: NDArray[np.float64] = self._ego1_SE3_ego0[frame]
        return motion


@dataclass(frozen=True)
class LogColumns:
    """A file of per-point labels or predictions that belongs to the frames of one log.

    Attributes:
        path: the file.
        attributes: what made the columns, the log's id and the digest of the frames.
        columns: the columns by name, (P, ...) or (T,).
    """

    path: Path
    attributes: Mapping[str, str | int | float | bool]
    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def open(cls, path: Path, schema: str, frames: LogFrames | None = None) -> "LogColumns":
        """Map a label file.

        Args:
            path: the file.
            schema: its kind and version, as `ground/1`.
            frames: the frames it must belong to; None skips that check.

        Raises:
            InputError: if it is absent, unreadable, of another schema, or made from other frames.
        """
        columns, attributes = _open(path)
        _require_schema(path, attributes, schema)
        if frames is not None and attributes.get("frames_digest") != frames.digest:
            raise InputError(
                f"{path} was made from other frames of log {frames.log_id} than {frames.path} holds; "
                "run `dvc repro` to make it again"
            )
        return cls(path=path, attributes=attributes, columns=columns)

    @property
    def names(self) -> list[str]:
        """Names of the columns, sorted."""
        return sorted(self.columns)

    def has(self, name: str) -> bool:
        """Whether the file holds this column."""
        return name in self.columns

    def column(self, name: str) -> NDArray[Any]:
        """A column, mapped; InputError names the file if it is absent."""
        if name not in self.columns:
            raise InputError(f"{self.path} has no column {name!r} (it has {', '.join(self.names)})")
        return self.columns[name]
