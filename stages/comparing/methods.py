# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which methods are compared, each as a few changed parameters of the current ones."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes:
        name: as its paper calls it.
        slug: the same for names of experiments.
        labels: what it learns from, in words.
        changes: parameters that differ from params.yaml, by dotted name.
    """

    name: str
    slug: str
    labels: str
    changes: Mapping[str, str | float]


def _learning(labels: str, loss: str) -> dict[str, str | float]:
    return {"train.labels": labels, "train.loss": loss}


# The published weights are equal. On 132 pairs for twelve epochs the term of the still points, which is the easiest to
# lower, then pushes the few hidden channels of the narrow head below zero within two epochs, where GELU passes no
# gradient: all flow stays zero (share of positive activations 0.35 at the start, 0.000 after 132 steps).
_MOVING_FIRST: dict[str, str | float] = {"train.deflow.still": 0.1, "train.deflow.slow": 0.1}

METHODS = (
    Method("SeFlow", "seflow", "none", {**_learning("clusters", "seflow"), "train.model.kind": "deflow"}),
    Method(
        "DeFlow", "deflow", "boxes", {**_learning("truth", "deflow"), "train.model.kind": "deflow", **_MOVING_FIRST}
    ),
    Method(
        "FastFlow3D",
        "fastflow3d",
        "boxes",
        {**_learning("truth", "deflow"), "train.model.kind": "fastflow3d", **_MOVING_FIRST},
    ),
)
