# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training from open logs to a network, resumable."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from models.data.labels import TrainLog
from models.data.module import PairData
from models.device import prepare
from models.norm import share_statistics
from models.training.callbacks import Checkpoints, Curves, Progress, Signals, diverged
from models.training.compiled import compile_network
from models.training.module import FlowTraining
from models.training.parameters import TrainParameters

THREADS = 2  # a constant: sums in another number of threads differ in the last bits


def fit(
    logs: Sequence[TrainLog],
    parameters: TrainParameters,
    device: str,
    checkpoint: Path,
    logger: Logger | Sequence[Logger] | None,
    workers: int = 0,
    devices: int = 1,
    compiled: bool = False,
    nodes: int = 1,
) -> nn.Module:
    """Train a network.

    Args:
        logs: Logs with the labels that the loss needs.
        parameters: What to train and how.
        device: cpu or cuda.
        checkpoint: Where to keep the state (see `Checkpoints`); training goes on from it where it exists. Its name
            must stand for everything that determines the training.
        logger: Where the curves go.
        workers: Processes that read ahead; 0 reads in between the steps.
        devices: How many devices of a machine share a batch; this process drives one of them.
        compiled: Compile the network for a GPU.
        nodes: How many machines with as many devices share it. With more than one device in all this process is one
            of as many, and the environment tells it which, by the names of torch's launcher.

    Returns:
        The trained network, on the CPU.

    Raises:
        InputError: There is no pair to train on, a sweep cannot be read, or loss or weights are not finite.
    """
    data = _pairs(logs, parameters, device, nodes * devices, workers)
    _same_bits(device)
    prepare(device)
    _quiet()
    seed_everything(parameters.seed, verbose=False)
    module = FlowTraining(parameters)
    if nodes * devices > 1:
        share_statistics(module.network)
    if compiled and device == "cuda":
        compile_network(module.network)
    trainer = Trainer(
        callbacks=[Curves(), Checkpoints(checkpoint), Progress(), Signals()],
        logger=False if logger is None else list(logger) if isinstance(logger, Sequence) else logger,
        max_epochs=parameters.epochs,
        gradient_clip_val=parameters.gradient_clip or None,
        accumulate_grad_batches=parameters.accumulate,
        **_hardware(device, devices, nodes, parameters.accumulate),
    )
    trainer.fit(module, data, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)
    trained = module.trained_network().cpu().eval()
    share_statistics(trained, False)  # the other processes are gone
    if not all(value.isfinite().all() for value in trained.state_dict().values()):
        raise diverged("in its last step: weights are")
    return trained


def _pairs(logs: Sequence[TrainLog], parameters: TrainParameters, device: str, devices: int, workers: int) -> PairData:
    return PairData(
        logs,
        parameters.model.grid(),
        seed=parameters.seed,
        pairs_at_a_time=parameters.pairs_at_a_time(devices),
        held_out=parameters.held_out,
        minimum_dynamic=parameters.seflow.minimum_dynamic,
        augment=parameters.augmentation(),
        workers=workers,
        device=device,
    )


def _same_bits(device: str) -> None:
    if device == "cpu":
        torch.set_num_threads(THREADS)
        os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # else Lightning divides the machine's cores by devices
        torch.use_deterministic_algorithms(True)


def _quiet() -> None:
    """Hints of the framework that are not the user's to act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for text in (
        ".*does not have many workers.*",
        ".*`srun` command is available.*",
        ".*LeafSpec.*",
        ".*lr_scheduler.step.*",
        ".*across ranks is zero.*",  # no pair is held out
        ".*`broadcast_buffers` is deprecated.*",  # its successor is not there in torch 2.11
    ):
        warnings.filterwarnings("ignore", text)


def _hardware(device: str, devices: int, nodes: int, accumulate: int) -> dict[str, Any]:
    several, cuda = nodes * devices > 1, device == "cuda"
    strategy = DDPStrategy(
        process_group_backend="nccl" if cuda else "gloo",
        static_graph=accumulate == 1,  # torch cannot have both
        gradient_as_bucket_view=True,
        broadcast_buffers=False,  # statistics of the norms are of all devices, and so the same in all
    )
    return {
        "accelerator": device if device == "cpu" else "gpu",
        "devices": devices,
        "num_nodes": nodes,
        "strategy": strategy if several else "auto",
        "plugins": None if several else [LightningEnvironment()],  # else variables of a Slurm job count processes
        "use_distributed_sampler": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
