# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of SeFlow's training by its published recipe, for any network."""

from typing import Any

from models.architecture import Architecture
from models.data.augment import AugmentParameters
from models.losses.parameters import DeflowParameters, SeflowParameters
from models.training.parameters import TrainParameters
from models.training.schedule import ScheduleParameters


def training_parameters(architecture: Architecture, precision: Any, batch: int) -> TrainParameters:
    return TrainParameters(
        labels="clusters",
        loss="seflow",
        model=architecture,
        seflow=SeflowParameters(1.0, 1.0, 1.0, 0.0, 1.0, 2.0, 256),
        deflow=DeflowParameters(1.0, 1.0, 1.0),
        epochs=1,
        batch=batch,
        accumulate=1,
        precision=precision,
        learning_rate=2e-4,
        weight_decay=0.0,
        schedule=ScheduleParameters("constant", 0.0, 1.0, 1.0),
        gradient_clip=5.0,
        ema=0.0,
        augment=AugmentParameters(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        held_out=0.0,
        seed=42,
    )
