# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of sweeps in the frame of the second, without ground: what a network sees of a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import transform_points

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class SweepPair:
    """Points of two sweeps without ground, both in ego frame 1, and the rows of their sweep they come from."""

    points0: Float32  # (N0, 3) m, ego motion removed
    points1: Float32  # (N1, 3) m
    rows0: NDArray[np.int64]  # (N0,)
    rows1: NDArray[np.int64]  # (N1,)


def read_pair(frames: LogFrames, ground: NDArray[np.bool_], frame: int) -> SweepPair:
    """Read sweep `frame` and the next.

    Args:
        frames: The log.
        ground: (P,) mask of ground points, for all points of the log.
        frame: First sweep of the pair.

    Raises:
        InputError: A point is not finite.
    """
    rows0 = np.flatnonzero(~ground[frames.span(frame)])
    rows1 = np.flatnonzero(~ground[frames.span(frame + 1)])
    points0 = transform_points(frames.ego1_SE3_ego0(frame), _finite(frames, frame)[rows0])
    points1 = _finite(frames, frame + 1)[rows1].astype(np.float32)
    return SweepPair(points0.astype(np.float32), points1, rows0, rows1)


def _finite(frames: LogFrames, frame: int) -> NDArray[np.floating[Any]]:
    points = frames.xyz(frame)
    if not np.isfinite(points).all():
        raise InputError(
            f"log {frames.log_id}: sweep {frame} of {frames.path} holds a point that is not finite;"
            " run ingest again on sound raw data"
        )
    return points


def read_ground(ground: LogColumns) -> NDArray[np.bool_]:
    """The mask of ground points (P,) that training and prediction use."""
    return ground.column("ground")
