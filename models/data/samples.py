# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training samples: pairs inside the grid with their labels or truth, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.clouds import Clouds, concatenate
from models.losses.labels import ClusterLabels, cluster_labels
from models.losses.truth import Truth


@dataclass(frozen=True)
class Sample:
    """A pair inside the grid; `labels` for self-supervised training, `flow`, `valid`, `category` for supervised."""

    points0: NDArray[np.float32]  # (N0, 3) m, in ego frame 1
    points1: NDArray[np.float32]  # (N1, 3) m
    labels0: NDArray[np.int16] | None = None  # (N0,)
    labels1: NDArray[np.int16] | None = None  # (N1,)
    flow: NDArray[np.float32] | None = None  # (N0, 3) residual, m
    valid: NDArray[np.bool_] | None = None  # (N0,)
    category: NDArray[np.uint8] | None = None  # (N0,)
    before: NDArray[np.float32] | None = None  # (N, 3) m, points of the sweep before, for losses or networks of three
    labels_before: NDArray[np.int16] | None = None  # (N,)

    def clouds(self) -> list[NDArray[np.float32]]:
        """Points of sweep 0, sweep 1 and, where there is one, the sweep before."""
        return [points for points in (self.points0, self.points1, self.before) if points is not None]

    def keep(
        self, inside0: NDArray[np.bool_], inside1: NDArray[np.bool_], inside_before: NDArray[np.bool_] | None = None
    ) -> Sample:
        """The sample reduced to some points of each sweep."""
        if inside_before is not None:
            before, labels = (_rows(column, inside_before) for column in (self.before, self.labels_before))
            return replace(self, before=before, labels_before=labels).keep(inside0, inside1)
        of0 = {name: _rows(getattr(self, name), inside0) for name in ("labels0", "flow", "valid", "category")}
        of1 = {"labels1": _rows(self.labels1, inside1)}
        points0, points1 = _kept(self.points0, inside0), _kept(self.points1, inside1)
        return replace(self, points0=points0, points1=points1, **of0, **of1)


@dataclass(frozen=True)
class Batch:
    """Samples joined: clouds, and what the loss compares the flow with."""

    cloud0: Clouds
    cloud1: Clouds
    target: ClusterLabels | Truth
    before: Clouds | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        before = None if self.before is None else self.before.to(device)
        return Batch(self.cloud0.to(device), self.cloud1.to(device), self.target.to(device), before)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory."""
        before = None if self.before is None else self.before.pin_memory()
        return Batch(self.cloud0.pin_memory(), self.cloud1.pin_memory(), self.target.pin_memory(), before)


def collate(samples: Sequence[Sample], minimum_dynamic: int) -> Batch:
    """Join samples; all must carry the same kind of target (see `cluster_labels` for `minimum_dynamic`)."""
    return Batch(
        concatenate([torch.from_numpy(sample.points0) for sample in samples]),
        concatenate([torch.from_numpy(sample.points1) for sample in samples]),
        _target(samples, minimum_dynamic),
        None if samples[0].before is None else concatenate([torch.from_numpy(a) for a in _column(samples, "before")]),
    )


def _target(samples: Sequence[Sample], minimum_dynamic: int) -> ClusterLabels | Truth:
    if samples[0].labels0 is not None:
        labels0, labels1 = _column(samples, "labels0"), _column(samples, "labels1")
        before = None if samples[0].labels_before is None else _column(samples, "labels_before")
        return cluster_labels(labels0, labels1, minimum_dynamic, before)
    joined = [torch.from_numpy(np.concatenate(_column(samples, name))) for name in ("flow", "valid", "category")]
    return Truth(*joined)


def _column(samples: Sequence[Sample], name: str) -> list[NDArray[Any]]:
    values = [getattr(sample, name) for sample in samples]
    if any(value is None for value in values):
        raise ValueError(f"all samples of a batch must carry {name}")
    return values


def _rows(values: NDArray[Any] | None, mask: NDArray[np.bool_]) -> NDArray[Any] | None:
    return None if values is None else _kept(values, mask)


def _kept(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """`values[mask]`, and by columns in memory for rows of several values."""
    if len(mask) != len(values):
        raise IndexError(f"a mask of {len(mask)} for {len(values)} rows")
    if values.ndim == 1:
        return values[mask]
    return np.stack([column[mask] for column in values.T]).T
