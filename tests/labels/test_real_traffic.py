# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Self-supervised labels of a real log of moving traffic against its boxes."""

from pathlib import Path

import polars as pl

from stages.labels.cluster import ClusterParameters, cluster_log
from stages.labels.dynamic import DynamicParameters, dynamic_log
from stages.labels.ground import GroundParameters, ground_log
from stages.labels.quality import QualityParameters, quality_log, summary
from stages.labels.truth import TruthParameters, truth_log
from stages.pipeline.parameters import read_parameters
from tests.labels.logs import ingest, real_log

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_labels_agree_with_the_boxes(tmp_path: Path) -> None:
    inputs = ingest(real_log("train", min_sweeps=20), tmp_path)
    steps = [
        ("ground", "ground", ground_log, GroundParameters),
        ("truth", "truth", truth_log, TruthParameters),
        ("dynamic", "dynamic", dynamic_log, DynamicParameters),
        ("cluster", "clusters", cluster_log, ClusterParameters),
        ("quality", "quality", quality_log, QualityParameters),
    ]
    for section, kind, function, parameters in steps:
        inputs[kind] = tmp_path / f"{kind}.out"
        function("log", inputs, {kind: inputs[kind]}, read_parameters(section, parameters, PARAMS))
    metrics = summary(pl.read_parquet(inputs["quality"]).to_dict(as_series=False))
    assert metrics["precision"] > 0.9, metrics
    assert metrics["recall"] > 0.8, metrics
    assert metrics["clustered_share"] > 0.9 and metrics["pure_clusters"] > 0.8, metrics
    assert 0.01 < metrics["dynamic_share"] < 0.2, metrics
