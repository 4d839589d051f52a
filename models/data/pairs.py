# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of sweeps in the frame of the second, without ground, and the sweep before where a network sees three."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import inverse_SE3

Float32 = NDArray[np.float32]
# Bits of a half: those of NaN are greater.
INFINITY, MINUS_INFINITY = 0x7C00, 0xFC00


@dataclass(frozen=True)
class SweepPair:
    """Points of two sweeps without ground, both in ego frame 1, and the rows of their sweep they come from.

    With three sweeps also those of `frame_before`, in the same frame.
    """

    points0: Float32  # (N0, 3) m, ego motion removed
    points1: Float32  # (N1, 3) m
    rows0: NDArray[np.int64]  # (N0,)
    rows1: NDArray[np.int64]  # (N1,)
    before: Float32 | None = None  # (N, 3) m, ego motion removed
    rows_before: NDArray[np.int64] | None = None  # (N,)
    frame_before: int = -1


def frame_before(frames: LogFrames, frame: int) -> int:
    """The sweep before; the sweep itself at the start of a log and after a gap, as if nothing had moved."""
    return frame - 1 if frame > 0 and frames.pair_next[frame - 1] else frame


def read_pair(frames: LogFrames, ground: NDArray[np.bool_], frame: int, sweeps: int = 2) -> SweepPair:
    """Read sweep `frame` and the next.

    Args:
        frames: The log.
        ground: (P,) mask of ground points, for all points of the log.
        frame: First sweep of the pair.
        sweeps: 3 to read the sweep before too (see `frame_before`).

    Raises:
        InputError: A point is not finite.
    """
    rows0 = np.flatnonzero(~ground[frames.span(frame)])
    rows1 = np.flatnonzero(~ground[frames.span(frame + 1)])
    points0 = moved(frames.ego1_SE3_ego0(frame), read_points(frames, frame, rows0))
    points1 = read_points(frames, frame + 1, rows1)
    pair = SweepPair(points0, points1, rows0, rows1)
    return pair if sweeps == 2 else _with_before(pair, frames, ground, frame)


def _with_before(pair: SweepPair, frames: LogFrames, ground: NDArray[np.bool_], frame: int) -> SweepPair:
    earlier = frame_before(frames, frame)
    rows = np.flatnonzero(~ground[frames.span(earlier)])
    ego1_SE3_earlier = inverse_SE3(frames.city_SE3_ego[frame + 1]) @ frames.city_SE3_ego[earlier]
    points = moved(ego1_SE3_earlier, read_points(frames, earlier, rows))
    return replace(pair, before=points, rows_before=rows, frame_before=earlier)


def moved(dst_SE3_src: NDArray[np.float64], points: Float32) -> Float32:
    """Points (N, 3) of frame src in frame dst, m, both by columns in memory.

    In float32 by what the motion adds to a point, which rounds as finely as the points themselves: between two
    sweeps a point moves by a few metres.
    """
    result: Float32 = rigid_change(dst_SE3_src, points)
    result += points
    return result


def rigid_change(dst_SE3_src: NDArray[np.float64], points: Float32) -> Float32:
    """What a rigid motion adds to points (N, 3) of float32, m, by columns in memory.

    Not as a product of matrices: a BLAS starts threads for it, which wait for each other where several loaders share
    the cores (100 ms a sweep instead of a fifth of a millisecond).
    """
    x, y, z = torch.from_numpy(points.T).unbind()
    added = (dst_SE3_src[:3] - np.eye(3, 4)).T.astype(np.float32)
    a, b, c, shift = torch.from_numpy(added[:, :, None]).unbind()  # (3, 1) each
    change: Float32 = (a * x).add_(shift).addcmul_(b, y).addcmul_(c, z).numpy().T
    return change


def read_points(frames: LogFrames, frame: int, rows: NDArray[np.int64]) -> Float32:
    """Some points (N, 3) of a sweep, m, by columns in memory: what comes after works on one at a time.

    A pair is read for every sample, so by the fastest ways.

    Raises:
        InputError: A point of the sweep is not finite.
    """
    points = np.asarray(frames.xyz(frame))
    if not _all_finite(points):
        raise InputError(
            f"log {frames.log_id}: sweep {frame} of {frames.path} holds a point that is not finite;"
            " run ingest again on sound raw data"
        )
    columns = torch.from_numpy(np.array(points.T, order="C")).float()  # a twentieth of the time of NumPy's astype
    kept: Float32 = columns.index_select(1, torch.from_numpy(rows)).numpy()  # half the time of points[rows], and more
    return kept.T


def _all_finite(points: NDArray[np.floating[Any]]) -> bool:
    """Of halves by their bits, signed for the positive ones and unsigned for the others: NumPy has them in software."""
    if points.dtype == np.float16:
        greatest, least = points.view(np.int16).max(initial=0), points.view(np.uint16).max(initial=0)
        return bool(greatest < INFINITY and least < MINUS_INFINITY)
    return bool(np.isfinite(points).all())


def read_ground(ground: LogColumns) -> NDArray[np.bool_]:
    """The mask of ground points (P,) that training and prediction use."""
    return ground.column("ground")
