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
    changes: Mapping[str, str]


def _learning(labels: str, loss: str) -> dict[str, str]:
    return {"train.labels": labels, "train.loss": loss}


METHODS = (
    Method("SeFlow", "seflow", "none", {**_learning("clusters", "seflow"), "train.model.kind": "deflow"}),
    Method("DeFlow", "deflow", "boxes", {**_learning("truth", "deflow"), "train.model.kind": "deflow"}),
    Method("FastFlow3D", "fastflow3d", "boxes", {**_learning("truth", "ff3d"), "train.model.kind": "fastflow3d"}),
)
