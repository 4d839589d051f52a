# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small simulated logs that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.simulator.log import log_id, simulate_log
from stages.simulator.parameters import LidarParameters, SceneParameters, TrafficParameters

SEED = 11
SWEEPS = 4


def scene_parameters(noise_m: float = 0.02, steps: int = 240) -> SceneParameters:
    lidar = LidarParameters(azimuth_steps=steps, range_m=100.0, noise_m=noise_m, dropout=0.03, down_phase_deg=0.0)
    traffic = TrafficParameters(
        cars=8,
        trucks=3,
        pedestrians=10,
        cyclists=6,
        standing=2,
        parked_share=0.5,
        radius_m=28.0,
        vanish_share=0.2,
        missed_share=0.02,
    )
    return SceneParameters(lidar, traffic)


def write_log(root: Path, split: str, index: int, seed: int = SEED, sweeps: int = SWEEPS) -> Path:
    """Simulate one small log as `root/av2/sensor/<split>/<log>`."""
    name = log_id(seed, split, index)
    folder = root / "av2" / "sensor" / split / name
    arguments: dict[str, str | int | float] = {"seed": seed, "split": split, "index": index, "sweeps": sweeps}
    simulate_log(name, {}, {"raw": folder}, scene_parameters(), arguments)
    return folder


@pytest.fixture(scope="session")
def val_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("val"), "val", 1)


@pytest.fixture(scope="session")
def test_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("test"), "test", 0)
