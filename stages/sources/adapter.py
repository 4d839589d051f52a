# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a data set must give: the one class that a new one is written against."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.sources.log_files import LogFiles

LIDARS = ("up_lidar", "down_lidar")


@dataclass(frozen=True)
class Sweep:
    """Points of one sweep, motion-compensated, in the ego frame at the sweep's timestamp.

    Attributes:
        xyz: (N, 3) metres, float16 where that loses nothing, else float32 (`narrow`).
        intensity: (N,) uint8; carried along, no stage reads it.
        laser_number: (N,) uint8; below 32 the lidar `up_lidar`, from 32 on `down_lidar`.
        offset_ns: (N,) int32, time of the point after the start of the sweep.
    """

    xyz: NDArray[np.floating]
    intensity: NDArray[np.uint8]
    laser_number: NDArray[np.uint8]
    offset_ns: NDArray[np.int32]


@dataclass(frozen=True)
class Raster:
    """Ground height over the city plane.

    Attributes:
        height: (H, W) metres, float16 in AV2, NaN where unknown; row = y, column = x.
        R: (2, 2) and
        t: (2,) and
        s: the similarity `array = s (R city_xy + t)`, in cells.
    """

    height: NDArray[np.floating]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    s: float


def narrow(xyz: NDArray[np.floating]) -> NDArray[np.floating]:
    """The smallest type that keeps every coordinate: AV2's are float16, other sources' often are not."""
    with np.errstate(over="ignore"):
        half = xyz.astype(np.float16)
        single = xyz.astype(np.float32)
    return half if np.array_equal(half.astype(xyz.dtype), xyz) else single


@dataclass(frozen=True)
class Adapter(ABC):
    """One kind of data set on disk.

    An adapter has no fields: where the data lie is given to `logs` and stands in `LogFiles`, so that a result never
    depends on it. Every file is read through `LogFiles.read`, which checks it against the catalog. Any fault of the
    data is an `InputError`: one sentence with log, file and remedy.
    """

    def logs(self, root: Path, split: str) -> Mapping[str, Path]:
        """Logs of a split by id, each with the folder that its file names are relative to.

        Here each folder `<root>/<split>/<log>` is a log; hidden folders and plain files are none. Logs may share a
        folder where a data set mixes their files.
        """
        folder = root / split
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}

    @abstractmethod
    def files(self, log_id: str, folder: Path) -> Sequence[str]:
        """Names of the files of a log that this adapter reads, relative to its folder; the catalog lists them."""

    @abstractmethod
    def is_sweep(self, name: str) -> bool:
        """Whether a file holds one sweep; `catalog.digest: quick` reads only both ends of those."""

    @abstractmethod
    def timestamps(self, log: LogFiles) -> NDArray[np.int64]:
        """Time of each sweep in ns, increasing  # (T,)."""

    @abstractmethod
    def sweep(self, log: LogFiles, index: int) -> Sweep:
        """The sweep of the given place in `timestamps`."""

    @abstractmethod
    def poses(self, log: LogFiles) -> NDArray[np.float64]:
        """Poses `city_SE3_ego` of the vehicle at each sweep in any fixed frame, metres  # (T, 4, 4)."""

    @abstractmethod
    def mounts(self, log: LogFiles) -> Mapping[str, NDArray[np.float64]]:
        """Mounts `ego_SE3_lidar` (4, 4) of `up_lidar` and `down_lidar`; a vehicle with one lidar names it twice."""

    def boxes(self, log: LogFiles) -> pa.Table | None:
        """Annotated boxes with the columns of `stages.sources.boxes`, or None for a log without annotations."""
        return None

    def raster(self, log: LogFiles) -> Raster | None:
        """Ground heights of the map, or None for a log without one (ground is then found by Patchwork++)."""
        return None
