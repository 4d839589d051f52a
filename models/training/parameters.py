# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What training is asked for: the section `train` of the parameter file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.architecture import Architecture, Precision
from models.data.augment import AugmentParameters
from models.errors import InputError
from models.losses.parameters import LABELS_OF_LOSS, DeflowParameters, Labels, Loss, SeflowParameters
from models.training.schedule import ScheduleParameters


@dataclass(frozen=True)
class TrainParameters:
    """Labels, loss, network and optimisation."""

    labels: Labels
    loss: Loss
    model: Architecture
    seflow: SeflowParameters
    deflow: DeflowParameters
    epochs: int
    batch: int
    accumulate: int
    precision: Precision
    learning_rate: float
    weight_decay: float
    schedule: ScheduleParameters
    gradient_clip: float
    ema: float
    augment: AugmentParameters
    held_out: float
    seed: int

    def __post_init__(self) -> None:
        fits = LABELS_OF_LOSS[self.loss]
        if self.labels not in fits:
            raise ValueError(f"loss {self.loss} needs labels {' or '.join(fits)}, but labels is {self.labels}")
        for name in ("epochs", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate must divide the batch of {self.batch} pairs, got {self.accumulate}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for name in ("weight_decay", "gradient_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be at least 0 and below 2**32, got {self.seed}")
        for name in ("ema", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")

    @property
    def sweeps(self) -> int:
        """How many sweeps a sample holds: three for DeFlow++ and for the loss seflow++."""
        return 3 if self.loss == "seflow++" else self.model.sweeps

    def pairs_at_a_time(self, devices: int) -> int:
        """Pairs of the batch that one of several devices computes at a time; InputError where it cannot be divided."""
        parts = self.accumulate * devices
        if self.batch % parts:
            each = f", in {self.accumulate} parts each (train.accumulate)" if self.accumulate > 1 else ""
            raise InputError(
                f"train.batch {self.batch} cannot be divided among {devices} devices{each};"
                f" make it a multiple of {parts}, or use another number of devices"
            )
        return self.batch // parts

    def augmentation(self) -> AugmentParameters:
        """What augmentation the labels allow: truth and teachers have flow one way only, so nothing is reversed."""
        return self.augment if self.labels == "clusters" else replace(self.augment, reverse=0.0)
