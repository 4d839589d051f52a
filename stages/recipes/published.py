# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The published recipes and one of our own, each as the parameters that differ from params.yaml or that define it.

Batches are those of all four GPUs together. Published code clips the gradient of the sum over a GPU's pairs at norm 5;
here the loss is their mean, so the same clipping is 5 over the pairs of a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float | bool | tuple[float, ...]


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes:
        name: of the command.
        about: what it is, in a line.
        changes: values by dotted name.
        teacher: whether it learns from a teacher that has to be named.
    """

    name: str
    about: str
    changes: Mapping[str, Value]
    teacher: bool = False


_GRID: Mapping[str, Value] = {
    "train.model.range": (-51.2, -51.2, -1.4, 51.2, 51.2, 4.6),
    "train.model.voxel": 0.2,
    "train.model.width": 32,
}
_PLAIN: Mapping[str, Value] = {
    **_GRID,
    "train.accumulate": 1,
    "train.precision": "fp32",
    "train.weight_decay": 0.0,
    "train.schedule.kind": "constant",
    "train.schedule.warmup": 0.0,
    "train.ema": 0.0,
    **{f"train.augment.{name}": 0.0 for name in ("flip", "rotation", "scale", "height", "jitter", "drop", "reverse")},
    "train.held_out": 0.0,
}
_TERMS: Mapping[str, Value] = {
    **{f"train.seflow.{term}": 1.0 for term in ("chamfer", "dynamic", "static", "cluster")},
    "train.seflow.static_warmup": 0.0,
    "train.seflow.cap": 2.0,
    "train.seflow.minimum_dynamic": 256,
}
_HDBSCAN: Mapping[str, Value] = {
    "cluster.min_cluster_size": 20,
    "cluster.epsilon": 0.7,
    "cluster.single_cluster": False,
    "cluster.voxel": 0.0,
}


def _learning(labels: str, loss: str, kind: str, epochs: int, rate: float, batch: int, clip: float) -> dict[str, Value]:
    return {
        **_PLAIN,
        "train.labels": labels,
        "train.loss": loss,
        "train.model.kind": kind,
        "train.epochs": epochs,
        "train.learning_rate": rate,
        "train.batch": batch,
        "train.gradient_clip": clip,
    }


_SEFLOW: Mapping[str, Value] = {
    **_learning("clusters", "seflow", "deflow", 9, 2e-4, 64, 0.3125),
    **_TERMS,
    **_HDBSCAN,
    "train.model.iterations": 2,
    "cluster.recipe": "seflow",
    "cluster.alpha": 1.0,
}

# What learned most from one real sequence of 32 sweeps: metrics/benchmarks/traffic.json, docs/training.md.
_FEW_LOGS: Mapping[str, Value] = {
    **_PLAIN,
    **_TERMS,
    "train.labels": "clusters",
    "train.loss": "seflow",
    "train.model.kind": "deflow",
    "train.model.iterations": 2,
    "train.epochs": 250,
    "train.batch": 8,
    "train.precision": "bf16",
    "train.learning_rate": 1e-3,
    "train.schedule.kind": "cosine",
    "train.schedule.warmup": 0.1,
    "train.schedule.floor": 0.02,
    "train.gradient_clip": 1.0,
    "train.seflow.dynamic": 3.0,
    "train.seflow.cluster": 0.3,
    "train.seflow.static_warmup": 0.3,
    "train.seflow.minimum_dynamic": 64,
    "train.augment.flip": 0.5,
    "train.augment.rotation": 20.0,
    "train.augment.reverse": 0.5,
    "train.augment.drop": 0.5,
    "cluster.recipe": "seflow++",
    "cluster.min_cluster_size": 20,
    "cluster.epsilon": 0.7,
    "cluster.alpha": 1.0,
    "cluster.single_cluster": True,
    "cluster.voxel": 0.1,
}

RECIPES = (
    Recipe("few-logs", "our own for one to a few dozen real logs: SeFlow with labels of whole objects", _FEW_LOGS),
    Recipe("seflow", "SeFlow, its best published weights: 9 epochs at 2e-4", _SEFLOW),
    Recipe(
        "seflow-paper",
        "SeFlow as in the paper: 50 epochs at 2e-6, batch 20",
        {**_SEFLOW, "train.epochs": 50, "train.learning_rate": 2e-6, "train.batch": 20, "train.gradient_clip": 1.0},
    ),
    Recipe(
        "seflow-24gb",
        "SeFlow for one GPU of 24 GB: its batch of 64 in four parts, bf16",
        {**_SEFLOW, "train.accumulate": 4, "train.precision": "bf16"},
    ),
    Recipe(
        "seflow++",
        "SeFlow++: DeFlow++ of three sweeps, labels by votes over whole clouds",
        {
            **_learning("clusters", "seflow++", "deflowpp", 9, 2e-4, 16, 1.25),
            **_TERMS,
            **_HDBSCAN,
            "train.model.iterations": 2,
            "train.schedule.kind": "step",
            "train.schedule.floor": 0.1,
            "train.schedule.drop": 0.333333,
            "cluster.recipe": "seflow++",
            "cluster.alpha": 1.1,
        },
    ),
    Recipe(
        "deflow",
        "DeFlow, supervised: 15 epochs at 2e-4, 4 iterations",
        {**_learning("truth", "deflow", "deflow", 15, 2e-4, 64, 0.3125), "train.model.iterations": 4},
    ),
    Recipe(
        "fastflow3d",
        "FastFlow3D, supervised: 20 epochs at 4e-5",
        _learning("truth", "ff3d", "fastflow3d", 20, 4e-5, 64, 0.3125),
    ),
    Recipe(
        "zeroflow",
        "ZeroFlow: FastFlow3D from a teacher's flow, with FastFlow3D's optimiser; needs --teacher",
        _learning("teacher", "zeroflow", "fastflow3d", 20, 4e-5, 64, 0.3125),
        teacher=True,
    ),
)
