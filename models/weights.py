# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Weights files: safetensors with the network's description and its history, in one JSON text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from models.architecture import Architecture
from models.errors import InputError
from models.network import PillarFlow, channels_last

SCHEMA = "weights/1"
# What the network's points are in: `ego`, all sweeps in ego frame 1; `sensor`, the convention of published weights
# (models/published/frames.py). Residual flow of a prediction is in the axes of ego frame 1 either way.
Frame = Literal["ego", "sensor"]
_KEY = "sceneflow"  # one key: safetensors does not keep the order of several


def save_weights(
    path: Path, network: nn.Module, architecture: Architecture, training: Mapping[str, Any], frame: Frame = "ego"
) -> None:
    """Write a weights file; the same content gives the same bytes.

    Args:
        path: File to write; it appears complete or not at all.
        network: The network whose state to keep.
        architecture: How to build it again.
        training: How it was trained: parameters and digests of what it was trained on.
        frame: What its points are in.
    """
    description = {"schema": SCHEMA, "frame": frame, "architecture": asdict(architecture), "training": dict(training)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(state, partial, {_KEY: json.dumps(description, sort_keys=True)})
    os.replace(partial, path)


def load_weights(path: Path) -> tuple[PillarFlow, dict[str, Any]]:
    """Build the network of a weights file.

    Args:
        path: File that `save_weights` wrote.

    Returns:
        The network in evaluation mode on the CPU, and the description in the file, whose `frame` says what points it
        wants.

    Raises:
        InputError: The file is missing, damaged, of another schema, or its tensors do not fit its architecture.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the weights file in it, as {path / 'flow.safetensors'}")
    if not path.exists():
        raise InputError(f"weights file {path} does not exist; run train first, or import published weights")
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"weights file {path} is damaged ({error}); run train again, or import it again") from error
    if description.get("schema") != SCHEMA:
        raise InputError(f"weights file {path} has schema {description.get('schema')}, wanted {SCHEMA}")
    if description.get("frame") not in get_args(Frame):
        raise InputError(
            f"weights file {path} wants points in frame {description.get('frame')!r}, known are"
            f" {' and '.join(get_args(Frame))}"
        )
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise InputError(f"weights file {path} holds NaN or infinity in {name}; run train again")
    return _build(path, description.get("architecture"), state), description


def _build(path: Path, architecture: Any, state: Mapping[str, torch.Tensor]) -> PillarFlow:
    try:
        network = Architecture(**{**architecture, "range": tuple(architecture["range"])}).build()
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"weights file {path} names no network of this version ({architecture}: {error})") from error
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"weights file {path} does not fit its architecture: {reason}") from error
    return channels_last(network).eval()
