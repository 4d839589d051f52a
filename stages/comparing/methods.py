# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which methods are compared, each as a few changed parameters of the current ones.

The supervised methods do not learn the default data by their published losses. In the first hundred steps flow still
points anywhere, and shortening it lowers the error of every point, most of all of the many still ones. The narrow
network does so by driving the hidden layer of its head below zero, where GELU passes no gradient, and all flow stays
zero. Share of positive activations there on the default data at the default rate: DeFlow's loss 0.09 after 66 steps
and 0.000 after 132, FastFlow3D's 0.12 and 0.000; at a quarter of the rate the same, later. With still and slow points
weighing a tenth DeFlow learns (0.32 after 330 steps; error of fast points halved). FastFlow3D, whose head has no
bounded state before that layer, needs the low rate too.
"""

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


_BOXES: Mapping[str, str | float] = {
    "train.labels": "truth",
    "train.loss": "deflow",
    "train.deflow.still": 0.1,
    "train.deflow.slow": 0.1,
}

METHODS = (
    Method(
        "SeFlow",
        "seflow",
        "none",
        {"train.labels": "clusters", "train.loss": "seflow", "train.model.kind": "deflow"},
    ),
    Method("DeFlow", "deflow", "boxes", {**_BOXES, "train.model.kind": "deflow"}),
    Method(
        "FastFlow3D",
        "fastflow3d",
        "boxes",
        {**_BOXES, "train.model.kind": "fastflow3d", "train.learning_rate": 0.0005},
    ),
)
