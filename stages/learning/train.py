# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training as a stage: opens what the labels need, resumes by content, writes weights and curves."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.data.logfile import log_ids
from models.training.parameters import TrainParameters
from stages.pipeline.code import code_digest, package_versions
from stages.pipeline.compute import compute
from stages.pipeline.digest import path_digests, value_digest

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from models.data.labels import TrainLog

PACKAGES = ("torch", "lightning", "numpy", "scipy")


def train_flow(data: Path, weights: Path, curves: Path, parameters: TrainParameters) -> None:
    """Train on `data/frames/train` with the labels that the parameters name.

    Args:
        data: Folder of frames, ground and labels.
        weights: File to write.
        curves: Folder to write the training curves to.
        parameters: What to train and how.

    Raises:
        InputError: There is nothing to train on, a file is missing, or no GPU where one is asked for.
    """
    from models.data.labels import open_logs
    from models.device import choose_device, device_name
    from models.training.fit import fit
    from models.weights import save_weights

    folders = {kind: data / kind / "train" for kind in ("frames", "ground", parameters.labels)}
    logs = open_logs(
        folders["frames"], folders["ground"], folders[parameters.labels], parameters.labels, log_ids(folders["frames"])
    )
    device = choose_device(compute().device)
    history = provenance(logs, parameters, device_name(device))
    checkpoint = compute().store / "checkpoints" / value_digest(history) / "last.ckpt"
    shutil.rmtree(curves, ignore_errors=True)
    network = fit(logs, parameters, device, checkpoint, open_logger(curves))
    save_weights(weights, network, parameters.model, history)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)


def provenance(logs: Sequence[TrainLog], parameters: TrainParameters, device: str) -> Mapping[str, Any]:
    """Everything that determines the weights: parameters, digests of data and code, versions, device."""
    inputs = {
        log.frames.log_id: {
            "frames": log.frames.digest,
            "ground": path_digests(log.ground_path)[""],
            log.kind: path_digests(log.labels.path)[""],
        }
        for log in logs
    }
    return {
        "parameters": dataclasses.asdict(parameters),
        "data": value_digest(inputs),
        "logs": len(logs),
        "code": code_digest("models.training.fit"),
        "packages": package_versions(PACKAGES),
        "device": device,
    }


def open_logger(folder: Path) -> Logger:
    """DVCLive where it is installed, else CSV files; both without dates."""
    try:
        from dvclive.lightning import DVCLiveLogger
    except ImportError:
        from lightning.pytorch.loggers import CSVLogger

        return CSVLogger(folder, name=None, version="")
    return DVCLiveLogger(dir=str(folder), dvcyaml=None, report=None, save_dvc_exp=False)
