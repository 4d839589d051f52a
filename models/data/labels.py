# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What training compares with: the labels of a log, by the name of their folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.data.pairs import SweepPair, frame_before, read_ground, read_pair, read_points, rigid_change
from models.data.samples import Sample
from models.errors import InputError
from models.losses.parameters import Labels

SCHEMA = {"clusters": "clusters/1", "truth": "truth/1", "teacher": "predictions/1"}


@dataclass(frozen=True)
class TrainLog:
    """A log open for training; all columns are memory maps."""

    frames: LogFrames
    ground: NDArray[np.bool_]  # (P,)
    ground_path: Path
    labels: LogColumns
    kind: Labels
    sweeps: int = 2  # that a sample holds; 3 with the one before

    def pairs(self) -> NDArray[np.int64]:
        """First sweeps of the pairs that can be trained on."""
        pairs = self.frames.pairs()
        if self.sweeps == 3:
            pairs = pairs[[frame_before(self.frames, int(frame)) != frame for frame in pairs]]
        return pairs if self.kind == "clusters" else pairs[self.labels.column("has_flow")[pairs]]

    def sample(self, frame: int) -> Sample:
        """The pair of sweep `frame` and the next, uncut."""
        pair = read_pair(self.frames, self.ground, frame, self.sweeps)
        read = {"clusters": self._clusters, "truth": self._truth, "teacher": self._teacher}
        return replace(read[self.kind](pair, frame), before=pair.before)

    def _clusters(self, pair: SweepPair, frame: int) -> Sample:
        label = self.labels.column("label")
        labels0 = label[self.frames.span(frame)][pair.rows0]
        labels1 = label[self.frames.span(frame + 1)][pair.rows1]
        before = None
        if pair.rows_before is not None:
            before = label[self.frames.span(pair.frame_before)][pair.rows_before]
        return Sample(pair.points0, pair.points1, labels0=labels0, labels1=labels1, labels_before=before)

    def _truth(self, pair: SweepPair, frame: int) -> Sample:
        span, rows = self.frames.span(frame), pair.rows0
        rigid = rigid_change(self.frames.ego1_SE3_ego0(frame), read_points(self.frames, frame, rows))
        total = self.labels.column("flow")[span].take(rows, axis=0)
        valid, category = (self.labels.column(name)[span][rows] for name in ("valid", "category"))
        flow = np.where(valid, (total - rigid).T, np.float32(0)).T
        return Sample(pair.points0, pair.points1, flow=flow, valid=valid, category=category)

    def _teacher(self, pair: SweepPair, frame: int) -> Sample:
        span, rows = self.frames.span(frame), pair.rows0
        flow, covered = (self.labels.column(name)[span][rows] for name in ("residual", "covered"))
        category = np.zeros(len(rows), dtype=np.uint8)
        return Sample(pair.points0, pair.points1, flow=flow, valid=covered, category=category)


def open_logs(
    frames: Path, ground: Path, labels: Path, kind: Labels, log_ids: list[str], sweeps: int = 2
) -> list[TrainLog]:
    """Open logs for training.

    Args:
        frames: Folder of frames files.
        ground: Folder of ground masks.
        labels: Folder of labels of `kind`; no other labels are opened.
        kind: Which labels they are.
        log_ids: Logs to open.
        sweeps: How many sweeps a sample holds, 2 or 3.

    Returns:
        The logs that have labels; a log without truth is left out as long as another has some.

    Raises:
        InputError: A file is missing or damaged, or no log has truth.
    """
    with_labels = [log for log in log_ids if (labels / f"{log}.h5").exists()]
    without = sorted(set(log_ids) - set(with_labels))
    if without and (kind != "truth" or not with_labels):
        remedy = "name a teacher in teach.source" if kind == "teacher" else f"train.labels={kind} cannot use it"
        raise InputError(f"log {without[0]} has no {kind} in {labels}; {remedy}")
    opened = [_open_log(frames / f"{log}.h5", ground / f"{log}.h5", labels / f"{log}.h5", kind) for log in with_labels]
    return [replace(log, sweeps=sweeps) for log in opened]


def _open_log(frames_path: Path, ground_path: Path, labels_path: Path, kind: Labels) -> TrainLog:
    frames = LogFrames.open(frames_path)
    ground = read_ground(LogColumns.open(ground_path, "ground/1", frames))
    return TrainLog(frames, ground, ground_path, LogColumns.open(labels_path, SCHEMA[kind], frames), kind)
