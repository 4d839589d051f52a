# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline's own file of predictions of one log, and the names of its flow in a leaderboard's files."""

from pathlib import Path

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError

FLOW_COLUMNS = ("flow_tx_m", "flow_ty_m", "flow_tz_m")


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
