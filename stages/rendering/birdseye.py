# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye pictures of a pair: truth, prediction and error beside each other."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.geometry import rigid_flow
from stages.rendering.colours import error_colours, flow_colours

FULL_SPEED = 1.0  # m a pair: 10 m/s at 10 Hz has full colour
FULL_ERROR = 0.5  # m


def draw_pair(
    path: Path,
    frames: LogFrames,
    truth: LogColumns,
    prediction: LogColumns,
    ground: LogColumns,
    frame: int,
    reach: float,
) -> None:
    """Write a picture of one pair as PNG.

    Args:
        path: the file to write.
        frames: the log.
        truth: its total flow.
        prediction: its residual flow.
        ground: its ground mask; ground points are drawn pale.
        frame: first sweep of the pair.
        reach: half of the side of the square that is shown, m.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = frames.span(frame)
    points = frames.xyz(frame).astype(np.float64)
    true = truth.column("flow")[rows] - rigid_flow(points, frames.ego1_SE3_ego0(frame))
    guess = prediction.column("residual")[rows]
    error = np.linalg.norm(guess - true, axis=1)
    panels = {
        "truth": flow_colours(true, FULL_SPEED),
        "prediction": flow_colours(guess, FULL_SPEED),
        "error": error_colours(error, FULL_ERROR),
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
    for axis, (title, colours) in zip(axes, panels.items(), strict=True):
        _scatter(axis, points, colours, ground.column("ground")[rows], reach)
        axis.set_title(title, fontsize=12)
    _wheel(axes[0])
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _scatter(
    axis: Any, points: NDArray[np.float64], colours: NDArray[np.float64], ground: NDArray[np.bool_], reach: float
) -> None:
    axis.scatter(points[ground, 0], points[ground, 1], s=0.05, c="#e4e4e4", linewidths=0)
    axis.scatter(points[~ground, 0], points[~ground, 1], s=1.0, c=colours[~ground], linewidths=0)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")


def _wheel(axis: Any) -> None:
    """The colour wheel in a corner: the colour of a point that moves that way at full speed."""
    inset = axis.inset_axes((0.82, 0.82, 0.17, 0.17))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 120)), axis=-1)  # (120, 120, 2)
    colours = flow_colours(grid.reshape(-1, 2), 1.0).reshape(120, 120, 3)
    alpha = (np.hypot(grid[..., 0], grid[..., 1]) <= 1).astype(float)[..., None]
    inset.imshow(np.concatenate([colours, alpha], axis=-1), origin="lower")
    inset.axis("off")
