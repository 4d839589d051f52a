# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of one log, as a file that belongs to its frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.frames.write import write_columns
from stages.pipeline.digest import file_digest


@dataclass(frozen=True)
class PredictParameters:
    """What to keep of the network's output."""

    minimum_length: float  # m, shorter residual flow is written as 0; 0 keeps all

    def __post_init__(self) -> None:
        if self.minimum_length < 0:
            raise ValueError(f"minimum_length must not be negative, got {self.minimum_length} m")


def predict_file(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: PredictParameters,
    arguments: Mapping[str, str],
) -> None:
    """Write the residual flow of a log (columns residual, covered, has_flow).

    Args:
        log_id: Id of the log.
        inputs: frames, ground, and the weights file.
        outputs: predictions.
        parameters: What to keep.
        arguments: device, cpu or cuda, and device_name for the record.
    """
    import numpy as np

    from models.data.pairs import read_ground
    from models.inference import predict_log
    from models.weights import load_weights

    paths = {kind: _given(log_id, kind, inputs[kind]) for kind in ("frames", "ground", "weights")}
    device = arguments["device"]
    network, _ = load_weights(paths["weights"])
    frames = LogFrames.open(paths["frames"])
    ground = read_ground(LogColumns.open(paths["ground"], "ground/1", frames))
    prediction = predict_log(network.to(device), frames, ground, device)
    short = np.linalg.norm(prediction.residual, axis=1) < parameters.minimum_length
    prediction.residual[short] = 0
    write_columns(
        outputs["predictions"],
        "predictions/1",
        {"residual": prediction.residual, "covered": prediction.covered, "has_flow": prediction.has_flow},
        {
            "log_id": log_id,
            "frames_digest": frames.digest,
            "weights_digest": file_digest(paths["weights"]),
            "device": arguments["device_name"],
        },
    )


def _given(log_id: str, kind: str, path: Path | None) -> Path:
    if path is None:
        raise InputError(f"log {log_id} has no {kind} file; run `dvc repro`")
    return path
