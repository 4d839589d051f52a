# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a score is compared with: predictions that need no training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.frame import FrameTruth

NEAREST_CAP = 2.0  # m
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """What a baseline sees of a pair of sweeps.

    Attributes:
        truth: the first sweep; baselines read its points and rigid flow, never its labels.
        solid0: points of the first sweep that some metric may score: not ground by both rules  # (N,)
        points1: points of the second sweep that are not ground, ego frame 1, metres  # (M, 3)
    """

    truth: FrameTruth
    solid0: NDArray[np.bool_]
    points1: NDArray[np.floating[Any]]


def ego_motion(pair: Pair) -> Float64:
    """Residual of a scene in which only the vehicle moves: zero  # (N, 3)."""
    return np.zeros_like(pair.truth.points)


def no_motion(pair: Pair) -> Float64:
    """Residual of predicting that no point moves in the vehicle's frame: ``-r``  # (N, 3)."""
    return -pair.truth.rigid


def nearest(pair: Pair) -> Float64:
    """Residual to the nearest point of the second sweep after ego motion, 0 beyond 2 m  # (N, 3)."""
    rows = np.flatnonzero(pair.solid0)
    moved = (pair.truth.points + pair.truth.rigid)[rows]  # (K, 3) ego frame 1
    residual = np.zeros_like(pair.truth.points)
    index = _nearest_rows(moved, pair.points1)
    found = index >= 0
    residual[rows[found]] = pair.points1[index[found]].astype(np.float64) - moved[found]
    return residual


def _nearest_rows(queries: Float64, targets: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Row of the nearest target within the cap for each query, -1 where there is none  # (K,)."""
    import torch

    from kernels.search import nearest as search

    def cloud(points: NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(points.astype(np.float32)), torch.tensor([0, len(points)])

    (a, a_offsets), (b, b_offsets) = cloud(queries), cloud(targets)
    rows: NDArray[np.int64] = search(a, b, a_offsets, b_offsets, cap=NEAREST_CAP).index.numpy()
    return rows


BASELINES: Mapping[str, Callable[[Pair], Float64]] = {
    "nearest": nearest,
    "ego_motion": ego_motion,
    "no_motion": no_motion,
}
