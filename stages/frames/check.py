# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The schema of a frames file, checked when it has been written."""

from pathlib import Path

import numpy as np

from models.data.logfile import LogFrames

_TYPES = {"intensity": np.uint8, "laser_number": np.uint8, "offset_ns": np.int32}


def check_frames(path: Path) -> None:
    """Open a frames file as its readers will and check shapes and types.

    Raises:
        RuntimeError: naming what is wrong; it is a defect of the writer.
    """
    log = LogFrames.open(path)
    T, P = log.num_frames, log.num_points
    wrong = [
        name
        for name, fine in {
            "frame_start": log.frame_start.shape == (T + 1,) and bool((np.diff(log.frame_start) >= 0).all()),
            "timestamp_ns": bool((np.diff(log.timestamp_ns) > 0).all()),
            "city_SE3_ego": log.city_SE3_ego.shape == (T, 4, 4) and log.city_SE3_ego.dtype == np.float64,
            "pair_next": log.pair_next.shape == (T,) and not log.pair_next[-1],
            "xyz": log.column("xyz").shape == (P, 3) and log.column("xyz").dtype in (np.float16, np.float32),
            **{name: log.column(name).shape == (P,) and log.column(name).dtype == t for name, t in _TYPES.items()},
        }.items()
        if not fine
    ]
    if wrong:
        raise RuntimeError(f"{path} was written with wrong {', '.join(wrong)}")
