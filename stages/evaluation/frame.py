# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of one frame: its points, their true motion, and which of them each metric scores."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3
from stages.evaluation.buckets import speed_bucket
from stages.evaluation.classes import META_OF_CATEGORY
from stages.evaluation.points import (
    DYNAMIC_V1,
    Float64,
    Mask,
    box_distance,
    by_columns,
    displacement,
    row_norm,
    v1_mask,
)

MAX_FLOW = 1e6  # m; beyond this a number is no flow, and sums would lose digits
V2_CROP_XY = 48.0  # m; v2 scores |x|, |y| below this in ego frame 1
V2_CROP_Z = 2.5  # m
V2_NEAR = 35.0  # m; max(|x|, |y|) in ego frame 1 below this is the v2 headline's region


@dataclass(frozen=True)
class FrameTruth:
    """Points of the first sweep of a pair, their true flow, and the masks of the metric families.

    Attributes:
        points: ego frame 0, metres  # (N, 3) float64
        rigid: flow of a static scene, ``r = E p - p``, metres  # (N, 3) float64
        flow: total flow, ``f = T p - p``, metres  # (N, 3) float64
        category: 0 background, 1 to 30 the AV2 categories  # (N,)
        scored_v1: valid, not ground by v1's rule, inside the 100 m box  # (N,)
        scored_v2: valid, not ground by v2's rule, inside the crop  # (N,)
        near_v2: within 35 m in ego frame 1  # (N,)
        scored_range: valid, not ground by v1's rule, at any distance  # (N,)
        sensor_points: the points in the frame of the upper lidar, whose distances the published training
            code takes  # (N, 3)
    """

    points: Float64
    rigid: Float64
    flow: Float64
    category: NDArray[np.integer[Any]]
    scored_v1: Mask
    scored_v2: Mask
    near_v2: Mask
    scored_range: Mask
    sensor_points: Float64

    @cached_property
    def residual(self) -> Float64:
        """True residual flow ``a = f - r``, metres, axes of ego frame 1  # (N, 3)."""
        return self.flow - self.rigid

    @cached_property
    def speed(self) -> Float64:
        """Length of the true residual flow, metres a frame  # (N,)."""
        return row_norm(self.residual)

    @cached_property
    def bucket(self) -> NDArray[np.int64]:
        """Speed bucket of each point  # (N,)."""
        return speed_bucket(self.speed)

    @cached_property
    def meta(self) -> NDArray[np.int64]:
        """v2's meta class of each point, -1 for those that v2 does not score  # (N,)."""
        meta: NDArray[np.int64] = META_OF_CATEGORY[self.category]
        return meta

    @cached_property
    def dynamic(self) -> Mask:
        """v1's flag of moving points  # (N,)."""
        return self.speed >= DYNAMIC_V1


def frame_truth(
    points: NDArray[np.floating[Any]],
    flow: NDArray[np.floating[Any]],
    category: NDArray[np.integer[Any]],
    valid: Mask,
    ground_v1: Mask,
    ground_v2: Mask,
    ego1_SE3_ego0: Float64,
    ego_SE3_sensor: Float64 | None = None,
    official_mask: Mask | None = None,
) -> FrameTruth:
    """Bring a frame's labels into the form that the metrics take, masks made by the official rules.

    Args:
        points: first sweep, ego frame 0, metres  # (N, 3)
        flow: total flow, metres  # (N, 3)
        category: 0 to 30  # (N,)
        valid: False where the flow is not known  # (N,)
        ground_v1: ground by v1's rule  # (N,)
        ground_v2: ground by v2's rule  # (N,)
        ego1_SE3_ego0: ego motion  # (4, 4)
        ego_SE3_sensor: mount of the upper lidar; None takes the ego frame  # (4, 4)
        official_mask: v1's mask as the leaderboard gives it, in place of box and ground  # (N,)
    """
    xyz = by_columns(points)
    rigid = displacement(xyz, ego1_SE3_ego0)
    moved = xyz + rigid  # (N, 3) ego frame 1
    reach = box_distance(moved)
    in_crop = (reach < V2_CROP_XY) & (np.abs(moved[:, 2]) < V2_CROP_Z)
    return FrameTruth(
        points=xyz,
        rigid=rigid,
        flow=by_columns(flow),
        category=category,
        scored_v1=valid & (v1_mask(xyz, ground_v1) if official_mask is None else official_mask),
        scored_v2=valid & ~ground_v2 & in_crop,
        near_v2=reach < V2_NEAR,
        scored_range=valid & ~ground_v1,
        sensor_points=xyz if ego_SE3_sensor is None else xyz + displacement(xyz, inverse_SE3(ego_SE3_sensor)),
    )


@dataclass(frozen=True)
class FrameErrors:
    """What a prediction gets wrong in one frame.

    Attributes:
        residual: predicted residual flow, metres, axes of ego frame 1  # (N, 3) float64
        error: end-point error, metres; the same for total flow and for either residual  # (N,)
        dynamic: points that the prediction calls moving  # (N,)
    """

    residual: Float64
    error: Float64
    dynamic: Mask


def frame_errors(truth: FrameTruth, residual: NDArray[np.floating[Any]], dynamic: Mask | None = None) -> FrameErrors:
    """Errors of a prediction.

    Args:
        truth: the frame.
        residual: predicted residual flow ``a``, metres, axes of ego frame 1  # (N, 3)
        dynamic: its own flag of moving points; by default, those of 5 cm a frame and more  # (N,)

    Raises:
        ValueError: a wrong number of rows, or a value that is not finite or beyond 1,000 km.
    """
    if residual.shape != truth.points.shape:
        raise ValueError(f"a prediction must have shape {truth.points.shape}, got {residual.shape}")
    guess = by_columns(residual)
    sound = np.abs(guess) <= MAX_FLOW
    if not sound.all():
        bad = ~sound.all(axis=1)
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"a prediction must be finite and below {MAX_FLOW:g} m; {int(bad.sum())} rows are not, "
            f"the first is row {row} with {guess[row].tolist()}"
        )
    return FrameErrors(
        residual=guess,
        error=row_norm(guess - truth.residual),
        dynamic=row_norm(guess) >= DYNAMIC_V1 if dynamic is None else dynamic,
    )
