# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The frames that published weights were trained on: points of the up lidar, ego motion of the vehicle.

The published data hold points p_s of the lidar's own frame, but move them by the ego frame's motion E as if they were
of the ego frame, and count flow from there. Weights trained so give their own numbers only on points mixed in the same
way; here, and nowhere else, that is done. Their flow n makes the total flow f = (E p_s - p_s) + n, from which follows
the residual a = f - (E p_e - p_e) of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.architecture import Architecture
from models.data.logfile import LogFrames
from models.data.pairs import SweepPair
from models.errors import InputError
from models.geometry import inverse_SE3, rigid_flow, transform_points

LIDAR = "up_lidar"
_INPUT = "embedder.feature_net.pfn_layers.0.0.weight"  # (width, 9): x, y, z first
_MEAN = "embedder.feature_net.pfn_layers.0.1.running_mean"  # (width,)


def published_pair(frames: LogFrames, pair: SweepPair, frame: int) -> tuple[SweepPair, NDArray[np.float32]]:
    """A pair as published weights want it.

    Args:
        frames: The log.
        pair: The pair of sweep `frame` and the next, whose rows are taken.
        frame: First sweep of the pair.

    Returns:
        The pair of points of the up lidar, the first moved by the ego motion, and what to add to the network's flow to
        have the residual of the pipeline (N0, 3) m.

    Raises:
        InputError: The log does not tell where its up lidar is.
    """
    if LIDAR not in frames.ego_SE3_lidar:
        raise InputError(
            f"log {frames.log_id} has no mount of {LIDAR}, to whose frame the weights belong"
            f" (it has {', '.join(sorted(frames.ego_SE3_lidar)) or 'none'}); use weights of the ego frame"
        )
    lidar_SE3_ego = inverse_SE3(frames.ego_SE3_lidar[LIDAR])
    motion = frames.ego1_SE3_ego0(frame)
    ego0 = frames.xyz(frame)[pair.rows0]
    sensor0 = transform_points(lidar_SE3_ego, ego0)
    sensor1 = transform_points(lidar_SE3_ego, frames.xyz(frame + 1)[pair.rows1])
    moved = replace(
        pair,
        points0=transform_points(motion, sensor0).astype(np.float32),
        points1=sensor1.astype(np.float32),
    )
    if pair.before is not None and pair.rows_before is not None:
        ego_before = frames.xyz(pair.frame_before)[pair.rows_before]
        motion_before = inverse_SE3(frames.city_SE3_ego[frame + 1]) @ frames.city_SE3_ego[pair.frame_before]
        before = transform_points(motion_before, transform_points(lidar_SE3_ego, ego_before))
        moved = replace(moved, before=before.astype(np.float32))
    return moved, (rigid_flow(sensor0, motion) - rigid_flow(ego0, motion)).astype(np.float32)


def to_sensor_frame(
    state: Mapping[str, Tensor], architecture: Architecture, mount: tuple[float, float, float]
) -> tuple[dict[str, Tensor], Architecture]:
    """Weights of the ego frame as weights of a lidar that is mounted at `mount` with the axes of the ego frame.

    The first layer is linear in x, y and z, so that a shift of all points is a shift of the mean that its batch norm
    takes off: the network of the shifted points in the shifted grid is exactly the same function.

    Args:
        state: The network's state.
        architecture: The network, its range in the ego frame.
        mount: Place of the lidar in the ego frame, m.
    """
    shift = state[_INPUT].new_tensor(mount)
    changed = {**state, _MEAN: state[_MEAN] - state[_INPUT][:, :3] @ shift}
    x0, y0, z0, x1, y1, z1 = architecture.range
    x, y, z = mount
    box = tuple(round(value, 6) for value in (x0 - x, y0 - y, z0 - z, x1 - x, y1 - y, z1 - z))
    return changed, replace(architecture, range=box)  # type: ignore[arg-type]  # six numbers
