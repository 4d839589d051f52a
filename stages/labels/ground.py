# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground masks of one log: both published map rules where there is a map, and the mask that training uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames
from models.geometry import inverse_SE3, transform_points
from stages.frames.write import write_columns
from stages.labels.inputs import required
from stages.labels.patchwork import PatchworkParameters, patchwork
from stages.labels.raster import GroundRaster, raster_ground, read_raster

SCHEMA = "ground/1"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GroundParameters:
    """What makes the ground mask that training, labels and prediction use.

    Attributes:
        rule: `map`, the height raster (Patchwork++ where a log has none), or `patchwork` for every log.
        variant: which published map rule: `v1` (truncated cell, 0.3 m) or `v2` (rounded cell, 0.4 m).
        patchwork: knobs of Patchwork++.
    """

    rule: Literal["map", "patchwork"]
    variant: Literal["v1", "v2"]
    patchwork: PatchworkParameters


def map_ground(frames: LogFrames, raster: GroundRaster) -> tuple[Mask, Mask]:
    """Ground masks v1 and v2 of all points of a log -> (P,), (P,)."""
    v1 = np.zeros(frames.num_points, dtype=np.bool_)
    v2 = np.zeros(frames.num_points, dtype=np.bool_)
    for t in range(frames.num_frames):
        points = transform_points(frames.city_SE3_ego[t], frames.xyz(t))  # (N, 3)
        v1[frames.span(t)], v2[frames.span(t)] = raster_ground(raster, points)
    return v1, v2


def patchwork_ground(frames: LogFrames, parameters: PatchworkParameters) -> Mask:
    """Ground mask of all points of a log by Patchwork++, in the frame of the upper lidar -> (P,)."""
    ego_SE3_lidar = frames.ego_SE3_lidar["up_lidar"]
    lidar_SE3_ego = inverse_SE3(ego_SE3_lidar)
    segment = patchwork(parameters, lidar_height=float(ego_SE3_lidar[2, 3]))
    mask = np.zeros(frames.num_points, dtype=np.bool_)
    for t in range(frames.num_frames):
        mask[frames.span(t)] = segment(transform_points(lidar_SE3_ego, frames.xyz(t)))
    return mask


def ground_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: GroundParameters,
) -> None:
    """Ground masks of one log, from its `frames` and, where there is one, its `maps`, to `ground`.

    The file says in its attribute `rule` what made the mask `ground`: `map_v1`, `map_v2` or
    `patchwork++`.
    """
    frames = LogFrames.open(required(inputs, "frames", log_id))
    columns: dict[str, Mask] = {}
    if inputs["maps"] is not None:
        columns["ground_v1"], columns["ground_v2"] = map_ground(frames, read_raster(inputs["maps"]))
    if parameters.rule == "map" and columns:
        rule, columns["ground"] = f"map_{parameters.variant}", columns[f"ground_{parameters.variant}"]
    else:
        rule, columns["ground"] = "patchwork++", patchwork_ground(frames, parameters.patchwork)
    attributes = {"log_id": log_id, "frames_digest": frames.digest, "rule": rule}
    write_columns(outputs["ground"], SCHEMA, columns, attributes)
