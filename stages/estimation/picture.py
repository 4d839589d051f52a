# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A bird's-eye picture of an estimate: the flow that is left after ego motion, and both sweeps laid on each other."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.geometry import transform_points
from stages.estimation.run import Estimate, Sweep
from stages.rendering.birdseye import FULL_SPEED
from stages.rendering.colours import flow_colours

_PALE, _FIRST, _SECOND = "#e4e4e4", "#d95f02", "#1b6ca8"  # told apart by the colour-blind too


def draw(path: Path, estimate: Estimate, reach: float) -> None:
    """Write the picture as PNG.

    Args:
        path: the file to write.
        estimate: the flow of a pair.
        reach: half of the side of the square that is shown, m.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 6.3), layout="constrained")
    _flow(axes[0], estimate)
    _laid(axes[1], estimate)
    for axis in axes:
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _flow(axis: Any, estimate: Estimate) -> None:
    points, covered = estimate.sweep.cloud.xyz, estimate.covered
    rest = estimate.sweep.cloud.valid & ~covered
    axis.scatter(points[rest, 0], points[rest, 1], s=0.05, c=_PALE, linewidths=0)
    order = np.flatnonzero(covered)
    order = order[np.argsort(np.linalg.norm(estimate.residual[order], axis=1), kind="stable")]  # moving ones on top
    colours = flow_colours(estimate.residual[order], FULL_SPEED)
    axis.scatter(points[order, 0], points[order, 1], s=1.2, c=colours, linewidths=0)
    axis.set_title(f"flow without ego motion (full colour {FULL_SPEED:g} m; x is forward, to the right)", fontsize=10)
    _wheel(axis)


def _laid(axis: Any, estimate: Estimate) -> None:
    motion = estimate.motion
    moved = transform_points(motion.ego1_SE3_ego0, _solid(estimate.sweep))
    second = _solid(estimate.following)
    for points, colour, label in ((moved, _FIRST, "first sweep, moved"), (second, _SECOND, "second sweep")):
        axis.scatter(points[:, 0], points[:, 1], s=0.35, c=colour, linewidths=0, label=label)
    axis.legend(loc="upper right", fontsize=8, markerscale=12)
    axis.set_title(f"ego motion ({motion.source}): {np.linalg.norm(motion.travel):.2f} m", fontsize=10)


def _solid(sweep: Sweep) -> NDArray[np.float32]:
    return sweep.cloud.xyz[sweep.cloud.valid & ~sweep.ground]


def _wheel(axis: Any) -> None:
    """The colour wheel in a corner: the colour of a point that moves that way at full speed."""
    inset = axis.inset_axes((0.85, 0.85, 0.14, 0.14))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 120)), axis=-1)  # (120, 120, 2)
    colours = flow_colours(grid.reshape(-1, 2), 1.0).reshape(120, 120, 3)
    disc = (np.hypot(grid[..., 0], grid[..., 1]) <= 1)[..., None]
    inset.imshow(np.concatenate([colours, disc], axis=-1), origin="lower")
    inset.axis("off")
