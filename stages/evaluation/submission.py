# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Leaderboard files of one log: which frames, which rows, which quantity each format wants."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.masks import MaskZip, open_masks, rule_mask
from stages.evaluation.points import DYNAMIC_V1, by_columns, displacement, row_norm
from stages.evaluation.predictions import FLOW_COLUMNS, open_predictions
from stages.evaluation.selection import v1_frames, v2_frames
from stages.labels.inputs import required

Format = Literal["v1", "v2", "v3"]
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SubmitParameters:
    """What is submitted.

    Attributes:
        formats: leaderboards to write for: `v1` (2010), `v2` (2210), `v3` (2026).
        supervised: whether the model saw labels of people; v2's archive says so. None takes it from the predictions.
        mask_zip: v1's official mask zip, relative to the project; None makes the masks by rule.
    """

    formats: tuple[Format, ...]
    supervised: bool | None
    mask_zip: str | None

    def __post_init__(self) -> None:
        if not self.formats or len(set(self.formats)) < len(self.formats):
            raise ValueError(f"formats must name each leaderboard once, got {list(self.formats)}")


@dataclass(frozen=True)
class LogPredictions:
    """Frames, ground and predictions of one log."""

    frames: LogFrames
    ground: LogColumns
    predictions: LogColumns
    masks: MaskZip | None

    def residual(self, t: int) -> NDArray[np.float64]:
        """Residual flow, axes of ego frame 1, metres; 0, which is ego motion, where there is no pair  # (N, 3).

        Raises:
            InputError: a pair that was not predicted, a value that is not finite or too large for a submission.
        """
        rows = self.frames.span(t)
        if not self.predictions.column("has_flow")[t]:
            if self.frames.pair_next[t]:
                raise InputError(f"{self._place(t)} starts a pair that was not predicted; predict it again")
            return np.zeros((rows.stop - rows.start, 3))
        residual: NDArray[np.float64] = self.predictions.column("residual")[rows].astype(np.float64)
        if not np.isfinite(residual).all():
            raise InputError(f"{self._place(t)}: the prediction is not finite; predict it again")
        return residual

    def mask(self, t: int) -> NDArray[np.bool_]:
        """Points that v1 wants: the official mask, else those of the 100 m box that are not ground  # (N,)."""
        return rule_mask(self.frames, self.ground, t) if self.masks is None else self.masks.mask(self.frames, t)

    def float16(self, flow: NDArray[np.float64], t: int) -> Columns:
        """Columns of a frame's flow in the precision of a submission; InputError for what it cannot hold."""
        largest = float(np.abs(flow).max(initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            raise InputError(
                f"{self._place(t)}: a flow of {largest:g} m does not fit the float16 of a submission; predict it again"
            )
        return {name: flow[:, i].astype(np.float16) for i, name in enumerate(FLOW_COLUMNS)}

    def _place(self, t: int) -> str:
        stamp = int(self.frames.timestamp_ns[t])
        return f"{self.predictions.path}, log {self.frames.log_id}, frame {t} ({stamp})"


def v1_columns(log: LogPredictions, t: int, mask: NDArray[np.bool_]) -> Columns:
    """Total flow and moving flag of the masked points, in sweep order."""
    residual = log.residual(t)
    total = displacement(by_columns(log.frames.xyz(t)), log.frames.ego1_SE3_ego0(t)) + residual
    return {**log.float16(total[mask], t), "is_dynamic": (row_norm(residual) >= DYNAMIC_V1)[mask]}


def v2_columns(log: LogPredictions, t: int) -> Columns:
    """Residual flow of all points in the axes of ego frame 0, ``b = R_Eᵀ a``, and whether it was predicted."""
    residual = log.residual(t) @ log.frames.ego1_SE3_ego0(t)[:3, :3]
    valid = np.full(len(residual), bool(log.predictions.column("has_flow")[t]))
    return {"is_valid": valid, **log.float16(residual, t)}


def v3_columns(log: LogPredictions, t: int) -> Columns:
    """Residual flow of all points in the axes of ego frame 1."""
    return log.float16(log.residual(t), t)


def write_feather(path: Path, columns: Columns) -> None:
    """Write one file of a submission."""
    import pyarrow as pa
    import pyarrow.feather as feather

    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.table(dict(columns)), path)


def submit_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: SubmitParameters,
    arguments: Mapping[str, int],
) -> None:
    """Leaderboard files of one log, from `frames`, `ground` and `predictions`, to the folders `v1`, `v2`, `v3`.

    `masks` gets v1's masks of the same frames, against which v1's files are checked.
    """
    frames = LogFrames.open(required(inputs, "frames", log_id))
    ground = LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames)
    predictions = open_predictions(required(inputs, "predictions", log_id), frames)
    for folder in outputs.values():
        folder.mkdir(parents=True)
    with open_masks(inputs.get("masks")) as masks:
        log = LogPredictions(frames, ground, predictions, masks)
        if "v1" in parameters.formats:
            for t in v1_frames(frames, masks, arguments["phase"]):
                name = f"{int(frames.timestamp_ns[t])}.feather"
                mask = log.mask(t)
                write_feather(outputs["v1"] / name, v1_columns(log, t, mask))
                write_feather(outputs["masks"] / name, {"mask": mask})
    for t in v2_frames(frames):
        if "v2" in parameters.formats:
            write_feather(outputs["v2"] / f"{t:010d}.feather", v2_columns(log, t))
        if "v3" in parameters.formats:
            write_feather(outputs["v3"] / f"{int(frames.timestamp_ns[t])}.feather", v3_columns(log, t))
