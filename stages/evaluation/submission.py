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
from stages.evaluation.frame import DYNAMIC_V1, by_columns, displacement, row_norm, v1_mask
from stages.evaluation.masks import MaskZip
from stages.evaluation.selection import STRIDE
from stages.evaluation.sources import FLOW_COLUMNS, open_predictions
from stages.labels.inputs import required

Format = Literal["v1", "v2", "v3"]
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SubmitParameters:
    """What is submitted.

    Attributes:
        formats: leaderboards to write for: `v1` (2010), `v2` (2210), `v3` (2026).
        supervised: whether the model saw labels of people; v2's archive says so.
        mask_zip: v1's official mask zip, relative to the project; None makes the masks by rule.
    """

    formats: tuple[Format, ...]
    supervised: bool
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
        """Residual flow, axes of ego frame 1, metres; 0, which is ego motion, where there is no pair  # (N, 3)."""
        rows = self.frames.span(t)
        if not self.predictions.column("has_flow")[t]:
            return np.zeros((rows.stop - rows.start, 3))
        residual: NDArray[np.float64] = self.predictions.column("residual")[rows].astype(np.float64)
        if not np.isfinite(residual).all():
            raise InputError(f"{self.predictions.path}, frame {t}: the prediction is not finite; predict it again")
        return residual

    def mask(self, t: int) -> NDArray[np.bool_]:
        """Points that v1 wants: the official mask, else those of the 100 m box that are not ground  # (N,)."""
        if self.masks is not None:
            return self.masks.mask(self.frames, t)
        name = "ground_v1" if self.ground.has("ground_v1") else "ground"
        ground = np.asarray(self.ground.column(name)[self.frames.span(t)], dtype=np.bool_)
        return v1_mask(by_columns(self.frames.xyz(t)), ground)


def v1_columns(log: LogPredictions, t: int) -> Columns:
    """Total flow and moving flag of the masked points, in sweep order."""
    mask, residual = log.mask(t), log.residual(t)
    total = displacement(by_columns(log.frames.xyz(t)), log.frames.ego1_SE3_ego0(t)) + residual
    return {**_flow_columns(total[mask]), "is_dynamic": (row_norm(residual) >= DYNAMIC_V1)[mask]}


def v2_columns(log: LogPredictions, t: int) -> Columns:
    """Residual flow of all points in the axes of ego frame 0, ``b = R_Eᵀ a``, and whether it was predicted."""
    residual = log.residual(t) @ log.frames.ego1_SE3_ego0(t)[:3, :3]
    valid = np.full(len(residual), bool(log.predictions.column("has_flow")[t]))
    return {"is_valid": valid, **_flow_columns(residual)}


def v3_columns(log: LogPredictions, t: int) -> Columns:
    """Residual flow of all points in the axes of ego frame 1."""
    return _flow_columns(log.residual(t))


def _flow_columns(flow: NDArray[np.float64]) -> Columns:
    if (np.abs(flow) > np.finfo(np.float16).max).any():
        raise InputError(f"a flow of {np.abs(flow).max():g} m does not fit the float16 of a submission; predict again")
    return {name: flow[:, i].astype(np.float16) for i, name in enumerate(FLOW_COLUMNS)}


def v1_frames(log: LogPredictions, phase: int) -> list[int]:
    """Frames of the mask zip where there is one, else every fifth of the pairs of all logs."""
    last = log.frames.num_frames - 1
    if log.masks is None:
        return list(range(phase, last, STRIDE))
    index = {int(stamp): t for t, stamp in enumerate(log.frames.timestamp_ns)}
    stamps = log.masks.stamps(log.frames.log_id)
    unknown = [stamp for stamp in stamps if index.get(stamp, last) >= last]
    if unknown:
        raise InputError(f"{log.masks.path} wants sweep {unknown[0]} of log {log.frames.log_id}, which starts no pair")
    return [index[stamp] for stamp in stamps]


def v2_frames(log: LogPredictions) -> list[int]:
    """Every fifth sweep of the log from its first, the last sweep left out; a gap in time shifts nothing."""
    return list(range(0, log.frames.num_frames - 1, STRIDE))


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
    log = LogPredictions(
        frames=frames,
        ground=LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames),
        predictions=open_predictions(required(inputs, "predictions", log_id), frames),
        masks=MaskZip.open(inputs.get("masks")),
    )
    for folder in outputs.values():
        folder.mkdir(parents=True)
    if "v1" in parameters.formats:
        for t in v1_frames(log, arguments["phase"]):
            name = f"{int(frames.timestamp_ns[t])}.feather"
            write_feather(outputs["v1"] / name, v1_columns(log, t))
            write_feather(outputs["masks"] / name, {"mask": log.mask(t)})
    for t in v2_frames(log):
        if "v2" in parameters.formats:
            write_feather(outputs["v2"] / f"{t:010d}.feather", v2_columns(log, t))
        if "v3" in parameters.formats:
            write_feather(outputs["v3"] / f"{int(frames.timestamp_ns[t])}.feather", v3_columns(log, t))
