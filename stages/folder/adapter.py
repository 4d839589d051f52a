# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs that are plain folders of arrays: what to bring a data set into when nothing reads it yet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.folder.boxes import read_table
from stages.folder.layout import BOXES, MOUNTS, POSES, REMEDY, TIMES, is_sweep, present, read_files, sweep_names
from stages.folder.poses import read_mounts, read_poses, read_times
from stages.folder.sweeps import read_sweep
from stages.sources.adapter import Adapter, Sweep
from stages.sources.boxes import checked_boxes
from stages.sources.log_files import LogFiles


class Folder(Adapter):
    """A log is a folder `<root>/<split>/<log>` of arrays; `docs/your-data.md` has its files one by one."""

    def files(self, log_id: str, folder: Path) -> Sequence[str]:
        """Sweeps, poses, times, mounts, and boxes where there are some."""
        return read_files(log_id, folder)

    def is_sweep(self, name: str) -> bool:
        """Whether a file lies in `sweeps`."""
        return is_sweep(name)

    def timestamps(self, log: LogFiles) -> NDArray[np.int64]:
        """The times file  # (T,)."""
        name = present(log.entry, TIMES) or TIMES[0]
        return read_times(log.read(name), log.log_id, name, self._count(log))

    def sweep(self, log: LogFiles, index: int) -> Sweep:
        """The sweep's array."""
        name = sweep_names(log.log_id, log.entry)[index]
        return read_sweep(log.read(name), log.log_id, name)

    def poses(self, log: LogFiles) -> NDArray[np.float64]:
        """The poses file  # (T, 4, 4)."""
        name = present(log.entry, POSES) or POSES[0]
        return read_poses(log.read(name), log.log_id, name, self._count(log))

    def mounts(self, log: LogFiles) -> Mapping[str, NDArray[np.float64]]:
        """The mounts file."""
        return read_mounts(log.read(MOUNTS), log.log_id, MOUNTS)

    def boxes(self, log: LogFiles) -> pa.Table | None:
        """The boxes file, if there is one."""
        name = present(log.entry, BOXES)
        if name is None:
            return None
        table = read_table(log.read(name), log.log_id, name)
        return checked_boxes(table, log.log_id, name, self.timestamps(log), REMEDY)

    def _count(self, log: LogFiles) -> int:
        return sum(map(self.is_sweep, log.entry))
