# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The three closed-formula frames whose official numbers are in tests/golden/metrics.json."""

from typing import Any

import numpy as np

from stages.evaluation.frame import FrameErrors, FrameTruth, frame_errors
from stages.evaluation.points import row_norm


def synthetic_arrays(k: int, n: int = 4000) -> dict[str, Any]:
    i = np.arange(n, dtype=np.float64)
    rows = np.arange(n)
    xyz = np.stack([62.0 * np.sin(0.37 * i + k), 58.0 * np.cos(0.11 * i + 2 * k), np.sin(0.05 * i)], axis=1)
    category = ((7 * rows + 3 * k) % 31).astype(np.uint8)
    speed = np.where(category == 0, 0.0, 0.0013 + 0.01716 * ((13 * rows + 5 * k) % 137))
    size = 0.0031 * ((17 * rows + k) % 40)

    def turning(rate: float) -> Any:
        return np.stack([np.cos(rate * i), np.sin(rate * i), np.zeros_like(i)], axis=1)

    return {
        "xyz": xyz,
        "category": category,
        "rigid": np.tile([-0.31 + 0.01 * k, 0.02, 0.003], (n, 1)),
        "residual": speed[:, None] * turning(0.7),
        "error": size[:, None] * turning(1.3),
        "valid": rows % 17 != 0,
    }


def synthetic_truth(k: int) -> FrameTruth:
    """All valid points scored by every family; distances of v2 with identity poses."""
    a = synthetic_arrays(k)
    return FrameTruth(
        points=a["xyz"],
        rigid=a["rigid"],
        flow=a["rigid"] + a["residual"],
        category=a["category"],
        scored_v1=a["valid"],
        scored_v2=a["valid"],
        near_v2=np.abs(a["xyz"][:, :2]).max(axis=1) < 35.0,
        scored_range=a["valid"],
        sensor_points=a["xyz"],
    )


def synthetic_errors(k: int, truth: FrameTruth) -> FrameErrors:
    a = synthetic_arrays(k)
    residual = a["residual"] + a["error"]
    return frame_errors(truth, residual, dynamic=row_norm(residual) >= 0.05)
