# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The real AV2 pair against the labels that AV2 shipped for it, and against published hashes."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.feather as feather
import pytest

from models.data.logfile import LogColumns, LogFrames
from models.geometry import rigid_flow
from stages.labels.ground import GroundParameters, ground_log
from stages.labels.truth import TruthParameters, truth_log
from tests.labels.logs import ingest, real_log
from tests.labels.test_ground import PATCHWORK

pytestmark = pytest.mark.golden

CATEGORY = "273118ca0e2aef62e10311c369a817689e90f0b0ff7c7d3d66ec5537459ba05c"
DYNAMIC = "7edee0642ce73cb8ea88709b2b8073d94faf97cefda2912f53287225993b888c"
VALID = "11894c66d0ef12a6db234d9e5e63a07a158db99f5fe40cc41bb93ba4cd9d286c"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Labels of the first sweep, ours by name and AV2's under `av2/…`."""
    folder = tmp_path_factory.mktemp("pair")
    log = real_log("val", 2)
    if not (log / "flow_labels.feather").exists():
        pytest.skip(f"log {log.name} has no flow_labels.feather to compare with")
    inputs = ingest(log, folder)
    truth_log("log", inputs, {"truth": folder / "truth.h5"}, TruthParameters("official"))
    ground_log("log", inputs, {"ground": folder / "ground.h5"}, GroundParameters("map", "v1", PATCHWORK))
    return {**_ours(folder), **_shipped(log)}


def _ours(folder: Path) -> dict[str, np.ndarray]:
    frames = LogFrames.open(folder / "frames.h5")
    truth = LogColumns.open(folder / "truth.h5", "truth/1", frames)
    ground = LogColumns.open(folder / "ground.h5", "ground/1", frames)
    flow = np.asarray(truth.column("flow")[frames.span(0)])
    rigid = rigid_flow(frames.xyz(0), frames.ego1_SE3_ego0(0))
    return {
        "flow": flow,
        "rigid": rigid,
        "dynamic": np.linalg.norm(flow - rigid, axis=1) >= 0.05,
        "category": np.asarray(truth.column("category")[frames.span(0)]),
        "valid": np.asarray(truth.column("valid")[frames.span(0)]),
        "ground": np.asarray(ground.column("ground_v1")[frames.span(0)]),
        "ground 1": np.asarray(ground.column("ground_v1")[frames.span(1)]),
        "ground v2": np.asarray(ground.column("ground_v2")[frames.span(0)]),
    }


def _shipped(log: Path) -> dict[str, np.ndarray]:
    table = feather.read_table(log / "flow_labels.feather")
    flow = np.stack([table[f"flow_t{axis}_m"].to_numpy() for axis in "xyz"], axis=1)
    names = {"category": "classes", "dynamic": "dynamic", "ground": "is_ground_0"}
    return {"av2/flow": flow, **{f"av2/{k}": table[v].to_numpy(zero_copy_only=False) for k, v in names.items()}}


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.uint8).tobytes()).hexdigest()


def test_classes_and_dynamic_are_identical(pair: dict[str, np.ndarray]) -> None:
    assert np.array_equal(pair["category"], pair["av2/category"])
    assert np.array_equal(pair["dynamic"], pair["av2/dynamic"])
    assert digest(pair["category"]) == CATEGORY
    assert digest(pair["dynamic"]) == DYNAMIC


def test_flow_within_a_millimetre(pair: dict[str, np.ndarray]) -> None:
    # AV2's own poses are single precision kilometres from the origin, which moves every vector by 0.84 mm.
    error = np.linalg.norm(pair["flow"] - pair["av2/flow"], axis=1)
    assert error.max() < 1e-3
    assert np.abs(np.linalg.norm(pair["flow"] - pair["rigid"], axis=1) - 0.05).min() > 1e-4


def test_nine_points_are_invalid(pair: dict[str, np.ndarray]) -> None:
    assert (~pair["valid"]).sum() == 9
    assert digest(pair["valid"]) == VALID


def test_ground_within_two_points(pair: dict[str, np.ndarray]) -> None:
    assert (pair["ground"] != pair["av2/ground"]).sum() <= 2
    assert pair["ground 1"].sum() == pytest.approx(17386, abs=2)
    assert pair["ground v2"].sum() == 18754
