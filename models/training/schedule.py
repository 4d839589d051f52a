# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules as factors of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleParameters:
    """How the learning rate goes, over shares of the whole training."""

    kind: Literal["constant", "cosine", "step"]
    warmup: float  # share of all steps in which the rate rises from 0
    floor: float  # factor at the end (cosine), or of each drop (step)
    drop: float  # share of all steps after which each drop happens (step only)

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be at least 0 and below 1, got {self.warmup}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {self.floor}")
        if not 0 < self.drop <= 1:
            raise ValueError(f"drop must be above 0 and at most 1, got {self.drop}")


def factor(schedule: ScheduleParameters, step: int, steps: int) -> float:
    """Factor of the learning rate at `step` of `steps`."""
    warm = schedule.warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "step":
        return schedule.floor ** math.floor(step / (schedule.drop * steps) + 1e-9)
    progress = min(1.0, (step - warm) / max(1.0, steps - warm))
    return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * progress))
