# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one log: exact totals of each prediction, and the headline's tables of each block of frames."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns
from models.errors import InputError
from stages.evaluation.accumulate import Accumulator, Totals
from stages.evaluation.baselines import BASELINES
from stages.evaluation.families import FAMILIES, FrameScorer
from stages.evaluation.frame import FrameTruth, frame_errors
from stages.evaluation.headline import headline
from stages.evaluation.labels import LogLabels
from stages.evaluation.masks import MaskZip, open_masks
from stages.evaluation.selection import STRIDE, Frames, families_of, v1_frames
from stages.evaluation.sources import Missing, Prediction, open_source
from stages.frames.write import write_columns
from stages.labels.inputs import required

SCHEMA = "scores/1"
BLOCK = 5  # consecutive scored frames that are resampled together

Predictions = Mapping[str, Prediction]  # of one frame, by name
# Of a log's frame, given its truth and v1's official mask (N,) where there is one.
Predict = Callable[[LogLabels, int, FrameTruth, NDArray[np.bool_] | None], Predictions]


@dataclass(frozen=True)
class ScoreParameters:
    """What decides the scores of one log.

    Attributes:
        frames: `all` pairs with truth, or the `official` every fifth.
        missing: what to do with a frame without prediction: `refuse` it, or score it as `ego_motion`.
    """

    frames: Frames
    missing: Missing


@dataclass
class LogScores:
    """Totals of one log.

    Attributes:
        frames: number of frames scored by v1, and by v2.
        imputed: number of scored frames without prediction, scored as ego motion.
        totals: of each prediction, over the log.
        blocks: of each prediction, the headline's tables of each block.
    """

    frames: dict[str, int] = field(default_factory=lambda: {"v1": 0, "v2": 0})
    imputed: int = 0
    totals: dict[str, Accumulator] = field(default_factory=dict)
    blocks: dict[str, list[Totals]] = field(default_factory=dict)


def score_frames(
    labels: LogLabels,
    predict: Predict,
    parameters: ScoreParameters,
    phase: int = 0,
    masks: MaskZip | None = None,
    families: tuple[str, ...] = FAMILIES,
) -> LogScores:
    """Score every frame of a log that counts.

    Args:
        labels: the log.
        predict: gives the predictions of a frame.
        parameters: which frames count.
        phase: residue of the log's frames on leaderboard v1, where there are no official masks.
        masks: v1's official masks, which name its frames too; None makes both by rule.
        families: metric families that the predictions cover.
    """
    scores = LogScores()
    for block_frames in _blocks(labels, parameters, _families(labels, parameters, phase, masks, families)):
        block: dict[str, Accumulator] = {}
        for t, wanted in block_frames.items():
            for family in scores.frames:
                scores.frames[family] += family in wanted
            mask = masks.mask(labels.frames, t) if masks is not None and "v1" in wanted else None
            truth = labels.frame(t, mask)
            scorer = FrameScorer(truth, wanted)
            for name, (residual, dynamic) in predict(labels, t, truth, mask).items():
                errors = _errors(labels, t, name, truth, residual, dynamic)
                block.setdefault(name, Accumulator()).add(scorer.sums(errors))
        for name, accumulator in block.items():
            scores.totals.setdefault(name, Accumulator()).merge(accumulator)
            scores.blocks.setdefault(name, []).append(headline(accumulator.totals()))
    return scores


def _families(
    labels: LogLabels, parameters: ScoreParameters, phase: int, masks: MaskZip | None, families: tuple[str, ...]
) -> dict[int, tuple[str, ...]]:
    """The frames that count for one of the families, in order, each with those that it counts for."""
    v1 = set(v1_frames(labels.frames, masks, phase)) if parameters.frames == "official" else set()
    of_frame = {t: families_of(t, parameters.frames, v1) for t in labels.has_flow().tolist()}
    counted = {t: tuple(f for f in wanted if f in families) for t, wanted in of_frame.items()}
    return {t: wanted for t, wanted in counted.items() if wanted}


