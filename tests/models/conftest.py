# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters small enough for a test, and logs to go with them."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from models.architecture import Architecture
from models.data.augment import AugmentParameters
from models.losses.parameters import DeflowParameters, SeflowParameters
from models.training.parameters import TrainParameters
from models.training.schedule import ScheduleParameters
from stages.learning.train import train_flow
from stages.pipeline.code import ROOT
from tests.models.synthetic import write_log


@pytest.fixture
def parameters() -> TrainParameters:
    return small_parameters()


def small_parameters() -> TrainParameters:
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
    return write_logs(tmp_path / "data")


def write_logs(folder: Path) -> Path:
    for number in range(2):
        write_log(folder, "train", f"log{number}", seed=number)
    return folder


@dataclass(frozen=True)
class Trained:
    """A training that was done, in `out` from `data`, with the store `scratch` beside them."""

    folder: Path
    parameters: TrainParameters

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"


@pytest.fixture(scope="session")
def by_two_devices(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """On two devices, which are two processes on the CPU."""
    parameters = replace(small_parameters(), batch=4, epochs=4, held_out=0.0)
    trained = Trained(tmp_path_factory.mktemp("two"), parameters)
    settings = {"STORE": str(trained.folder / "scratch"), "DEVICE": "cpu", "DEVICES": "2"}
    with pytest.MonkeyPatch.context() as machine:
        machine.setenv("PYTHONPATH", str(ROOT))
        for name, value in settings.items():
            machine.setenv(f"SCENEFLOW_{name}", value)
        train_flow(write_logs(trained.data), trained.out / "flow.safetensors", trained.out / "curves", parameters)
    return trained
