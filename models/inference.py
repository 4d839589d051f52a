# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Residual flow of whole sweeps by a trained network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.clouds import concatenate
from models.data.logfile import LogFrames
from models.data.pairs import SweepPair, read_pair
from models.network import PillarFlow, crop


@dataclass(frozen=True)
class LogPrediction:
    """Predictions for all points of a log."""

    residual: NDArray[np.float32]  # (P, 3) m, in the axes of the next sweep's ego frame; 0 where not covered
    covered: NDArray[np.bool_]  # (P,)
    has_flow: NDArray[np.bool_]  # (T,)


def predict_pair(network: PillarFlow, pair: SweepPair, device: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Residual flow (N0, 3) m of sweep 0 of a pair, 0 outside the grid, and which points are inside (N0,)."""
    cloud0 = concatenate([torch.from_numpy(pair.points0)]).to(torch.device(device))
    cloud1 = concatenate([torch.from_numpy(pair.points1)]).to(torch.device(device))
    kept0, inside = crop(cloud0, network.grid)
    kept1, _ = crop(cloud1, network.grid)
    with torch.inference_mode():
        flow = network(kept0, kept1).float()
    residual = torch.zeros_like(cloud0.points)
    residual[inside] = flow
    return residual.cpu().numpy(), inside.cpu().numpy()


def predict_log(
    network: PillarFlow, frames: LogFrames, ground: NDArray[np.bool_], device: str = "cpu"
) -> LogPrediction:
    """Predict all pairs of a log.

    Args:
        network: In evaluation mode, on `device`.
        frames: The log.
        ground: (P,) points that the network does not see.
        device: cpu or cuda.
    """
    residual = np.zeros((frames.num_points, 3), dtype=np.float32)
    covered = np.zeros(frames.num_points, dtype=np.bool_)
    has_flow = np.zeros(frames.num_frames, dtype=np.bool_)
    for frame in frames.pairs():
        pair = read_pair(frames, ground, int(frame))
        rows = frames.span(int(frame)).start + pair.rows0
        residual[rows], covered[rows] = predict_pair(network, pair, device)
        has_flow[frame] = True
    return LogPrediction(residual, covered, has_flow)
