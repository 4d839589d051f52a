# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The labels of one log as the metrics take them, a frame at a time."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.baselines import Pair
from stages.evaluation.frame import FrameTruth, frame_truth
from stages.evaluation.masks import ground_rows, rule_mask
from stages.evaluation.points import by_columns, displacement
from stages.labels.inputs import required

SENSOR = "up_lidar"


@dataclass(frozen=True)
class LogLabels:
    """Frames, truth and ground of one log.

    Attributes:
        frames: its sweeps.
        truth: flow, class and validity of each point.
        ground: masks of ground points.
    """

    frames: LogFrames
    truth: LogColumns
    ground: LogColumns

    @classmethod
    def open(cls, log_id: str, inputs: Mapping[str, Path | None]) -> "LogLabels":
        """Map the files `frames`, `truth` and `ground`; InputError names the one that is absent or of other frames."""
        frames = LogFrames.open(required(inputs, "frames", log_id))
        if inputs["truth"] is None:
            raise InputError(f"log {log_id} has no truth, since it has no annotations: add them or leave the log out.")
        return cls(
            frames=frames,
            truth=LogColumns.open(required(inputs, "truth", log_id), "truth/1", frames),
            ground=LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames),
        )

    @property
    def ground_rule(self) -> str:
        """`map` where the log has both official masks, else what made the one mask that stands in for them."""
        return "map" if self.ground.has("ground_v1") else str(self.ground.attributes["rule"])

    @property
    def ground_digest(self) -> str:
        """Digest of the one mask that stands in for the official ones, empty where the log has those."""
        if self.ground.has("ground_v1"):
            return ""
        return hashlib.sha256(np.ascontiguousarray(self.ground.column("ground")).data).hexdigest()

    @property
    def mask_rule(self) -> str:
        """`scene` where the log brings its own v1 mask, as scenes of OpenSceneFlow do, else `rule`."""
        return "scene" if self.ground.has("v1_mask") else "rule"

    @property
    def recipe(self) -> str:
        """Recipe of the truth."""
        return str(self.truth.attributes["recipe"])

    def has_flow(self) -> NDArray[np.int64]:
        """Frames that have truth  # (K,)."""
        return np.flatnonzero(self.truth.column("has_flow")).astype(np.int64)

    def frame(self, t: int, official_mask: NDArray[np.bool_] | None = None) -> FrameTruth:
        """Labels of a frame; a given mask takes the place of v1's own."""
        rows = self.frames.span(t)
        if official_mask is None and self.ground.has("v1_mask"):
            official_mask = np.asarray(self.ground.column("v1_mask")[rows], dtype=np.bool_)
        return frame_truth(
            points=self.frames.xyz(t),
            flow=self.truth.column("flow")[rows],
            category=self.truth.column("category")[rows],
            valid=self.truth.column("valid")[rows],
            ground_v1=self._ground(rows, "ground_v1"),
            ground_v2=self._ground(rows, "ground_v2"),
            ego1_SE3_ego0=self.frames.ego1_SE3_ego0(t),
            ego_SE3_sensor=self.frames.ego_SE3_lidar.get(SENSOR),
            official_mask=official_mask,
        )

    def rigid(self, t: int) -> NDArray[np.float64]:
        """Flow of a static scene of a frame, metres  # (N, 3)."""
        return displacement(by_columns(self.frames.xyz(t)), self.frames.ego1_SE3_ego0(t))

    def v1_mask(self, t: int) -> NDArray[np.bool_]:
        """Points of a frame that a v1 submission holds, by rule  # (N,)."""
        return rule_mask(self.frames, self.ground, t)

    def pair(self, t: int, truth: FrameTruth) -> Pair:
        """What a baseline sees of a frame."""
        rows = self.frames.span(t)
        ground1 = self._ground(self.frames.span(t + 1), "ground_v1")
        return Pair(
            truth=truth,
            solid0=~(self._ground(rows, "ground_v1") & self._ground(rows, "ground_v2")),
            points1=self.frames.xyz(t + 1)[~ground1],
        )

    def _ground(self, rows: slice, name: str) -> NDArray[np.bool_]:
        return ground_rows(self.ground, rows, name)
