# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Clusters of each sweep by HDBSCAN, fused with what is dynamic into the one label column that losses read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from stages.frames.write import write_columns
from stages.labels.fusion import FIRST_CLUSTER, STATIC, UNCLUSTERED, VoteParameters, jumping, voted_labels
from stages.labels.inputs import required

SCHEMA = "clusters/1"


@dataclass(frozen=True)
class ClusterParameters:
    """Knobs of HDBSCAN and of the fusion.

    Attributes:
        recipe: `seflow` clusters the dynamic points; `seflow++` all points off the ground, and keeps a cluster if
            enough of its points were voted dynamic.
        min_cluster_size: fewest points of a cluster; also the neighbours that make a point a core point.
        epsilon: clusters nearer than this are not split further, metres.
        alpha: scale of distances in robust single linkage.
        single_cluster: let all dynamic points of a sweep be one cluster; without it a lone moving object is
            cut in pieces or left unclustered.
        voxel: points of one voxel of this edge are clustered as one, metres; 0 takes every point, as published.
        votes: what makes a cluster dynamic, for seflow++.
    """

    recipe: Literal["seflow", "seflow++"]
    min_cluster_size: int
    epsilon: float
    alpha: float
    single_cluster: bool
    voxel: float
    votes: VoteParameters

    def __post_init__(self) -> None:
        if self.min_cluster_size < 2:
            raise ValueError(f"min_cluster_size must be at least 2, not {self.min_cluster_size}")
        for name in ("epsilon", "voxel"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.alpha <= 0:
            raise ValueError(f"alpha must be positive, not {self.alpha}")


def cluster_labels(
    points: NDArray[np.floating], dynamic: NDArray[np.bool_], parameters: ClusterParameters
) -> NDArray[np.int16]:
    """Fused labels of one sweep.

    Args:
        points: points, metres  # (N, 3)
        dynamic: which of them are dynamic  # (N,)
        parameters: the knobs of HDBSCAN.

    Returns:
        0 static, 1 dynamic outside clusters, 2 and up the clusters of this sweep  # (N,)
    """
    labels = np.where(dynamic, UNCLUSTERED, STATIC).astype(np.int16)
    rows = np.flatnonzero(dynamic)
    found = clusters(points[rows].astype(np.float64), parameters)  # (K,)
    labels[rows] = np.where(found < 0, UNCLUSTERED, found + FIRST_CLUSTER)
    return labels


def clusters(cloud: NDArray[np.float64], parameters: ClusterParameters) -> NDArray[np.int64]:
    """Number of each point's cluster from 0 on, -1 outside clusters, of points (K, 3) in metres  # (K,)."""
    first, voxel_of = _one_a_voxel(cloud, parameters.voxel)
    if len(first) < parameters.min_cluster_size:
        return np.full(len(cloud), -1)  # no cluster is possible, and HDBSCAN raises on none and one
    import hdbscan

    method = hdbscan.HDBSCAN(
        min_cluster_size=parameters.min_cluster_size,
        cluster_selection_epsilon=parameters.epsilon,
        alpha=parameters.alpha,
        allow_single_cluster=parameters.single_cluster,
        core_dist_n_jobs=1,
    )
    found: NDArray[np.int64] = method.fit_predict(cloud[first])[voxel_of]
    return found


def _one_a_voxel(points: NDArray[np.float64], edge: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row of the first point in each voxel that holds any (V,), and the voxel of each point (N,).

    A lidar sees near surfaces many times denser than clusters are told apart, and HDBSCAN pays for each point.
    """
    if edge == 0 or not len(points):
        every = np.arange(len(points), dtype=np.int64)
        return every, every
    cells = np.floor(points / edge).astype(np.int64)
    cells -= cells.min(axis=0)
    counts = cells.max(axis=0) + 1
    keys = (cells[:, 0] * counts[1] + cells[:, 1]) * counts[2] + cells[:, 2]  # (N,)
    _, first, voxel_of = np.unique(keys, return_index=True, return_inverse=True)
    return first, voxel_of


def cluster_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: ClusterParameters,
) -> None:
    """Fused labels of one log, from its `frames`, `ground` and `dynamic` to `clusters`."""
    frames = LogFrames.open(required(inputs, "frames", log_id))
    ground = LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames).column("ground")
    dynamic = LogColumns.open(required(inputs, "dynamic", log_id), "dynamic/1", frames).column("dynamic")
    labels = np.zeros(frames.num_points, dtype=np.int16)
    for t in range(frames.num_frames):
        rows = frames.span(t)
        if parameters.recipe == "seflow":
            labels[rows] = cluster_labels(frames.xyz(t), dynamic[rows] & ~ground[rows], parameters)
            continue
        solid = np.flatnonzero(~ground[rows])
        found = clusters(frames.xyz(t)[solid].astype(np.float64), parameters)
        jumped = jumping(frames, t, parameters.votes)[solid]
        labels[rows.start + solid] = voted_labels(found, dynamic[rows][solid], jumped, parameters.votes)
    knobs = {name: value for name, value in asdict(parameters).items() if name != "votes"}
    attributes = {"log_id": log_id, "frames_digest": frames.digest, **knobs}
    write_columns(outputs["clusters"], SCHEMA, {"label": labels}, attributes)
