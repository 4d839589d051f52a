# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of one log, from whatever file or folder they come in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.families import FAMILIES
from stages.evaluation.labels import LogLabels
from stages.evaluation.masks import MaskZip
from stages.evaluation.selection import Frames

Missing = Literal["refuse", "ego_motion"]
# Residual flow (N, 3) in the axes of ego frame 1, and moving points (N,) where the prediction has its own flag.
Prediction = tuple[NDArray[Any], NDArray[np.bool_] | None]
FLOW_COLUMNS = ("flow_tx_m", "flow_ty_m", "flow_tz_m")


class PredictionSource(Protocol):
    """Predictions of a log, a frame at a time."""

    @property
    def families(self) -> tuple[str, ...]:
        """Metric families whose points the predictions cover."""

    def predict(self, labels: LogLabels, t: int) -> Prediction | None:
        """The prediction of a frame, or None where there is none."""


def open_source(path: Path, frames: LogFrames, which: Frames, masks: MaskZip | None = None) -> PredictionSource:
    """Predictions of a log: our HDF5 file, or a folder of leaderboard files.

    Raises:
        InputError: another log's file, a wrong number of rows or frames, a folder of no known format.
    """
    return LeaderboardFolder(path, which, masks) if path.is_dir() else PipelineFile(open_predictions(path, frames))


def open_predictions(path: Path, frames: LogFrames) -> LogColumns:
    """Map a predictions file; InputError for another log's, a wrong number of rows or frames."""
    predictions = LogColumns.open(path, "predictions/1", frames)
    rows, sweeps = predictions.column("residual").shape, predictions.column("has_flow").shape
    if rows != (frames.num_points, 3) or sweeps != (frames.num_frames,):
        raise InputError(
            f"{path} has residuals of shape {rows} and {sweeps[0]} frames, but log {frames.log_id} has "
            f"{frames.num_points} points in {frames.num_frames} frames; predict it again"
        )
    return predictions


@dataclass(frozen=True)
class PipelineFile:
    """The pipeline's own predictions of a log."""

    columns: LogColumns
    families: tuple[str, ...] = FAMILIES

    def predict(self, labels: LogLabels, t: int) -> Prediction | None:
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
    masks: MaskZip | None

    @cached_property
    def version(self) -> str:
        """`v1`, `v2` or `v3`, by the columns of the first file."""
        import pyarrow.feather as feather

        file = next(iter(sorted(self.path.glob("*.feather"))), None)
        names = set() if file is None else set(feather.read_table(file).column_names)
        if not names.issuperset(FLOW_COLUMNS):
            raise InputError(f"{self.path} has no feather files with columns {', '.join(FLOW_COLUMNS)}")
        return "v1" if "is_dynamic" in names else "v2" if "is_valid" in names else "v3"

    @property
    def families(self) -> tuple[str, ...]:
        """v1's files hold only the points of v1's mask; of the official frames, v2's and v3's hold v2's."""
        if self.version == "v1":
            return ("v1", "opensceneflow")
        return ("v2",) if self.which == "official" else FAMILIES

    def predict(self, labels: LogLabels, t: int) -> Prediction | None:
        """Read the frame's file and turn its flow into a residual in the axes of ego frame 1."""
        stem = f"{t:010d}" if self.version == "v2" else str(int(labels.frames.timestamp_ns[t]))
        file = self.path / f"{stem}.feather"
        if not file.exists():
            return None
        columns = _read(file)
        flow = np.stack([columns[name].astype(np.float64) for name in FLOW_COLUMNS], axis=1)  # (K, 3)
        if self.version == "v1":
            return self._from_v1(labels, t, file, flow, columns["is_dynamic"])
        _require_rows(file, flow, len(labels.frames.xyz(t)))
        if self.version == "v2":
            flow = flow @ labels.frames.ego1_SE3_ego0(t)[:3, :3].T  # a = R_E b
        return flow, None

    def _from_v1(self, labels: LogLabels, t: int, file: Path, total: NDArray[Any], dynamic: NDArray[Any]) -> Prediction:
        mask = self.masks.mask(labels.frames, t) if self.masks else labels.v1_mask(t)
        _require_rows(file, total, int(mask.sum()))
        residual, moving = np.zeros((len(mask), 3)), np.zeros(len(mask), dtype=np.bool_)
        residual[mask] = total - labels.rigid(t)[mask]
        moving[mask] = dynamic
        return residual, moving


def _read(file: Path) -> Mapping[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.feather as feather

    try:
        table = feather.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{file} cannot be read ({error}); write it again") from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _require_rows(file: Path, flow: NDArray[Any], rows: int) -> None:
    if len(flow) != rows:
        raise InputError(f"{file} has {len(flow)} rows, but the sweep has {rows} points to predict; write it again")
