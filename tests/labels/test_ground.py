# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogColumns, LogFrames
from stages.frames.write import write_columns
from stages.labels.ground import GroundParameters, ground_log, patchwork_ground
from stages.labels.patchwork import PatchworkParameters
from tests.labels.logs import ingest, real_log, write_frames

PATCHWORK = PatchworkParameters(
    axle_height=0.33, min_range=2.0, max_range=80.0, seed_distance=0.125, ground_distance=0.125, uprightness=0.707
)
MAP = GroundParameters("map", "v1", PATCHWORK)


@pytest.fixture
def log(tmp_path: Path) -> dict[str, Path | None]:
    """Two sweeps, the second from 1 m further along x, over a raster whose ground steps up by 1 m at x = 10."""
    poses = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    poses[1, 0, 3] = 1.0
    sweep = np.array([[9.5, 5.0, 0.35], [8.5, 5.0, 0.25], [-20.0, 5.0, 0.0]])
    write_frames(tmp_path / "frames.h5", [sweep, sweep], poses)
    height = np.zeros((20, 20), np.float16)
    height[:, 10:] = 1.0
    columns = {"height": height, "array_R_city": np.eye(2), "array_t_city": np.zeros(2)}
    write_columns(tmp_path / "maps.h5", "map/1", columns, {"array_s_city": 1.0})
    return {"frames": tmp_path / "frames.h5", "maps": tmp_path / "maps.h5"}


def masks(inputs: dict[str, Path | None], folder: Path, parameters: GroundParameters) -> tuple[LogColumns, LogFrames]:
    ground_log("log", inputs, {"ground": folder / "ground.h5"}, parameters)
    frames = LogFrames.open(inputs["frames"])
    return LogColumns.open(folder / "ground.h5", "ground/1", frames), frames


def test_both_variants_by_hand(log: dict[str, Path | None], tmp_path: Path) -> None:
    ground, _ = masks(log, tmp_path, MAP)
    # Sweep 0: 9.5 truncates to cell 9 (0 m) and rounds to cell 10 (1 m); 8.5 truncates and rounds to cell 8.
    # Sweep 1: in the city the points lie at 10.5 (cell 10, both) and 9.5.
    assert ground.column("ground_v1").tolist() == [False, True, False, True, True, False]
    assert ground.column("ground_v2").tolist() == [True, True, False, True, True, False]
    assert ground.column("ground").tolist() == ground.column("ground_v1").tolist()
    assert ground.attributes["rule"] == "map_v1"


def test_variant_chooses_the_mask_of_training(log: dict[str, Path | None], tmp_path: Path) -> None:
    ground, _ = masks(log, tmp_path, GroundParameters("map", "v2", PATCHWORK))
    assert ground.column("ground").tolist() == ground.column("ground_v2").tolist()
    assert ground.attributes["rule"] == "map_v2"


def plane_and_wall(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A road 0.33 m under the ego origin, and a wall on it; which points are the road."""
    road = np.stack([*rng.uniform(-30, 30, (2, 20000)), np.full(20000, -0.33)], axis=1)
    road += rng.normal(0, 0.01, road.shape)
    wall = np.stack([rng.uniform(-10, 10, 3000), np.full(3000, 8.0), rng.uniform(0.3, 3, 3000)], axis=1)
    return np.concatenate([road, wall]), np.arange(23000) < 20000


def test_a_log_without_a_map_is_made_by_patchwork(tmp_path: Path) -> None:
    points, road = plane_and_wall(np.random.default_rng(0))
    write_frames(tmp_path / "frames.h5", [points, points[::2]], up=(1.35, 0.0, 1.64))
    ground, frames = masks({"frames": tmp_path / "frames.h5", "maps": None}, tmp_path, MAP)
    assert ground.names == ["ground"] and ground.attributes["rule"] == "patchwork++"
    near = np.linalg.norm(points[:, :2], axis=1) < 20
    found = ground.column("ground")[frames.span(0)]
    assert found[road & near].mean() > 0.95
    assert not found[~road].any()


def test_patchwork_is_deterministic_silent_and_takes_small_sweeps(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    points, _ = plane_and_wall(np.random.default_rng(1))
    frames = write_frames(tmp_path / "f.h5", [points, points[:0], points[:1], points], up=(0.0, 0.0, 1.64))
    first, second = (patchwork_ground(frames, PATCHWORK) for _ in range(2))
    assert np.array_equal(first, second)
    assert capfd.readouterr() == ("", "")


def test_patchwork_for_every_log_still_stores_the_map_masks(log: dict[str, Path | None], tmp_path: Path) -> None:
    ground, _ = masks(log, tmp_path, GroundParameters("patchwork", "v1", PATCHWORK))
    assert ground.names == ["ground", "ground_v1", "ground_v2"]
    assert ground.attributes["rule"] == "patchwork++"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"min_range": -1.0}, "min_range"),
        ({"max_range": 1.0}, "min_range"),
        ({"uprightness": 1.0}, "uprightness"),
        ({"ground_distance": 0.0}, "ground_distance"),
        ({"seed_distance": -0.1}, "seed_distance"),
    ],
)
def test_senseless_parameters_are_refused_by_name(change: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        PatchworkParameters(**{**vars(PATCHWORK), **change})


def test_patchwork_agrees_with_the_map_on_the_real_pair(tmp_path: Path) -> None:
    ground, frames = masks(
        ingest(real_log("val", 2), tmp_path), tmp_path, GroundParameters("patchwork", "v1", PATCHWORK)
    )
    points = np.concatenate([frames.xyz(t) for t in range(frames.num_frames)]).astype(np.float64)
    near = np.linalg.norm(points[:, :2], axis=1) < 50
    by_map, found = ground.column("ground_v1")[near], ground.column("ground")[near]
    assert (by_map & found).sum() / by_map.sum() > 0.8  # found 0.87 within 50 m
    assert (by_map & found).sum() / found.sum() > 0.85  # found 0.93
