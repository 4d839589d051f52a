# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of one log, as a file that belongs to its frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.architecture import Precision
from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.frames.write import write_columns
from stages.labels.inputs import required
from stages.pipeline.digest import file_digest
from stages.pipeline.logs import LogTask, split_tasks


@dataclass(frozen=True)
class PredictRule:
    """How to predict, and what to keep of it."""

    minimum_length: float  # m, shorter residual flow is written as 0; 0 keeps all
    precision: Precision


@dataclass(frozen=True)
class PredictParameters(PredictRule):
    """The same with the weights, whose content and not their path decides the result."""

    weights: str  # weights file, or folder that holds flow.safetensors

    def __post_init__(self) -> None:
        if self.minimum_length < 0:
            raise ValueError(f"minimum_length must not be negative, got {self.minimum_length} m")
        if not self.weights:
            raise ValueError("weights must be data/weights or a weights file in the project")

    def rule(self) -> PredictRule:
        """What of it decides the result."""
        return PredictRule(self.minimum_length, self.precision)


def predict_tasks(split: str, weights: Path) -> tuple[list[LogTask], bool]:
    """A task for each log of a split, and whether one process must do them all: each would hold its own GPU context."""
    from models.device import choose_device, device_name
    from stages.pipeline.compute import compute

    device = choose_device(compute().device)
    arguments = {"device": device, "device_name": device_name(device)}
    tasks = split_tasks(split, ("frames", "ground"))
    file = weights_file(weights) if tasks else weights
    with_weights = [replace(task, inputs={**task.inputs, "weights": file}, arguments=arguments) for task in tasks]
    return with_weights, device == "cuda"


def weights_file(weights: Path) -> Path:
    """The file that `predict.weights` names.

    Args:
        weights: a weights file, or a folder that holds flow.safetensors.

    Raises:
        InputError: it is neither.
    """
    file = weights / "flow.safetensors" if weights.is_dir() else weights
    if file.suffix == ".safetensors" and file.is_file():
        return file
    if file.is_file():
        raise InputError(
            f"predict.weights {weights} is no weights file (.safetensors);"
            f" of a checkpoint `python -m stages.weights import {weights} FILE.safetensors` makes one"
        )
    raise InputError(f"predict.weights {file} does not exist; run `dvc repro`, or name a weights file in the project")


def predict_file(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: PredictRule,
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
    from models.replay import replay_unet
    from models.weights import load_weights

    weights = required(inputs, "weights", log_id)
    device = arguments["device"]
    network, description = load_weights(weights)
    network.precision = parameters.precision
    frames = LogFrames.open(required(inputs, "frames", log_id))
    ground = read_ground(LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames))
    network.to(device)
    if device == "cuda":
        replay_unet(network)
    prediction = predict_log(network, frames, ground, device, description["frame"])
    short = np.linalg.norm(prediction.residual, axis=1) < parameters.minimum_length
    prediction.residual[short] = 0
    write_columns(
        outputs["predictions"],
        "predictions/1",
        {"residual": prediction.residual, "covered": prediction.covered, "has_flow": prediction.has_flow},
        {
            "log_id": log_id,
            "frames_digest": frames.digest,
            "weights_digest": file_digest(weights),
            "device": arguments["device_name"],
            **_history(description["training"]),
        },
    )


def _history(training: Mapping[str, Any]) -> dict[str, str]:
    """How the weights came about, in a few short texts that a metric file can carry."""
    if "imported" in training:
        told = training["imported"]
        return {"trained": f"imported from {told['file']}", "trained_on": "unknown", "labels_digest": told["digest"]}
    p = training["parameters"]
    model = p["model"]
    return {
        "trained": f"{p['loss']} on {p['labels']}, {model['kind']} of width {model['width']}, "
        f"{p['epochs']} epochs of batch {p['batch']}, seed {p['seed']}",
        "trained_on": f"{training['logs']} logs, {training['device']}",
        "labels_digest": training["data"],
        "code_digest": training["code"],
    }
