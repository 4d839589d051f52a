# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The published checkpoints' layout: state under `model.`, how to build the network under `hyper_parameters`.

OpenSceneFlow writes DeFlow, SeFlow, SeFlow++ (DeFlow++), FastFlow3D and ZeroFlow (FastFlow3D's names) so; networks and
names are those of this project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.architecture import Architecture, Kind
from models.errors import InputError
from models.published.unpickle import Checkpoint, StoredTensor, plain

PREFIX = "model."
_EMBEDDER = "embedder.feature_net.pfn_layers.0.0.weight"  # (width, 9)
_OFFSET = "head.offset_encoder.weight"  # (C, 3): 2 width for DeFlow, 3 width for DeFlow++, 4 width for the linear head
_GRU = "head.gru.convz.weight"
_TARGETS: dict[Kind, str] = {
    "deflow": "src.models.DeFlow",
    "fastflow3d": "src.models.FastFlow3D",
    "deflowpp": "src.models.DeFlowPP",
}

Range = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Known:
    """What the user says of a checkpoint that does not say it itself; None where the checkpoint is to say it."""

    range: Range | None = None  # m
    voxel: float | None = None  # m
    iterations: int | None = None


@dataclass(frozen=True)
class Published:
    """A published network: its state by our names, how to build it, and what the checkpoint tells of its training."""

    state: dict[str, Tensor]
    architecture: Architecture
    told: dict[str, Any]


def read_published(path: Path, known: Known) -> Published:
    """Read a checkpoint.

    Args:
        path: A `.ckpt` file.
        known: What goes before the checkpoint's own words.

    Raises:
        InputError: The file is refused or damaged, its network is none of ours, a tensor has another name, shape or
            type, or neither the checkpoint nor `known` tells the grid.
    """
    checkpoint = Checkpoint(path)
    stored = _stored(checkpoint)
    config = _config(checkpoint)
    architecture = _architecture(path, stored, config, known)
    _require_same_tensors(path, stored, architecture)
    state = {name: checkpoint.tensor(tensor) for name, tensor in stored.items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise InputError(f"checkpoint {path} holds NaN or infinity in {name}; fetch it again")
    told = {key: value for key in ("epoch", "global_step") if isinstance(value := checkpoint.content.get(key), int)}
    return Published(state, architecture, told)


def _stored(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    content = checkpoint.content
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise InputError(f"checkpoint {checkpoint.path} holds no state_dict, as Lightning writes it")
    wrong = sorted(str(name) for name in state if not str(name).startswith(PREFIX))
    if wrong:
        raise InputError(f"checkpoint {checkpoint.path} has a tensor {wrong[0]}, wanted names that begin with {PREFIX}")
    for name, value in state.items():
        if not isinstance(value, StoredTensor):
            raise InputError(f"checkpoint {checkpoint.path} holds {type(value).__name__} and no tensor under {name}")
    return {str(name).removeprefix(PREFIX): tensor for name, tensor in state.items()}


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The resolved configuration in the checkpoint; empty where it has none."""
    hyper = plain(checkpoint.content.get("hyper_parameters"))
    config = hyper.get("cfg", hyper) if isinstance(hyper, dict) else {}
    return config if isinstance(config, dict) else {}


def _architecture(
    path: Path, stored: Mapping[str, StoredTensor], config: Mapping[str, Any], known: Known
) -> Architecture:
    for name in (_EMBEDDER, _OFFSET):
        if name not in stored or len(stored[name].shape) != 2:
            raise InputError(f"checkpoint {path} is of another network: it has no {name}; known are {_names()}")
    width, encoded = stored[_EMBEDDER].shape[0], stored[_OFFSET].shape[0]
    kinds: dict[tuple[bool, int], Kind] = {
        (True, 2 * width): "deflow",
        (True, 3 * width): "deflowpp",
        (False, 4 * width): "fastflow3d",
    }
    kind = kinds.get((_GRU in stored, encoded))
    if kind is None:
        raise InputError(f"checkpoint {path} is of another network: its head has {encoded} channels; known: {_names()}")
    iterations = known.iterations or _told(config, "num_iters")
    if iterations is None and kind != "fastflow3d":
        raise InputError(f"checkpoint {path} does not tell the GRU's iterations; give --iterations (published: 2 or 4)")
    box, voxel = known.range or _told(config, "point_cloud_range"), known.voxel or _told(config, "voxel_size")
    if box is None or voxel is None:
        raise InputError(
            f"checkpoint {path} does not tell its grid; give --range and --voxel"
            " (published: --range -51.2 -51.2 -3 51.2 51.2 3 --voxel 0.2)"
        )
    try:
        return Architecture(kind, _box(box), _side(voxel, _box(box)), width, int(iterations or 1))
    except (TypeError, ValueError) as error:
        raise InputError(f"checkpoint {path} tells a network that cannot be built: {error}") from error


def _names() -> str:
    return ", ".join(_TARGETS)


def _told(config: Mapping[str, Any], name: str) -> Any:
    """A value of the network's own part of the configuration, else of the whole; interpolations followed."""
    model = config.get("model")
    target = model.get("target") if isinstance(model, dict) else None
    for part in (target, model, config):
        if isinstance(part, dict) and part.get(name) is not None:
            return _follow(config, part[name])
    return None


def _follow(config: Mapping[str, Any], value: Any) -> Any:
    """The value that `${a.b}` names, one step deep, as these configurations use it."""
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if match is None:
        return value
    found: Any = config
    for key in match[1].split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _box(values: Any) -> Range:
    x0, y0, z0, x1, y1, z1 = (float(value) for value in values)
    return x0, y0, z0, x1, y1, z1


def _side(voxel: Any, box: Range) -> float:
    """Side of a square pillar of the full height; published configurations give the three sides."""
    if isinstance(voxel, int | float):
        return float(voxel)
    x, y, z = (float(side) for side in voxel)
    if x != y or round((box[5] - box[2]) / z) != 1:
        raise ValueError(f"voxel_size {[x, y, z]} m makes no square pillars of the full height {box[5] - box[2]} m")
    return x


def _require_same_tensors(path: Path, stored: Mapping[str, StoredTensor], architecture: Architecture) -> None:
    """Names, shapes and types must be exactly the network's."""
    with torch.device("meta"):
        wanted = architecture.build().state_dict()
    missing, foreign = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if missing:
        raise InputError(f"checkpoint {path} lacks {missing[0]} of {architecture.kind}")
    if foreign:
        raise InputError(f"checkpoint {path} holds {foreign[0]}, which {architecture.kind} has not")
    for name, tensor in wanted.items():
        shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        if (stored[name].shape, stored[name].dtype) != (shape, dtype):
            raise InputError(
                f"checkpoint {path} holds {name} as {stored[name].dtype} {stored[name].shape}, wanted {dtype} {shape}"
            )


def published_checkpoint(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Any]:
    """A checkpoint in the published layout, of plain values that `torch.load(weights_only=True)` takes.

    Args:
        state: The network's state, for points in the sensor frame.
        architecture: The network, its range in the sensor frame.
    """
    box, grid = list(architecture.range), architecture.grid()
    target: dict[str, Any] = {
        "_target_": _TARGETS[architecture.kind],
        "voxel_size": list(grid.size),
        "point_cloud_range": box,
        "grid_feature_size": [grid.columns, grid.rows],
    }
    if architecture.kind != "fastflow3d":
        target["num_iters"] = architecture.iterations
    config = {
        "output": architecture.kind,
        "model": {"name": architecture.kind, "target": target},
        "voxel_size": list(grid.size),
        "point_cloud_range": box,
        "num_frames": architecture.sweeps,
    }
    return {
        "state_dict": {f"{PREFIX}{name}": tensor for name, tensor in state.items()},
        "hyper_parameters": {"cfg": config, "eval": False},
        "epoch": 0,
        "global_step": 0,
    }
