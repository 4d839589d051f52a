# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How good the labels of one log are: statistics, and agreement with the boxes where there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.geometry import rigid_flow
from stages.labels.fusion import FIRST_CLUSTER
from stages.labels.inputs import required
from stages.labels.lidars import lidar_range

if TYPE_CHECKING:
    import polars as pl

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class QualityParameters:
    """What counts as moving, and as a good cluster.

    Attributes:
        moving_speed: a point moves when its own motion is faster than this, m/s.
        purity: a cluster is pure when at least this share of its points belongs to one box.
    """

    moving_speed: float
    purity: float

    def __post_init__(self) -> None:
        if self.moving_speed <= 0:
            raise ValueError(f"moving_speed must be positive, not {self.moving_speed}")
        if not 0.5 < self.purity <= 1:
            raise ValueError(f"purity must lie above 0.5 and not above 1, not {self.purity}")


@dataclass(frozen=True)
class Counts:
    """Sums over sweeps and logs: adding counts of parts gives the counts of the whole.

    The counts from `scored` on are of sweeps with truth, and of points that are not ground, have valid truth and
    lie within the range that the free-space map was built from.

    Attributes:
        frames: sweeps.
        points: points.
        dynamic: points labelled dynamic.
        clustered: points labelled with a cluster.
        clusters: clusters.
        scored: points with truth.
        scored_dynamic: of these, labelled dynamic.
        moving: of these, moving by truth.
        moving_dynamic: moving and labelled dynamic.
        moving_clustered: moving and in a cluster.
        scored_clusters: clusters with at least one scored point.
        pure_clusters: of these, pure.
    """

    frames: int = 0
    points: int = 0
    dynamic: int = 0
    clustered: int = 0
    clusters: int = 0
    scored: int = 0
    scored_dynamic: int = 0
    moving: int = 0
    moving_dynamic: int = 0
    moving_clustered: int = 0
    scored_clusters: int = 0
    pure_clusters: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)})


def label_counts(dynamic: Mask, labels: NDArray[np.int16]) -> Counts:
    """Counts of one sweep that need no truth, from its dynamic mask (N,) and fused labels (N,)."""
    clusters = labels[labels >= FIRST_CLUSTER]
    return Counts(
        frames=1,
        points=len(labels),
        dynamic=int(dynamic.sum()),
        clustered=len(clusters),
        clusters=len(np.unique(clusters)),
    )


def truth_counts(
    dynamic: Mask, labels: NDArray[np.int16], moving: Mask, instance: NDArray[np.int32], purity: float
) -> Counts:
    """Counts of the scored points of one sweep.

    Args:
        dynamic: labelled dynamic  # (N,)
        labels: fused labels  # (N,)
        moving: moving by truth  # (N,)
        instance: track of the box around the point, 0 none  # (N,)
        purity: share of one box from which on a cluster is pure.
    """
    in_cluster = labels >= FIRST_CLUSTER
    scored_clusters, pure_clusters = _pure(labels[in_cluster], instance[in_cluster], purity)
    return Counts(
        scored=len(labels),
        scored_dynamic=int(dynamic.sum()),
        moving=int(moving.sum()),
        moving_dynamic=int((moving & dynamic).sum()),
        moving_clustered=int((moving & in_cluster).sum()),
        scored_clusters=scored_clusters,
        pure_clusters=pure_clusters,
    )


def _pure(labels: NDArray[np.int16], instance: NDArray[np.int32], purity: float) -> tuple[int, int]:
    """Number of clusters, and of those that hold at least a share `purity` of one box's points."""
    clusters, rows, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(np.stack([rows, instance], axis=1), axis=0, return_counts=True)
    in_box = pairs[:, 1] > 0
    largest = np.zeros(len(clusters), dtype=np.int64)
    np.maximum.at(largest, pairs[in_box, 0], counts[in_box])
    return len(clusters), int((largest >= purity * sizes).sum())


def count_log(
    frames: LogFrames,
    ground: LogColumns,
    dynamic: LogColumns,
    clusters: LogColumns,
    truth: LogColumns | None,
    parameters: QualityParameters,
) -> Counts:
    """Counts of a whole log."""
    near, far = (float(dynamic.attributes[name]) for name in ("min_range", "max_range"))
    total = Counts()
    for t in range(frames.num_frames):
        rows = frames.span(t)
        is_dynamic, labels = dynamic.column("dynamic")[rows], clusters.column("label")[rows]
        total += label_counts(is_dynamic, labels)
        if truth is None or not truth.column("has_flow")[t]:
            continue
        distance = lidar_range(frames, t)
        scored = truth.column("valid")[rows] & ~ground.column("ground")[rows] & (distance > near) & (distance < far)
        instance = truth.column("instance")[rows]
        moving = _speed(frames, truth, t) > parameters.moving_speed
        total += truth_counts(is_dynamic[scored], labels[scored], moving[scored], instance[scored], parameters.purity)
    return total


def _speed(frames: LogFrames, truth: LogColumns, t: int) -> NDArray[np.float64]:
    """Speed of each point's own motion, from residual flow and the time to the next sweep, m/s -> (N,)."""
    seconds = float(frames.timestamp_ns[t + 1] - frames.timestamp_ns[t]) * 1e-9
    flow = truth.column("flow")[frames.span(t)].astype(np.float64)
    residual = flow - rigid_flow(frames.xyz(t), frames.ego1_SE3_ego0(t))
    return np.asarray(np.linalg.norm(residual, axis=1) / seconds)


def quality_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: QualityParameters,
) -> None:
    """Counts of one log as a one-row table `quality`, from its frames, labels and, where there is one, truth."""
    frames = LogFrames.open(required(inputs, "frames", log_id))
    kinds = ("ground", "dynamic", "clusters")
    ground, dynamic, clusters = (LogColumns.open(required(inputs, kind, log_id), f"{kind}/1", frames) for kind in kinds)
    truth = LogColumns.open(inputs["truth"], "truth/1", frames) if inputs["truth"] else None
    counts = count_log(frames, ground, dynamic, clusters, truth, parameters)
    count_table([log_id], [counts]).write_parquet(outputs["quality"], statistics=False)


def count_table(log_ids: Sequence[str], counts: Sequence[Counts]) -> "pl.DataFrame":
    """Counts of logs as a table, one row a log and one column a count."""
    import polars as pl

    columns = {f.name: pl.Series([getattr(c, f.name) for c in counts], dtype=pl.Int64) for f in fields(Counts)}
    return pl.DataFrame({"log_id": pl.Series(list(log_ids), dtype=pl.String), **columns})


def summary(table: Mapping[str, list[int]]) -> dict[str, int | float]:
    """The metric file of a split from its table of counts: shares and means, none where they have no meaning."""
    total = Counts(**{f.name: sum(table[f.name]) for f in fields(Counts)})
    ratios = {
        "dynamic_share": (total.dynamic, total.points),
        "clustered_share": (total.clustered, total.dynamic),
        "clusters_per_frame": (total.clusters, total.frames),
        "moving_share": (total.moving, total.scored),
        "precision": (total.moving_dynamic, total.scored_dynamic),
        "recall": (total.moving_dynamic, total.moving),
        "recall_clustered": (total.moving_clustered, total.moving),
        "pure_clusters": (total.pure_clusters, total.scored_clusters),
    }
    shares = {name: round(part / whole, 6) for name, (part, whole) in ratios.items() if whole}
    return {"logs": len(table["frames"]), "frames": total.frames, **shares}
