# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which loss fits which labels, and the weights of the terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Labels = Literal["clusters", "truth", "teacher"]
Loss = Literal["seflow", "seflow++", "deflow", "ff3d", "zeroflow"]

LABELS_OF_LOSS: dict[Loss, tuple[Labels, ...]] = {
    "seflow": ("clusters",),
    "seflow++": ("clusters",),
    "deflow": ("truth", "teacher"),
    "ff3d": ("truth",),
    "zeroflow": ("truth", "teacher"),
}


@dataclass(frozen=True)
class SeflowParameters:
    """Weights of the terms and their limits, of SeFlow and SeFlow++."""

    chamfer: float  # weight of the chamfer distance of whole clouds
    dynamic: float  # weight of the chamfer distance of dynamic points
    static: float  # weight of the length of flow of static points
    static_warmup: float  # share of all steps in which that weight rises from 0
    cluster: float  # weight of the distance to one flow a cluster
    cap: float  # m, pairs farther apart do not count in the chamfer terms
    minimum_dynamic: int  # points; both sweeps need more dynamic points for the dynamic and cluster terms

    def __post_init__(self) -> None:
        for name in ("chamfer", "dynamic", "static", "cluster"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.static_warmup < 1:
            raise ValueError(f"static_warmup must be at least 0 and below 1, got {self.static_warmup}")
        if self.cap <= 0:
            raise ValueError(f"cap must be positive, got {self.cap} m")
        if self.minimum_dynamic < 0:
            raise ValueError(f"minimum_dynamic must not be negative, got {self.minimum_dynamic}")


@dataclass(frozen=True)
class DeflowParameters:
    """Weights of DeFlow's speed buckets."""

    still: float  # below 0.4 m/s
    slow: float  # 0.4 to 1 m/s
    fast: float  # above 1 m/s

    def __post_init__(self) -> None:
        for name in ("still", "slow", "fast"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
