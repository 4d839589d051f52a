# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Argoverse 2's layout behind the interface of all data sets."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.errors import InputError
from stages.av2.layout import ANNOTATIONS, CALIBRATION, POSES, SWEEPS, is_sweep, read_files, sweep_timestamps
from stages.av2.poses import read_mounts, read_poses
from stages.av2.raster import read_raster
from stages.av2.sweeps import read_sweep
from stages.sources.adapter import Adapter, Raster, Sweep
from stages.sources.boxes import BOX_COLUMNS, checked_boxes
from stages.sources.log_files import LogFiles
from stages.sources.tables import read_feather


class Av2(Adapter):
    """Logs in Argoverse 2's layout, real ones and simulated ones."""

    def files(self, log_id: str, folder: Path) -> Sequence[str]:
        """Sweeps, poses, calibration, and annotations and ground raster where there are some."""
        return read_files(folder)

    def is_sweep(self, name: str) -> bool:
        """Whether a file is a lidar sweep."""
        return is_sweep(name)

    def timestamps(self, log: LogFiles) -> NDArray[np.int64]:
        """The names of the sweeps  # (T,)."""
        return np.array(_times(tuple(log.entry)), dtype=np.int64)

    def sweep(self, log: LogFiles, index: int) -> Sweep:
        """A sweep's Feather file."""
        name = f"{SWEEPS}/{_times(tuple(log.entry))[index]}.feather"
        return read_sweep(log.read(name), log.log_id, name)

    def poses(self, log: LogFiles) -> NDArray[np.float64]:
        """The rows of the poses file at the sweeps  # (T, 4, 4)."""
        return read_poses(log.read(POSES), log.log_id, self.timestamps(log))

    def mounts(self, log: LogFiles) -> Mapping[str, NDArray[np.float64]]:
        """Both lidars of the calibration file."""
        return read_mounts(log.read(CALIBRATION), log.log_id)

    def boxes(self, log: LogFiles) -> pa.Table | None:
        """The annotations at the sweeps; the test split has none."""
        if not log.has(ANNOTATIONS):
            return None
        table = read_feather(log.read(ANNOTATIONS), log.log_id, ANNOTATIONS, BOX_COLUMNS)
        return checked_boxes(table, log.log_id, ANNOTATIONS, self.timestamps(log))

    def raster(self, log: LogFiles) -> Raster | None:
        """The ground-height raster of the map."""
        height = _only(log, ".npy", "_ground_height_surface____")
        if height is None:
            return None
        sim2 = _only(log, ".json", "___img_Sim2_city") or f"map/{log.log_id}___img_Sim2_city.json"
        return read_raster(log.read(height), height, log.read(sim2), sim2, log.log_id)


@lru_cache(maxsize=1)
def _times(names: tuple[str, ...]) -> tuple[int, ...]:
    """Times of a log's sweeps by its files, listed once although sweeps are asked for one by one."""
    return tuple(sweep_timestamps(names))


def _only(log: LogFiles, ending: str, middle: str) -> str | None:
    """The one map file whose name holds `middle` and ends so, None if there is none; InputError if several."""
    names = [name for name in sorted(log.entry) if name.startswith("map/") and middle in name and name.endswith(ending)]
    if len(names) > 1:
        raise InputError(f"log {log.log_id} has {len(names)} files map/*{middle}*{ending}; keep one of them")
    return names[0] if names else None
