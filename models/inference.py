# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Residual flow of whole sweeps by a trained network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.clouds import Clouds, concatenate
from models.data.logfile import LogFrames
from models.data.pairs import SweepPair, read_pair
from models.errors import InputError
from models.network import PillarFlow, crop
from models.published.frames import published_pair
from models.weights import Frame


@dataclass(frozen=True)
class LogPrediction:
    """Predictions for all points of a log."""

    residual: NDArray[np.float32]  # (P, 3) m, in the axes of the next sweep's ego frame; 0 where not covered
    covered: NDArray[np.bool_]  # (P,)
    has_flow: NDArray[np.bool_]  # (T,)


def predict_pair(network: PillarFlow, pair: SweepPair, device: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Residual flow (N0, 3) m of sweep 0 of a pair, 0 outside the grid, and which points are inside (N0,)."""
    sweeps = [points for points in (pair.points0, pair.points1, pair.before) if points is not None]
    clouds = [concatenate([torch.from_numpy(points)]).to(torch.device(device)) for points in sweeps]
    with torch.inference_mode():
        residual, inside = flow_of_all(network, clouds)
    return residual.cpu().numpy(), inside.cpu().numpy()


def flow_of_all(network: PillarFlow, clouds: list[Clouds]) -> tuple[Tensor, Tensor]:
    """Residual flow of every point of sweep 0, 0 outside the grid.

    Args:
        network: In evaluation mode.
        clouds: Sweep 0, sweep 1 and, for a network of three sweeps, the one before; points may lie anywhere.

    Returns:
        (N0, 3) m, and which points are inside (N0,). On a GPU nothing waits for it.
    """
    if clouds[0].points.is_cuda:
        return network.everywhere(*clouds)
    kept, inside = zip(*(crop(cloud, network.grid) for cloud in clouds), strict=True)
    residual = torch.zeros_like(clouds[0].points)
    residual[inside[0]] = network(*kept).float()
    return residual, inside[0]


def predict_log(
    network: PillarFlow, frames: LogFrames, ground: NDArray[np.bool_], device: str = "cpu", points: Frame = "ego"
) -> LogPrediction:
    """Predict all pairs of a log.

    Args:
        network: In evaluation mode, on `device`.
        frames: The log.
        ground: (P,) points that the network does not see.
        device: cpu or cuda.
        points: What the network's points are in, as its weights file says.

    Raises:
        InputError: Points of the log, or flow of the network, are not finite.
    """
    residual = np.zeros((frames.num_points, 3), dtype=np.float32)
    covered = np.zeros(frames.num_points, dtype=np.bool_)
    has_flow = np.zeros(frames.num_frames, dtype=np.bool_)
    for frame in frames.pairs():
        pair = read_pair(frames, ground, int(frame), network.sweeps)
        rows = frames.span(int(frame)).start + pair.rows0
        more: NDArray[np.float32] | float = 0.0
        if points == "sensor":
            pair, more = published_pair(frames, pair, int(frame))
        flow, inside = predict_pair(network, pair, device)
        if not np.isfinite(flow).all():
            raise InputError(
                f"log {frames.log_id}: the flow predicted for sweep {frame} is not finite;"
                " train again with a lower train.learning_rate, or take other weights"
            )
        residual[rows], covered[rows] = np.where(inside[:, None], flow + more, 0), inside
        has_flow[frame] = True
    return LogPrediction(residual, covered, has_flow)
