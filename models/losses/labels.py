# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Cluster labels of a batch, prepared on the CPU so that the loss never has to count on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.clouds import ragged_offsets

FIRST_CLUSTER = 2  # 0 is static, 1 dynamic without cluster


@dataclass(frozen=True)
class Rows:
    """Rows of a ragged batch, sample after sample."""

    index: Tensor  # (R,) int64
    offsets: Tensor  # (B+1,) int64, CPU

    def to(self, device: torch.device) -> Rows:
        """The same with the index on `device`."""
        return Rows(self.index.to(device, non_blocking=True), self.offsets)

    def pin_memory(self) -> Rows:
        """The same in page-locked memory."""
        return Rows(self.index.pin_memory(), self.offsets)


@dataclass(frozen=True)
class Backward:
    """Dynamic rows for the comparison with the sweep before; none where that or the forward pair has too few."""

    dynamic0: Rows  # of cloud 0
    before: Rows  # of the sweep before

    def to(self, device: torch.device) -> Backward:
        """The same on `device`."""
        return Backward(self.dynamic0.to(device), self.before.to(device))

    def pin_memory(self) -> Backward:
        """The same in page-locked memory."""
        return Backward(self.dynamic0.pin_memory(), self.before.pin_memory())


@dataclass(frozen=True)
class ClusterLabels:
    """What the self-supervised losses need to know of the points of a batch.

    A sample with too few dynamic points in either sweep has no dynamic rows and no clusters.
    """

    static: Tensor  # (N0,) bool, label 0
    moving1: Tensor  # (N1,) bool, label above 0
    dynamic0: Rows  # of cloud 0
    dynamic1: Rows  # of cloud 1
    clustered: Rows  # of cloud 0, in cluster order within a sample
    cluster: Tensor  # (C,) int64, cluster of each clustered row, counted through the batch
    clusters: int
    skipped: int  # samples with too few dynamic points
    backward: Backward | None = None  # with three sweeps

    def to(self, device: torch.device) -> ClusterLabels:
        """The same on `device`."""
        return ClusterLabels(
            self.static.to(device, non_blocking=True),
            self.moving1.to(device, non_blocking=True),
            self.dynamic0.to(device),
            self.dynamic1.to(device),
            self.clustered.to(device),
            self.cluster.to(device, non_blocking=True),
            self.clusters,
            self.skipped,
            None if self.backward is None else self.backward.to(device),
        )

    def pin_memory(self) -> ClusterLabels:
        """The same in page-locked memory."""
        return ClusterLabels(
            self.static.pin_memory(),
            self.moving1.pin_memory(),
            self.dynamic0.pin_memory(),
            self.dynamic1.pin_memory(),
            self.clustered.pin_memory(),
            self.cluster.pin_memory(),
            self.clusters,
            self.skipped,
            None if self.backward is None else self.backward.pin_memory(),
        )


def cluster_labels(
    labels0: Sequence[NDArray[np.integer]],
    labels1: Sequence[NDArray[np.integer]],
    minimum: int,
    labels_before: Sequence[NDArray[np.integer]] | None = None,
) -> ClusterLabels:
    """Prepare the labels of a batch.

    Args:
        labels0: One array (n_b,) a sample for cloud 0: 0 static, 1 dynamic without cluster, from 2 clusters.
        labels1: The same for cloud 1.
        minimum: A sample takes part in the dynamic and cluster terms if both sweeps have more dynamic points.
        labels_before: The same for the sweep before, where there is one.
    """
    enough = [
        bool(min(np.count_nonzero(a > 0), np.count_nonzero(b > 0)) > minimum)
        for a, b in zip(labels0, labels1, strict=True)
    ]
    dynamic0 = [np.flatnonzero(a > 0) if ok else _NONE for a, ok in zip(labels0, enough, strict=True)]
    dynamic1 = [np.flatnonzero(b > 0) if ok else _NONE for b, ok in zip(labels1, enough, strict=True)]
    clustered = [np.flatnonzero(a >= FIRST_CLUSTER) if ok else _NONE for a, ok in zip(labels0, enough, strict=True)]
    cluster, clusters = _number([a[rows] for a, rows in zip(labels0, clustered, strict=True)])
    return ClusterLabels(
        static=torch.from_numpy(np.concatenate(labels0) == 0),
        moving1=torch.from_numpy(np.concatenate(labels1) > 0),
        dynamic0=_rows(dynamic0, labels0),
        dynamic1=_rows(dynamic1, labels1),
        clustered=_rows(clustered, labels0),
        cluster=torch.from_numpy(cluster),
        clusters=clusters,
        skipped=sum(not both for both in enough),
        backward=None if labels_before is None else _backward(labels0, labels_before, enough, minimum),
    )


def _backward(
    labels0: Sequence[NDArray[np.integer]],
    labels_before: Sequence[NDArray[np.integer]],
    forward: Sequence[bool],
    minimum: int,
) -> Backward:
    enough = [
        ok and bool(np.count_nonzero(label > 0) > minimum) for ok, label in zip(forward, labels_before, strict=True)
    ]
    rows0, rows_before = (
        [np.flatnonzero(label > 0) if ok else _NONE for label, ok in zip(labels, enough, strict=True)]
        for labels in (labels0, labels_before)
    )
    return Backward(_rows(rows0, labels0), _rows(rows_before, labels_before))


_NONE = np.zeros(0, dtype=np.int64)


def _rows(rows: Sequence[NDArray[np.int64]], labels: Sequence[NDArray[np.integer]]) -> Rows:
    starts = np.cumsum([0, *(len(label) for label in labels)])[:-1]
    index = np.concatenate([part + start for part, start in zip(rows, starts, strict=True)])
    return Rows(torch.from_numpy(index), ragged_offsets([len(part) for part in rows]))


def _number(labels: Sequence[NDArray[np.integer]]) -> tuple[NDArray[np.int64], int]:
    """Consecutive numbers for the clusters of all samples, and how many there are."""
    parts, total = [], 0
    for label in labels:
        ids, inverse = np.unique(label, return_inverse=True)
        parts.append(inverse.reshape(-1).astype(np.int64) + total)
        total += len(ids)
    return np.concatenate(parts), total
