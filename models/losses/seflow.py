# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The self-supervised losses of SeFlow (ECCV 2024) and SeFlow++ (2025): four terms, each a mean over the samples."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.chamfer import truncated_chamfer
from kernels.search import Search
from models.clouds import Clouds
from models.losses.labels import ClusterLabels, Rows
from models.losses.reduce import length, segment_mean


def seflow_loss(flow: Tensor, cloud0: Clouds, cloud1: Clouds, labels: ClusterLabels, cap: float) -> dict[str, Tensor]:
    """Terms of the loss, unweighted.

    Args:
        flow: (N0, 3) predicted residual flow, m.
        cloud0: Clouds with ego motion removed.
        cloud1: Clouds of the next sweep.
        labels: Their cluster labels.
        cap: Distance above which a pair does not count in the chamfer terms, m.

    Returns:
        chamfer and dynamic (m²), static and cluster (m).
    """
    moved = cloud0.points + flow
    search = Search(cloud1.points, cloud1.offsets)
    chamfer = truncated_chamfer(moved, cloud1.points, cloud0.offsets, cloud1.offsets, cap, search)
    dynamic = dynamic_chamfer(moved, cloud1.points, labels, cap)
    static = segment_mean(length(flow), cloud0.sample, cloud0.size, labels.static)
    return {
        "chamfer": chamfer.mean(),
        "dynamic": dynamic.mean(),
        "static": static.mean(),
        "cluster": cluster_term(flow, cloud0, cloud1, labels, search).mean(),
    }


def seflow_pp_loss(
    flow: Tensor, cloud0: Clouds, cloud1: Clouds, before: Clouds, labels: ClusterLabels, cap: float
) -> dict[str, Tensor]:
    """Terms of SeFlow++'s loss, unweighted: the chamfer terms are means of the next sweep and the one before.

    What moves by f to the next sweep came by f from the sweep before. A sample takes part in the dynamic term of the
    sweep before if it does in that of the next and the sweep before has enough dynamic points too.

    Args:
        flow: (N0, 3) predicted residual flow, m.
        cloud0: Clouds with ego motion removed.
        cloud1: Clouds of the next sweep.
        before: Clouds of the sweep before with ego motion removed.
        labels: Their cluster labels, those of the sweep before among them.
        cap: Distance above which a pair does not count in the chamfer terms, m.

    Returns:
        chamfer and dynamic (m²), static and cluster (m).

    Raises:
        ValueError: The labels are of two sweeps.
    """
    if labels.backward is None:
        raise ValueError("seflow++ needs the labels of three sweeps, got those of two")
    terms = seflow_loss(flow, cloud0, cloud1, labels, cap)
    moved = cloud0.points - flow
    chamfer = truncated_chamfer(moved, before.points, cloud0.offsets, before.offsets, cap)
    dynamic = _chamfer_of(moved, before.points, labels.backward.dynamic0, labels.backward.before, cap)
    return {
        **terms,
        "chamfer": (terms["chamfer"] + chamfer.mean()) / 2,
        "dynamic": (terms["dynamic"] + dynamic.mean()) / 2,
    }


def dynamic_chamfer(moved: Tensor, points1: Tensor, labels: ClusterLabels, cap: float) -> Tensor:
    """Chamfer distance (B,) of the dynamic points alone, m²."""
    return _chamfer_of(moved, points1, labels.dynamic0, labels.dynamic1, cap)


def _chamfer_of(a: Tensor, b: Tensor, rows_a: Rows, rows_b: Rows, cap: float) -> Tensor:
    """Chamfer distance (B,) of some rows of two ragged batches, m²."""
    some_a, some_b = a.index_select(0, rows_a.index), b.index_select(0, rows_b.index)
    return truncated_chamfer(some_a, some_b, rows_a.offsets, rows_b.offsets, cap)


def cluster_term(flow: Tensor, cloud0: Clouds, cloud1: Clouds, labels: ClusterLabels, search: Search) -> Tensor:
    """Mean distance (B,) of the flow of clustered points to the one flow of their cluster, m.

    That flow is the way from one point of the cluster to its nearest neighbour in sweep 1: of the points whose
    neighbour is dynamic, the one whose neighbour is farthest. A cluster without such a point does not count.
    """
    rows = labels.clustered.index
    points = cloud0.points.index_select(0, rows)
    sample = cloud0.sample.index_select(0, rows)
    found = search.nearest(points, labels.clustered.offsets)
    best, has_target = farthest_of_cluster(found.index, found.squared_distance, labels)
    if not len(rows) or not len(cloud1.points):
        return flow.sum() * flow.new_zeros(cloud0.size)
    neighbour = found.index.index_select(0, best).clamp(min=0)
    target = cloud1.points.index_select(0, neighbour) - points.index_select(0, best)  # (clusters, 3)
    distance = length(flow.index_select(0, rows) - target.index_select(0, labels.cluster))
    return segment_mean(distance, sample, cloud0.size, has_target.index_select(0, labels.cluster))


def farthest_of_cluster(index: Tensor, squared_distance: Tensor, labels: ClusterLabels) -> tuple[Tensor, Tensor]:
    """Of each cluster, the row with the farthest dynamic neighbour (lowest row at ties), and if it has one.

    Args:
        index: (C,) row of each clustered point's neighbour in cloud 1, -1 for none.
        squared_distance: (C,) to it.
        labels: The labels that the rows come from.

    Returns:
        (clusters,) int64 rows of the clustered points, and (clusters,) bool.
    """
    points = len(index)
    if not points or not len(labels.moving1):
        none = torch.zeros(labels.clusters, dtype=torch.int64, device=index.device)
        return none, none.bool()
    moving = (index >= 0) & labels.moving1.index_select(0, index.clamp(min=0))
    score = torch.where(moving, squared_distance, -1.0)
    top = score.new_full((labels.clusters,), -1.0).scatter_reduce(0, labels.cluster, score, "amax")
    row = torch.arange(points, device=index.device)
    row = torch.where(moving & (score == top.index_select(0, labels.cluster)), row, points)
    best = row.new_full((labels.clusters,), points).scatter_reduce(0, labels.cluster, row, "amin")
    return best.clamp(max=points - 1), top >= 0
