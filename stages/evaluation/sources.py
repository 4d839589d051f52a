# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of one log, from whatever file or folder they come in."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.families import FAMILIES
from stages.evaluation.feathers import read_feather
from stages.evaluation.labels import LogLabels
from stages.evaluation.predictions import FLOW_COLUMNS, open_predictions
from stages.evaluation.selection import Frames

Missing = Literal["refuse", "ego_motion"]
Mask = NDArray[np.bool_]
# Residual flow (N, 3) in the axes of ego frame 1, and moving points (N,) where the prediction has its own flag.
Prediction = tuple[NDArray[Any], Mask | None]


class PredictionSource(Protocol):
    """Predictions of a log, a frame at a time."""

    @property
    def families(self) -> tuple[str, ...]:
        """Metric families whose points the predictions cover."""

    def predict(self, labels: LogLabels, t: int, mask: Mask | None = None) -> Prediction | None:
        """The prediction of a frame, or None where there is none; a mask is v1's official one  # (N,)."""


def open_source(path: Path, frames: LogFrames, which: Frames) -> PredictionSource:
    """Predictions of a log: our HDF5 file, or a folder of leaderboard files.

    Raises:
        InputError: another log's file, a wrong number of rows or frames, a folder of no known format.
    """
    return LeaderboardFolder(path, which) if path.is_dir() else PipelineFile(open_predictions(path, frames))


@dataclass(frozen=True)
class PipelineFile:
    """The pipeline's own predictions of a log."""

    columns: LogColumns
    families: tuple[str, ...] = FAMILIES

    def predict(self, labels: LogLabels, t: int, mask: Mask | None = None) -> Prediction | None:
        """Rows of the frame; points that the network did not cover have residual 0."""
        if not self.columns.column("has_flow")[t]:
            return None
        return self.columns.column("residual")[labels.frames.span(t)], None


@dataclass(frozen=True)
class LeaderboardFolder:
    """Files of one log as a leaderboard takes them.

    v1 holds total flow and a flag of the masked points, named by time; v2 residual flow of all points in the
    axes of ego frame 0, named by the frame's number; v3 the same in the axes of ego frame 1, named by time.
    """

    path: Path
    which: Frames

    @cached_property
    def version(self) -> str:
        """`v1`, `v2` or `v3`, by the columns of the first file."""
        file = next(iter(sorted(self.path.glob("*.feather"))), None)
        names = set() if file is None else set(read_feather(file, str(file)))
        if not names.issuperset(FLOW_COLUMNS):
            raise InputError(f"{self.path} has no feather files with columns {', '.join(FLOW_COLUMNS)}")
        return "v1" if "is_dynamic" in names else "v2" if "is_valid" in names else "v3"

    @property
    def families(self) -> tuple[str, ...]:
        """v1's files hold only the points of v1's mask; of the official frames, v2's and v3's hold v2's."""
        if self.version == "v1":
            return ("v1", "opensceneflow")
        return ("v2",) if self.which == "official" else FAMILIES

    def predict(self, labels: LogLabels, t: int, mask: Mask | None = None) -> Prediction | None:
        """Read the frame's file and turn its flow into a residual in the axes of ego frame 1."""
        stem = f"{t:010d}" if self.version == "v2" else str(int(labels.frames.timestamp_ns[t]))
        file = self.path / f"{stem}.feather"
        if not file.exists():
            return None
        wanted = (*FLOW_COLUMNS, "is_dynamic") if self.version == "v1" else FLOW_COLUMNS
        columns = read_feather(file, str(file), wanted)
        flow = np.stack([columns[name].astype(np.float64) for name in FLOW_COLUMNS], axis=1)  # (K, 3)
        if self.version == "v1":
            return _from_v1(labels, t, file, flow, columns["is_dynamic"], mask)
        points = len(labels.frames.xyz(t))
        if len(flow) != points:
            raise InputError(f"{file} has {len(flow)} rows, but the sweep has {points} points; write it again")
        if self.version == "v2":
            flow = flow @ labels.frames.ego1_SE3_ego0(t)[:3, :3].T  # a = R_E b
        return flow, None


def _from_v1(
    labels: LogLabels, t: int, file: Path, total: NDArray[Any], dynamic: NDArray[Any], official: Mask | None
) -> Prediction:
    mask = labels.v1_mask(t) if official is None else official
    if len(total) != mask.sum():
        raise InputError(
            f"{file} has {len(total)} rows, but the v1 mask {'by rule' if official is None else 'of the zip'} keeps "
            f"{int(mask.sum())} of the sweep's {len(mask)} points; name the mask zip that the file was made with "
            "(--frames official --masks ZIP), or write it again"
        )
    residual, moving = np.zeros((len(mask), 3)), np.zeros(len(mask), dtype=np.bool_)
    residual[mask] = total - labels.rigid(t)[mask]
    moving[mask] = dynamic
    return residual, moving
