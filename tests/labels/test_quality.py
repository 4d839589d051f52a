# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.logfile import LogFrames
from stages.frames.write import write_columns
from stages.labels.quality import Counts, QualityParameters, count_table, quality_log, summary
from stages.labels.truth import TruthParameters, truth_log
from tests.labels.logs import box_row, write_boxes, write_frames

PARAMETERS = QualityParameters(moving_speed=0.5, purity=0.9)


@pytest.fixture
def log(tmp_path: Path) -> dict[str, Path | None]:
    """Two sweeps of six points; a box with the first three moves 0.2 m (2 m/s), the fifth is too far."""
    points = np.array([[10.0, 0, 0], [10.1, 0, 0], [10.2, 0, 0], [20, 0, 0], [60, 0, 0], [25, 0, 0]])
    frames = write_frames(tmp_path / "frames.h5", [points, points])
    boxes = write_boxes(tmp_path / "boxes.parquet", [box_row(t, "a", (10.0 + 0.2 * t, 0, 0)) for t in (0, 1)])
    made_from = {"frames_digest": frames.digest}
    dynamic = np.array([1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0], np.bool_)
    label = np.array([2, 2, 0, 2, 1, 3, 0, 2, 3, 0, 0, 0], np.int16)
    ground = np.arange(12) == 5
    inputs: dict[str, Path | None] = {kind: tmp_path / f"{kind}.h5" for kind in ("ground", "dynamic", "clusters")}
    write_columns(inputs["ground"], "ground/1", {"ground": ground}, made_from)
    ranges = {"min_range": 2.0, "max_range": 50.0}
    write_columns(inputs["dynamic"], "dynamic/1", {"dynamic": dynamic}, {**made_from, **ranges})
    write_columns(inputs["clusters"], "clusters/1", {"label": label}, made_from)
    inputs["frames"] = frames.path
    truth_log(
        "log", {"frames": frames.path, "boxes": boxes}, {"truth": tmp_path / "truth.h5"}, TruthParameters("official")
    )
    return {**inputs, "truth": tmp_path / "truth.h5"}


def counts(log: dict[str, Path | None], folder: Path, parameters: QualityParameters = PARAMETERS) -> dict[str, int]:
    quality_log("log", log, {"quality": folder / "row.parquet"}, parameters)
    return pl.read_parquet(folder / "row.parquet").row(0, named=True)


def test_counts_by_hand(log: dict[str, Path | None], tmp_path: Path) -> None:
    assert counts(log, tmp_path) == {
        "log_id": "log",
        "frames": 2,
        "points": 12,
        "dynamic": 7,
        "clustered": 6,
        "clusters": 4,
        # The first sweep without its far point and its ground point; the last sweep has no truth.
        "scored": 4,
        "scored_dynamic": 3,
        "moving": 3,
        "moving_dynamic": 2,
        "moving_clustered": 2,
        "scored_clusters": 1,  # cluster 3 lies on ground alone
        "pure_clusters": 0,  # two of its three points are in the box
    }


def test_purity_and_speed_are_parameters(log: dict[str, Path | None], tmp_path: Path) -> None:
    assert counts(log, tmp_path, QualityParameters(0.5, 0.66))["pure_clusters"] == 1
    assert counts(log, tmp_path, QualityParameters(2.1, 0.9))["moving"] == 0


def test_without_truth_the_keys_that_need_it_are_left_out(log: dict[str, Path | None], tmp_path: Path) -> None:
    row = counts({**log, "truth": None}, tmp_path)
    assert (row["points"], row["scored"]) == (12, 0)
    metrics = summary(pl.read_parquet(tmp_path / "row.parquet").to_dict(as_series=False))
    assert sorted(metrics) == ["clustered_share", "clusters_per_frame", "dynamic_share", "frames", "logs"]


def test_summary_pools_points_of_all_logs() -> None:
    first = Counts(frames=2, points=100, dynamic=10, clustered=5, clusters=2, scored=80, scored_dynamic=8, moving=4)
    second = Counts(frames=1, points=300, scored=20, scored_dynamic=2, moving=6, moving_dynamic=1, moving_clustered=1)
    metrics = summary(count_table(["a", "b"], [first, second]).to_dict(as_series=False))
    assert metrics == {
        "logs": 2,
        "frames": 3,
        "dynamic_share": 0.025,
        "clustered_share": 0.5,
        "clusters_per_frame": 0.666667,
        "moving_share": 0.1,
        "precision": 0.1,
        "recall": 0.1,
        "recall_clustered": 0.1,
    }


def test_an_empty_split_has_a_summary_and_a_table_with_all_columns() -> None:
    table = count_table([], [])
    assert table.columns[:3] == ["log_id", "frames", "points"]
    assert summary(table.to_dict(as_series=False)) == {"logs": 0, "frames": 0}


def test_metric_file_has_plain_numbers(log: dict[str, Path | None], tmp_path: Path) -> None:
    counts(log, tmp_path)
    metrics = summary(pl.read_parquet(tmp_path / "row.parquet").to_dict(as_series=False))
    assert json.loads(json.dumps(metrics)) == metrics
    assert metrics["precision"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_track_that_stops_is_not_moving(tmp_path: Path, log: dict[str, Path | None]) -> None:
    frames = LogFrames.open(log["frames"])
    boxes = write_boxes(tmp_path / "b.parquet", [box_row(t, "a", (10.0, 0, 0)) for t in (0, 1)])
    truth_log("log", {"frames": frames.path, "boxes": boxes}, {"truth": tmp_path / "t.h5"}, TruthParameters("official"))
    assert counts({**log, "truth": tmp_path / "t.h5"}, tmp_path)["moving"] == 0


@pytest.mark.parametrize(("change", "name"), [({"moving_speed": 0.0}, "moving_speed"), ({"purity": 0.5}, "purity")])
def test_senseless_parameters_are_refused_by_name(change: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        QualityParameters(**{**vars(PARAMETERS), **change})
