# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Clusters of dynamic points, fused into the labels that self-supervised training reads."""

from pathlib import Path

from stages.labels.cluster import ClusterParameters, cluster_log
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = ClusterParameters


def main(split: str, parameters: ClusterParameters) -> None:
    """Write `data/clusters/<split>`, one file a log."""
    map_logs(
        "cluster",
        cluster_log,
        split_tasks(split, ("frames", "ground", "dynamic")),
        parameters,
        outputs={"clusters": Path("data/clusters") / split},
        suffixes={"clusters": ".h5"},
        packages=("numpy", "scipy", "hdbscan", "scikit-learn"),
    )


if __name__ == "__main__":
    stage_main("cluster", main, Parameters)
