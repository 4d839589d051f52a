# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of every pair of a log, by which the report chooses the frames it shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.rendering.scene import MOVING, LogScene, Pair, length

PREDICTION = "model"
SCHEMA = {
    "log_id": "String",
    "frame": "Int64",
    "points": "Int64",
    "moving": "Int64",
    "moving_predicted": "Int64",
    "speed": "Float64",
    "error_moving": "Float64",
    "error_still": "Float64",
}


@dataclass(frozen=True)
class FrameStatistics:
    """One pair, its points off the ground alone.

    Attributes:
        log_id: id of the log.
        frame: number of the first sweep.
        points: points.
        moving: of these, moving by truth; None without truth.
        moving_predicted: of these, moving by the prediction.
        speed: mean speed of the moving points by truth, m/s; None where there are none.
        error_moving: mean end-point error of the moving points, m; None where there are none.
        error_still: mean end-point error of the others whose truth counts, m; None where there are none.
    """

    log_id: str
    frame: int
    points: int
    moving: int | None
    moving_predicted: int
    speed: float | None
    error_moving: float | None
    error_still: float | None


def frame_statistics(log_id: str, pair: Pair) -> FrameStatistics:
    """Statistics of one pair that has a prediction."""
    flow = length(pair.predictions[PREDICTION])
    error, moving = pair.error(PREDICTION), pair.moving
    still = pair.valid & ~pair.ground & ~moving
    speed = None
    if pair.truth is not None and moving.any():
        speed = float(length(pair.truth[moving]).mean() / pair.seconds)
    return FrameStatistics(
        log_id=log_id,
        frame=pair.frame,
        points=int((~pair.ground).sum()),
        moving=None if pair.truth is None else int(moving.sum()),
        moving_predicted=int(((flow >= MOVING) & ~pair.ground).sum()),
        speed=speed,
        error_moving=None if error is None or not moving.any() else float(error[moving].mean()),
        error_still=None if error is None or not still.any() else float(error[still].mean()),
    )


def statistics_log(
    log_id: str, inputs: Mapping[str, Path | None], outputs: Mapping[str, Path], parameters: None
) -> None:
    """Write the table `frames` of one log, a row for each pair with a prediction."""
    import polars as pl

    scene = LogScene.of(inputs, log_id)
    frames = [int(frame) for frame in scene.frames.pairs() if _predicted(scene, int(frame))]
    rows = [vars(frame_statistics(log_id, scene.pair(frame))) for frame in frames]
    schema = {name: getattr(pl, kind) for name, kind in SCHEMA.items()}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(outputs["frames"], statistics=False)


def _predicted(scene: LogScene, frame: int) -> bool:
    predictions = scene.predictions.get(PREDICTION)
    return predictions is not None and bool(predictions.column("has_flow")[frame])
