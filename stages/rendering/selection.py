# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames the report shows."""

from collections.abc import Sequence

import numpy as np

from stages.rendering.scene import Pair
from stages.rendering.statistics import FrameStatistics

_CELL = 5.0  # m, about the length of a car
_APART = 5  # frames of one log nearer than this show the same scene


def busiest(frames: Sequence[FrameStatistics], count: int) -> list[FrameStatistics]:
    """At most `count` frames with the most moving points, of as many logs as can be, no two of one scene.

    Truth decides where there is some, so that two experiments show the same frames, else the prediction.
    """
    order = sorted(frames, key=lambda f: (-_moving(f), f.log_id, f.frame))
    chosen: list[FrameStatistics] = []
    most = 0  # frames of one log that are chosen
    while len(chosen) < count and most < len(order):
        most += 1
        for frame in order:
            if len(chosen) < count and sum(f.log_id == frame.log_id for f in chosen) < most and _new(frame, chosen):
                chosen.append(frame)
    return chosen


def worst(frames: Sequence[FrameStatistics], count: int, least_moving: int) -> list[FrameStatistics]:
    """The frames with the greatest mean error of at least `least_moving` moving points, no two of one scene."""
    known = [f for f in frames if f.error_moving is not None and (f.moving or 0) >= least_moving]
    chosen: list[FrameStatistics] = []
    for frame in sorted(known, key=lambda f: (-(f.error_moving or 0.0), f.log_id, f.frame)):
        if len(chosen) < count and _new(frame, chosen):
            chosen.append(frame)
    return chosen


def _new(frame: FrameStatistics, chosen: Sequence[FrameStatistics]) -> bool:
    """Whether a frame shows another scene than those that are chosen."""
    return all(f.log_id != frame.log_id or abs(f.frame - frame.frame) >= _APART for f in chosen)


def run_around(frames: Sequence[int], middle: int, count: int) -> list[int]:
    """At most `count` pairs in a row around the pair `middle`, in order of time, shifted to stay within the log."""
    place = sorted(frames).index(middle)
    first = max(0, min(place - count // 2, len(frames) - count))
    return sorted(frames)[first : first + count]


def worst_place(pair: Pair, name: str) -> tuple[float, float]:
    """Middle (m, ego frame) of the cell with the greatest sum of errors of a prediction over moving points."""
    error, moving = pair.error(name), pair.moving
    if error is None or not moving.any():
        return 0.0, 0.0
    cells = np.floor(pair.points[moving, :2] / _CELL).astype(np.int64)
    places, of_point = np.unique(cells, axis=0, return_inverse=True)
    place = (places[np.argmax(np.bincount(of_point.ravel(), error[moving]))] + 0.5) * _CELL
    return float(place[0]), float(place[1])


def _moving(frame: FrameStatistics) -> int:
    return frame.moving_predicted if frame.moving is None else frame.moving
