# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints into weights files, and back."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from models.architecture import Architecture
from models.errors import InputError
from models.network import channels_last
from models.published.frames import to_sensor_frame
from models.published.layout import Known, published_checkpoint, read_published
from models.weights import Frame, load_weights, save_weights


def import_checkpoint(source: Path, target: Path, known: Known, frame: Frame) -> str:
    """Write a published checkpoint as a weights file.

    Args:
        source: `.ckpt` file; nothing in it is run.
        target: Weights file to write.
        known: What the checkpoint does not tell, see `read_published`.
        frame: What its points were in.

    Returns:
        What was read, in a line.

    Raises:
        InputError: The checkpoint is refused, see `read_published`; nothing is written.
    """
    if target.suffix != ".safetensors":
        raise InputError(f"weights file {target} must end in .safetensors")
    published = read_published(source, known)
    network = published.architecture.build()
    network.load_state_dict(published.state, strict=True)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    history = {"imported": {"digest": digest, "file": source.name, **published.told}}
    save_weights(target, channels_last(network), published.architecture, history, frame)
    return f"{_summary(published.architecture)}, points in the {frame} frame"


def export_checkpoint(source: Path, target: Path, mount: tuple[float, float, float]) -> str:
    """Write a weights file in the published layout; such a checkpoint holds no class and needs no trust.

    Weights of the ego frame are shifted to a lidar at `mount` (m, ego frame), which the published code feeds; that the
    code moves the lidar's points by the vehicle's motion remains its own.
    """
    network, description = load_weights(source)
    architecture, state = _architecture(description), network.state_dict()
    if description["frame"] == "ego":
        state, architecture = to_sensor_frame(state, architecture, mount)
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    torch.save(published_checkpoint(state, architecture), partial)
    os.replace(partial, target)
    return f"{_summary(architecture)}, points in the sensor frame"


def _architecture(description: dict) -> Architecture:  # type: ignore[type-arg]  # parsed JSON
    told = description["architecture"]
    return Architecture(**{**told, "range": tuple(told["range"])})


def _summary(architecture: Architecture) -> str:
    grid = architecture.grid()
    turns = "" if architecture.kind == "fastflow3d" else f" with {architecture.iterations} iterations"
    size = f"{grid.columns} x {grid.rows} pillars of {architecture.voxel} m"
    return f"{architecture.kind}{turns}, {architecture.width} channels, {size}"
