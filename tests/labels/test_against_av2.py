# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated log read by av2's own scene-flow loader, against our truth and ground of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.logfile import LogColumns, LogFrames
from models.geometry import rigid_flow
from stages.labels.ground import GroundParameters, ground_log
from stages.labels.truth import TruthParameters, truth_log
from stages.simulator.log import log_id, simulate_log
from stages.simulator.parameters import LidarParameters, SceneParameters, TrafficParameters
from tests.labels.logs import ingest
from tests.labels.test_ground import PATCHWORK

SWEEPS = 4
SCENE = SceneParameters(
    LidarParameters(azimuth_steps=360, range_m=100.0, noise_m=0.02, dropout=0.05, down_phase_deg=180.0),
    TrafficParameters(
        cars=12,
        trucks=4,
        pedestrians=12,
        cyclists=8,
        standing=3,
        parked_share=0.5,
        radius_m=40.0,
        vanish_share=0.3,
        missed_share=0.1,
    ),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LogFrames, LogColumns, LogColumns]:
    """Root of a simulated data set, its frames, truth and ground."""
    root = tmp_path_factory.mktemp("simulated")
    name = log_id(7, "val", 0)
    raw = root / "simulated" / "sensor" / "val" / name
    raw.parent.mkdir(parents=True)
    simulate_log(name, {}, {"raw": raw}, SCENE, {"seed": 7, "split": "val", "index": 0, "sweeps": SWEEPS})
    inputs = ingest(raw, root / "ours")
    truth, ground = root / "ours" / "truth.h5", root / "ours" / "ground.h5"
    truth_log(name, inputs, {"truth": truth}, TruthParameters("official"))
    ground_log(name, inputs, {"ground": ground}, GroundParameters("map", "v1", PATCHWORK))
    frames = LogFrames.open(root / "ours" / "frames.h5")
    return root, frames, LogColumns.open(truth, "truth/1", frames), LogColumns.open(ground, "ground/1", frames)


@pytest.fixture(scope="module")
def pairs(log: tuple[Path, LogFrames, LogColumns, LogColumns]) -> list[tuple[Any, Any]]:
    """First sweep and flow of each pair, as av2 reads and makes them."""
    module = pytest.importorskip("av2.torch.data_loaders.scene_flow", reason="av2's loader needs kornia 0.8.2")
    loader = module.SceneFlowDataloader(log[0], "simulated", "val")
    assert len(loader) == SWEEPS - 1
    return [(loader[t][0], loader[t][3]) for t in range(SWEEPS - 1)]


def test_the_same_points_classes_and_validity(
    log: tuple[Path, LogFrames, LogColumns, LogColumns], pairs: list[tuple[Any, Any]]
) -> None:
    _, frames, truth, _ = log
    for t, (sweep, flow) in enumerate(pairs):
        rows = frames.span(t)
        assert np.array_equal(sweep.lidar.as_tensor()[:, :3].numpy(), frames.xyz(t).astype(np.float32))
        assert np.array_equal(flow.category_indices.numpy(), truth.column("category")[rows])
        assert np.array_equal(flow.is_valid.numpy(), truth.column("valid")[rows])
    assert len(np.unique(truth.column("category"))) > 9
    assert (~truth.column("valid")[: frames.frame_start[-2]]).sum() > 10


def test_the_same_flow_and_moving_points(
    log: tuple[Path, LogFrames, LogColumns, LogColumns], pairs: list[tuple[Any, Any]]
) -> None:
    _, frames, truth, _ = log
    for t, (_, flow) in enumerate(pairs):
        ours = truth.column("flow")[frames.span(t)]
        # av2's poses are single precision, kilometres from the origin.
        assert np.linalg.norm(flow.flow.numpy() - ours, axis=1).max() < 1e-3
        own = np.linalg.norm(ours - rigid_flow(frames.xyz(t), frames.ego1_SE3_ego0(t)), axis=1)
        clear = np.abs(own - 0.05) > 1e-3
        assert np.array_equal(flow.is_dynamic.numpy()[clear], own[clear] >= 0.05)
        assert (own >= 0.05).sum() > 1000


def test_the_same_ground(log: tuple[Path, LogFrames, LogColumns, LogColumns], pairs: list[tuple[Any, Any]]) -> None:
    _, frames, _, ground = log
    for t, (sweep, _) in enumerate(pairs):
        ours = ground.column("ground_v1")[frames.span(t)]
        assert (sweep.is_ground.numpy() != ours).sum() <= 2
        assert 0.1 < ours.mean() < 0.9
