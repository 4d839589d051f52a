# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground-truth flow of one log from its boxes, by the recipe of AV2's own scene-flow labels or by a later one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames
from models.geometry import inverse_SE3, rigid_flow
from stages.frames.write import write_columns
from stages.labels.boxes import Boxes, boxes_by_sweep, read_boxes
from stages.labels.inputs import required
from stages.labels.interior import PointsByColumn

SCHEMA = "truth/1"

# Recipe `official`: boxes count when annotators saw a point inside, in both sweeps; length and width grow by
# this much in total, height does not.
GROWTH = np.array([0.2, 0.2, 0.0])  # m
MIN_INTERIOR = 1  # points

# Recipe `grown`: the rule of the labels published since 2025, made for fast objects, whose boxes lag their points.
# Only a box that moves grows, in length by half its motion too. The published code takes the norm over all points
# of a box for its motion, which grows with their number; here it is the mean over points, as was meant.
MOVING = 0.04  # m a frame
MAX_STRETCH = 2.0  # m, of the length
GROWN = np.array([0.2, 0.2, 0.2])  # m


@dataclass(frozen=True)
class TruthParameters:
    """How truth is made from boxes.

    Attributes:
        recipe: `official`, AV2's own rule, or `grown`, in which boxes grow by their motion.
    """

    recipe: Literal["official", "grown"]


@dataclass(frozen=True)
class PairTruth:
    """Truth of the points of a pair's first sweep.

    Attributes:
        flow: total flow, metres, from ego frame 0 to ego frame 1  # (N, 3) float64
        category: 0 background, 1 to 30 the AV2 categories  # (N,) uint8
        instance: number of the track in its log, 0 none  # (N,) int32
        valid: False in boxes whose track is not in the second sweep  # (N,) bool
    """

    flow: NDArray[np.float64]
    category: NDArray[np.uint8]
    instance: NDArray[np.int32]
    valid: NDArray[np.bool_]


def pair_truth(
    points: NDArray[np.floating], boxes0: Boxes, boxes1: Boxes, ego1_SE3_ego0: NDArray[np.float64]
) -> PairTruth:
    """Flow of the first sweep's points by the motion of the boxes that hold them.

    Args:
        points: points of the first sweep in its ego frame, metres  # (N, 3)
        boxes0: boxes of the first sweep; later ones overwrite earlier ones.
        boxes1: boxes of the second sweep.
        ego1_SE3_ego0: ego motion  # (4, 4)
    """
    boxes0 = boxes0.take(boxes0.interior >= MIN_INTERIOR)
    boxes1 = boxes1.take(boxes1.interior >= MIN_INTERIOR)
    truth = _static_scene(points, ego1_SE3_ego0)
    row_in_1 = {int(track): row for row, track in enumerate(boxes1.track)}
    cloud = PointsByColumn(points)
    for track, category, size, pose in zip(
        boxes0.track, boxes0.category, boxes0.size + GROWTH, boxes0.ego_SE3_box, strict=True
    ):
        rows = cloud.inside(pose, size)
        truth.category[rows], truth.instance[rows] = category, track
        row = row_in_1.get(int(track))
        if row is None:
            truth.valid[rows] = False
        else:
            truth.flow[rows] = rigid_flow(points[rows], boxes1.ego_SE3_box[row] @ inverse_SE3(pose))
    return truth


def grown_truth(
    points: NDArray[np.floating], boxes0: Boxes, boxes1: Boxes, ego1_SE3_ego0: NDArray[np.float64]
) -> PairTruth:
    """The same by the recipe `grown`: every box counts, and a moving one grows by its motion.

    Points in a box that the second sweep lacks are not valid, and keep the class of what is behind.
    """
    truth = _static_scene(points, ego1_SE3_ego0)
    row_in_1 = {int(track): row for row, track in enumerate(boxes1.track)}
    ego0_SE3_ego1 = inverse_SE3(ego1_SE3_ego0)
    cloud = PointsByColumn(points)
    for track, category, size, pose in zip(boxes0.track, boxes0.category, boxes0.size, boxes0.ego_SE3_box, strict=True):
        rows = cloud.inside(pose, size)
        row = row_in_1.get(int(track))
        if row is None:
            truth.valid[rows] = False
            continue
        motion = boxes1.ego_SE3_box[row] @ inverse_SE3(pose)  # ego1 <- ego0, as the object moves
        rows = cloud.inside(pose, grown_size(size, points[rows], ego0_SE3_ego1 @ motion))
        truth.category[rows], truth.instance[rows] = category, track
        truth.flow[rows] = rigid_flow(points[rows], motion)
    return truth


def grown_size(
    size: NDArray[np.float64], points: NDArray[np.floating], ego0_SE3_ego0: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Size of a box grown by the mean displacement of its points, metres.

    Args:
        size: length, width, height  # (3,)
        points: the points inside, ego frame 0  # (K, 3)
        ego0_SE3_ego0: the object's own motion, ego motion taken out  # (4, 4)
    """
    motion = float(np.linalg.norm(rigid_flow(points, ego0_SE3_ego0), axis=1).mean()) if len(points) else 0.0
    if motion <= MOVING:
        return size
    grown: NDArray[np.float64] = size + GROWN + [min(motion / 2, MAX_STRETCH), 0.0, 0.0]
    return grown


def _static_scene(points: NDArray[np.floating], ego1_SE3_ego0: NDArray[np.float64]) -> PairTruth:
    """Truth where only the vehicle moves and no point has a class."""
    return PairTruth(
        flow=rigid_flow(points, ego1_SE3_ego0),
        category=np.zeros(len(points), dtype=np.uint8),
        instance=np.zeros(len(points), dtype=np.int32),
        valid=np.ones(len(points), dtype=np.bool_),
    )


RECIPES = {"official": pair_truth, "grown": grown_truth}


def truth_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: TruthParameters,
) -> None:
    """Truth of one log from its `frames` and `boxes` to `truth`; a log without boxes gets none."""
    frames = LogFrames.open(required(inputs, "frames", log_id))
    if inputs["boxes"] is None:
        return
    boxes = list(boxes_by_sweep(*read_boxes(inputs["boxes"]), frames.timestamp_ns))
    flow = np.zeros((frames.num_points, 3), dtype=np.float32)
    category = np.zeros(frames.num_points, dtype=np.uint8)
    instance = np.zeros(frames.num_points, dtype=np.int32)
    valid = np.zeros(frames.num_points, dtype=np.bool_)
    for t in frames.pairs():
        pair = RECIPES[parameters.recipe](frames.xyz(t), boxes[t], boxes[t + 1], frames.ego1_SE3_ego0(t))
        rows = frames.span(t)
        flow[rows], category[rows], instance[rows] = pair.flow, pair.category, pair.instance
        valid[rows] = pair.valid
    columns: dict[str, NDArray[Any]] = {
        "flow": flow,
        "category": category,
        "instance": instance,
        "valid": valid,
        "has_flow": frames.pair_next,
    }
    attributes = {"log_id": log_id, "frames_digest": frames.digest, "recipe": parameters.recipe}
    write_columns(outputs["truth"], SCHEMA, columns, attributes)
