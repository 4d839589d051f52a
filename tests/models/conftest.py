# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters small enough for a test, and logs to go with them."""

from pathlib import Path

import pytest

from models.architecture import Architecture
from models.data.augment import AugmentParameters
from models.losses.parameters import DeflowParameters, SeflowParameters
from models.training.parameters import TrainParameters
from models.training.schedule import ScheduleParameters
from tests.models.synthetic import write_log


@pytest.fixture
def parameters() -> TrainParameters:
    return TrainParameters(
        labels="clusters",
        loss="seflow",
        model=Architecture("deflow", (-16.0, -16.0, -1.0, 16.0, 16.0, 4.0), 1.0, width=8, iterations=2),
        seflow=SeflowParameters(
            chamfer=1.0, dynamic=1.0, static=1.0, static_warmup=0.3, cluster=1.0, cap=2.0, minimum_dynamic=20
        ),
        deflow=DeflowParameters(1.0, 1.0, 1.0),
        epochs=3,
        batch=2,
        accumulate=1,
        precision="fp32",
        learning_rate=0.003,
        weight_decay=0.0,
        schedule=ScheduleParameters("cosine", warmup=0.1, floor=0.1, drop=0.5),
        gradient_clip=5.0,
        ema=0.0,
        augment=AugmentParameters(flip=0.5, rotation=10.0, scale=0.05, height=0.1, reverse=0.3, drop=0.2, jitter=0.01),
        held_out=0.3,
        seed=7,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two logs of four sweeps."""
    folder = tmp_path / "data"
    for number in range(2):
        write_log(folder, "train", f"log{number}", seed=number)
    return folder
