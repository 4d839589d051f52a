# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised losses: DeFlow's speed buckets, FastFlow3D's class weights, ZeroFlow's speed weights.

Each is a mean over the samples of a batch. Points without valid truth do not count.
"""

from __future__ import annotations

from torch import Tensor

from models.clouds import Clouds
from models.losses.reduce import length, segment_mean
from models.losses.truth import SWEEP_PERIOD, Truth

SLOW, FAST = 0.4, 1.0  # m/s, edges of DeFlow's buckets
BACKGROUND_WEIGHT = 0.1  # FastFlow3D, for points of category 0


def deflow_loss(flow: Tensor, cloud0: Clouds, truth: Truth) -> dict[str, Tensor]:
    """Mean end-point error of the points below 0.4 m/s, up to 1 m/s, and above: three terms, m.

    Args:
        flow: (N0, 3) predicted residual flow.
        cloud0: The clouds it belongs to.
        truth: Their true residual flow.
    """
    speed = length(truth.flow) / SWEEP_PERIOD
    bucket = (speed >= SLOW).long() + (speed > FAST).long()
    error = length(flow - truth.flow)
    means = segment_mean(error, cloud0.sample * 3 + bucket, 3 * cloud0.size, truth.valid)
    still, slow, fast = means.view(-1, 3).mean(0)
    return {"still": still, "slow": slow, "fast": fast}


def ff3d_loss(flow: Tensor, cloud0: Clouds, truth: Truth) -> dict[str, Tensor]:
    """Mean end-point error, background weighing a tenth, m (arguments as `deflow_loss`)."""
    weight = (truth.category > 0).to(flow.dtype) * (1 - BACKGROUND_WEIGHT) + BACKGROUND_WEIGHT
    return {"flow": _weighted(flow, cloud0, truth, weight)}


def zeroflow_loss(flow: Tensor, cloud0: Clouds, truth: Truth) -> dict[str, Tensor]:
    """Mean end-point error, weighing 0.1 up to 0.5 m/s and 1 from 1 m/s, m (arguments as `deflow_loss`)."""
    speed = length(truth.flow) / SWEEP_PERIOD
    return {"flow": _weighted(flow, cloud0, truth, (1.8 * speed - 0.8).clamp(0.1, 1.0))}


def _weighted(flow: Tensor, cloud0: Clouds, truth: Truth, weight: Tensor) -> Tensor:
    error = length(flow - truth.flow) * weight
    return segment_mean(error, cloud0.sample, cloud0.size, truth.valid).mean()