def _blocks(
    labels: LogLabels, parameters: ScoreParameters, scored: Mapping[int, tuple[str, ...]]
) -> Iterator[dict[int, tuple[str, ...]]]:
    """Frames in blocks of consecutive ones."""
    length = BLOCK if parameters.frames == "all" else BLOCK * STRIDE
    for block in sorted({t // length for t in scored}):
        yield {t: wanted for t, wanted in scored.items() if t // length == block}


def _errors(
    labels: LogLabels,
    t: int,
    name: str,
    truth: FrameTruth,
    residual: NDArray[Any],
    dynamic: NDArray[np.bool_] | None,
) -> Any:
    try:
        return frame_errors(truth, residual, dynamic)
    except ValueError as error:
        stamp = int(labels.frames.timestamp_ns[t])
        raise InputError(
            f"{name} of log {labels.frames.log_id}, frame {t} ({stamp}): {error}; predict this log again"
        ) from error


def baseline_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: ScoreParameters,
    arguments: Mapping[str, int],
) -> None:
    """Scores of the baselines on one log, from its `frames`, `truth` and `ground`, to `scores`."""
    labels = LogLabels.open(log_id, inputs)

    def predict(labels: LogLabels, t: int, truth: FrameTruth, _: object) -> Predictions:
        pair = labels.pair(t, truth)
        return {name: (baseline(pair), None) for name, baseline in BASELINES.items()}

    with open_masks(inputs.get("masks")) as masks:
        scores = score_frames(labels, predict, parameters, arguments["phase"], masks)
    write_scores(outputs["scores"], labels, scores)


def model_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: ScoreParameters,
    arguments: Mapping[str, int],
) -> None:
    """Scores of a model on one log, from its `frames`, `truth`, `ground` and `predictions`, to `scores`."""
    labels = LogLabels.open(log_id, inputs)
    path = required(inputs, "predictions", log_id)
    source = open_source(path, labels.frames, parameters.frames)
    imputed: list[int] = []

    def predict(labels: LogLabels, t: int, truth: FrameTruth, mask: NDArray[np.bool_] | None) -> Predictions:
        prediction = source.predict(labels, t, mask)
        if prediction is not None:
            return {"model": prediction}
        if parameters.missing == "refuse":
            raise InputError(
                f"{path} has no prediction of frame {t} ({int(labels.frames.timestamp_ns[t])}) of log {log_id}; "
                "predict it, or set missing to ego_motion"
            )
        imputed.append(t)
        return {"model": (np.zeros_like(truth.points), None)}

    with open_masks(inputs.get("masks")) as masks:
        scores = score_frames(labels, predict, parameters, arguments["phase"], masks, source.families)
    scores.imputed = len(imputed)
    write_scores(outputs["scores"], labels, scores)


def write_scores(path: Path, labels: LogLabels, scores: LogScores) -> None:
    """Store the scores of a log; `read_scores` is the way back."""
    columns: dict[str, NDArray[Any]] = {}
    for name, accumulator in scores.totals.items():
        columns.update({f"{name}:{key}": value for key, value in accumulator.columns().items()})
    for name, blocks in scores.blocks.items():
        for key in blocks[0]:
            columns[f"{name}:block:{key}"] = np.stack([block[key] for block in blocks])
    attributes: dict[str, str | int] = {
        "log_id": labels.frames.log_id,
        "frames_digest": labels.frames.digest,
        "frames_v1": scores.frames["v1"],
        "frames_v2": scores.frames["v2"],
        "frames_imputed": scores.imputed,
        "truth": labels.recipe,
        "ground": labels.ground_rule,
        "ground_digest": labels.ground_digest,
        "mask": labels.mask_rule,
    }
    write_columns(path, SCHEMA, columns, attributes)


def read_scores(path: Path) -> tuple[LogScores, Mapping[str, Any]]:
    """Scores of a log and the attributes of their file."""
    file = LogColumns.open(path, SCHEMA)
    frames = {name: int(file.attributes[f"frames_{name}"]) for name in ("v1", "v2")}
    scores = LogScores(frames, int(file.attributes["frames_imputed"]))
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    tables: dict[str, dict[str, NDArray[Any]]] = {}
    for column in file.names:
        name, rest = column.split(":", 1)
        group = tables if rest.startswith("block:") else parts
        group.setdefault(name, {})[rest.removeprefix("block:")] = file.column(column)
    for name, columns in parts.items():
        scores.totals[name] = Accumulator.from_columns(columns)
    for name, columns in tables.items():
        count = len(next(iter(columns.values())))
        scores.blocks[name] = [{key: np.array(values[i]) for key, values in columns.items()} for i in range(count)]
    return scores, file.attributes
