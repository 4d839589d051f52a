# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training as a stage: opens what the labels need, resumes by content, writes weights and curves."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.learning.launch import Task, launch
from stages.learning.ranks import Fit, Run, fit_on_all
from stages.learning.unfinished import checkpoint_of, tell_of_others
from stages.pipeline.code import code_digest, package_versions
from stages.pipeline.compute import compute
from stages.pipeline.digest import path_digests, value_digest
from stages.pipeline.store import Store, link, remove

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from models.data.labels import TrainLog

PACKAGES = ("torch", "lightning", "numpy", "scipy")


def train_flow(data: Path, weights: Path, curves: Path, parameters: TrainParameters) -> None:
    """Train on `data/frames/train` with the labels that the parameters name, on the machines that the settings name.

    Weights and curves stay in the store under the digest of all that determines them, as do checkpoints while
    it runs: the same training is never done twice, and one that was killed goes on where it was.

    Args:
        data: Folder of frames, ground and labels.
        weights: File to write.
        curves: Folder to write the training curves to.
        parameters: What to train and how.

    Raises:
        InputError: There is nothing to train on, a file is missing, no GPU where one is asked for, or one of several
            machines fails.
    """
    # Threads that wait by spinning starve each other where other work shares the cores; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    machine = compute()
    if machine.launcher == "none" and machine.nodes == 1:
        train_here(data, weights, curves, parameters, fit_on_all)
    else:
        launch(Task(data, weights, curves, parameters), machine)


def train_here(data: Path, weights: Path, curves: Path, parameters: TrainParameters, fit: Fit) -> None:
    """What `train_flow` does, with `fit` to train, in the process that writes."""
    from models.device import choose_device, device_name
    from models.weights import save_weights

    machine = compute()
    device = choose_device(machine.device)
    # A CPU is busy with the network itself; for a GPU eight read more than it can use.
    workers = min(8, max(1, machine.workers // machine.devices)) if device == "cuda" else 0
    compiled = machine.compile and device == "cuda" and _can_compile()  # on a CPU the setting changes nothing
    run = Run(data, parameters, device, machine.devices, Path(), workers, compiled, machine.nodes)
    logs = run.logs()
    history = provenance(logs, parameters, device_name(device, machine.nodes * machine.devices), compiled)
    key = value_digest({**history, **_writers()})
    store = Store(machine.store / "train")
    checkpoint = checkpoint_of(store.folder, key)
    with store.in_use(), store.claim(key):
        if store.intact(key):
            sys.stderr.write("train: these weights were trained before, and are in the store\n")
        else:
            workspace = store.workspace(key)
            _drop_damaged(checkpoint)
            tell_of_others(checkpoint, history)
            _tell_of_the_batch(parameters, logs)
            loggers = open_loggers(workspace / "curves", machine.logger, machine.store / "logs", key)
            network = fit(replace(run, checkpoint=checkpoint), loggers, logs)
            save_weights(workspace / weights.name, network, parameters.model, history)
            store.commit(key, workspace)
            remove(checkpoint.parent)
        for target, source in ((weights, store.entry(key) / weights.name), (curves, store.entry(key) / "curves")):
            remove(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(source, target)


def _can_compile() -> bool:
    from models.training.compiled import can_compile

    if not can_compile():
        sys.stderr.write("note: compile is on, but Triton or a host compiler (gcc) is missing: training without\n")
        return False
    return True


def _tell_of_the_batch(parameters: TrainParameters, logs: Sequence[TrainLog]) -> None:
    from models.data.module import split_pairs

    pairs = sum(len(split_pairs(log.pairs(), parameters.held_out, log.sweeps)[0]) for log in logs)
    if parameters.batch > pairs:
        sys.stderr.write(
            f"note: train.batch is {parameters.batch} and there are {pairs} pairs to train on: each epoch is one step\n"
        )


def _drop_damaged(checkpoint: Path) -> None:
    from models.training.checkpoint import is_intact

    if checkpoint.exists() and not is_intact(checkpoint):
        sys.stderr.write(f"warning: {checkpoint} is damaged; training from the start\n")
        remove(checkpoint)


def provenance(
    logs: Sequence[TrainLog], parameters: TrainParameters, device: str, compiled: bool = False
) -> Mapping[str, Any]:
    """Everything that determines the weights: parameters, digests of data and code, versions, device, compiled or not.

    What was not compiled does not say so, as before there was a choice.
    """
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
        **({"compiled": True} if compiled else {}),
    }


def _writers() -> Mapping[str, Any]:
    """What lays out the files of a training beside what determines its weights."""
    logger = "dvclive" if find_spec("dvclive") else "lightning"
    return {"writers": package_versions(("safetensors", logger)), "writing_code": code_digest("stages.learning.train")}


def open_loggers(folder: Path, more: str, live: Path, key: str) -> list[Logger]:
    """The curves' logger, and the one that the machine's settings name beside it, which writes to `live`."""
    loggers = [open_logger(folder)]
    if more == "none":
        return loggers
    if not find_spec(more):
        raise InputError(
            f"compute setting logger is {more}, which is not installed; run `.venv/bin/pip install -e '.[{more}]'`"
        )
    if more == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        return [*loggers, TensorBoardLogger(live, name="tensorboard", version=key[:12])]
    from lightning.pytorch.loggers import WandbLogger

    (live / "wandb").mkdir(parents=True, exist_ok=True)
    return [*loggers, WandbLogger(name=key[:12], save_dir=live / "wandb", project="sceneflow")]


def open_logger(folder: Path) -> Logger:
    """DVCLive where it is installed, else CSV files; both without dates."""
    try:
        from dvclive.lightning import DVCLiveLogger
    except ImportError:
        from lightning.pytorch.loggers import CSVLogger

        return CSVLogger(folder, name=None, version="")
    return DVCLiveLogger(dir=str(folder), dvcyaml=None, report=None, save_dvc_exp=False)
