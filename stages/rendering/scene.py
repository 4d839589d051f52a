# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of one log, whatever of it there is, and of one of its pairs as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import rigid_flow, transform_points
from stages.labels.boxes import Boxes, boxes_by_sweep, read_boxes

MOVING = 0.05  # m a pair; what moves farther by itself is dynamic in Argoverse's first scene-flow challenge

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """One pair of sweeps; flow is residual, in the axes of ego frame 1, m.

    Attributes:
        frame: number of its first sweep.
        seconds: time between the sweeps.
        points: points of the first sweep in its ego frame, m  # (N, 3)
        ground: ground points  # (N,)
        truth: true flow, None where there is none  # (N, 3)
        valid: points whose truth counts  # (N,)
        predictions: flow of each prediction by its name  # (N, 3)
        outlines: boxes of moving objects from above, closed, the front marked  # (K, 2) each
    """

    frame: int
    seconds: float
    points: Points
    ground: Mask
    truth: Points | None
    valid: Mask
    predictions: Mapping[str, Points]
    outlines: list[Points]

    @cached_property
    def moving(self) -> Mask:
        """Points off the ground that move by truth; none where there is no truth."""
        if self.truth is None:
            return np.zeros(len(self.points), dtype=np.bool_)
        return np.asarray((length(self.truth) >= MOVING) & self.valid & ~self.ground)

    def error(self, name: str) -> NDArray[np.float64] | None:
        """End-point error (N,) of a prediction, m; 0 where truth is not valid, None where there is no truth."""
        if self.truth is None or name not in self.predictions:
            return None
        return np.where(self.valid, length(self.predictions[name] - self.truth), 0.0)


@dataclass(frozen=True)
class LogScene:
    """Files of one log.

    Attributes:
        frames: its sweeps.
        ground: mask of ground points, if there is one.
        truth: true flow, if the log is annotated.
        predictions: residual flow by the name of who predicted.
        boxes_path: its boxes, if the log is annotated.
        labels: fused labels of training, if there are some.
    """

    frames: LogFrames
    ground: LogColumns | None
    truth: LogColumns | None
    predictions: Mapping[str, LogColumns]
    boxes_path: Path | None
    labels: LogColumns | None = None

    @classmethod
    def open(cls, data: Path, split: str, log_id: str, predictions: Mapping[str, Path]) -> "LogScene":
        """Open what there is of a log.

        Args:
            data: folder that holds `frames`, `ground`, `truth`, `boxes` and `clusters`.
            split: name of the split.
            log_id: id of the log.
            predictions: file of each prediction by its name; one that does not exist is left out.

        Raises:
            InputError: the log has no frames, or a file belongs to other frames.
        """
        paths = {kind: data / kind / split / f"{log_id}.h5" for kind in ("frames", "ground", "truth", "clusters")}
        paths["boxes"] = data / "boxes" / split / f"{log_id}.parquet"
        paths.update({f"predictions/{name}": path for name, path in predictions.items()})
        return cls.of({kind: path if path.exists() else None for kind, path in paths.items()}, log_id)

    @classmethod
    def of(cls, paths: Mapping[str, Path | None], log_id: str) -> "LogScene":
        """Open a log's files by their kinds, `predictions/<name>` for predictions; None is what it does not have."""
        path = paths["frames"]
        if path is None:
            raise InputError(f"log {log_id} has no frames; name one that the split has")
        frames = LogFrames.open(path)

        def columns(kind: str, schema: str) -> LogColumns | None:
            file = paths.get(kind)
            return None if file is None else LogColumns.open(file, schema, frames)

        names = [kind.partition("/")[2] for kind in paths if kind.startswith("predictions/")]
        found = {name: columns(f"predictions/{name}", "predictions/1") for name in names}
        return cls(
            frames=frames,
            ground=columns("ground", "ground/1"),
            truth=columns("truth", "truth/1"),
            predictions={name: file for name, file in found.items() if file is not None},
            boxes_path=paths.get("boxes"),
            labels=columns("clusters", "clusters/1"),
        )

    @cached_property
    def boxes(self) -> list[Boxes] | None:
        """Boxes of each sweep; None where the log is not annotated."""
        if self.boxes_path is None:
            return None
        return list(boxes_by_sweep(*read_boxes(self.boxes_path), self.frames.timestamp_ns))

    def pair(self, frame: int) -> Pair:
        """The pair that begins with sweep `frame`; it must be one of `frames.pairs()`."""
        rows = self.frames.span(frame)
        points = self.frames.xyz(frame).astype(np.float64)
        with_truth = self.truth is not None and bool(self.truth.column("has_flow")[frame])
        truth, valid = None, np.ones(len(points), dtype=np.bool_)
        if self.truth is not None and with_truth:
            truth = self.truth.column("flow")[rows] - rigid_flow(points, self.frames.ego1_SE3_ego0(frame))
            valid = self.truth.column("valid")[rows]
        return Pair(
            frame=frame,
            seconds=float(self.frames.timestamp_ns[frame + 1] - self.frames.timestamp_ns[frame]) * 1e-9,
            points=points,
            ground=np.zeros(len(points), bool) if self.ground is None else self.ground.column("ground")[rows],
            truth=truth,
            valid=valid,
            predictions={
                name: file.column("residual")[rows].astype(np.float64)
                for name, file in self.predictions.items()
                if file.column("has_flow")[frame]
            },
            outlines=self._outlines(frame),
        )

    def _outlines(self, frame: int) -> list[Points]:
        if self.boxes is None:
            return []
        first, second = self.boxes[frame], self.boxes[frame + 1]
        later = {int(track): row for row, track in enumerate(second.track)}
        outlines = []
        for row, track in enumerate(first.track):
            if int(track) not in later:
                continue
            centre = transform_points(self.frames.ego1_SE3_ego0(frame), first.ego_SE3_box[row, :3, 3][None])[0]
            if np.linalg.norm(second.ego_SE3_box[later[int(track)], :3, 3] - centre) >= MOVING:
                outlines.append(outline(first.size[row], first.ego_SE3_box[row]))
        return outlines


def length(vectors: Points) -> NDArray[np.float64]:
    """Lengths (N,) of vectors (N, 3)."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))  # several times as fast as linalg.norm


def outline(size: NDArray[np.float64], ego_SE3_box: NDArray[np.float64]) -> Points:
    """A box from above as one closed path with a tick out of its front.

    Args:
        size: length, width, height, m  # (3,)
        ego_SE3_box: pose of its centre  # (4, 4)

    Returns:
        (8, 2) in metres.
    """
    x, y = size[0] / 2, size[1] / 2
    path = [[x, 0], [x, y], [-x, y], [-x, -y], [x, -y], [x, 0], [x + 0.8, 0], [x, 0]]
    return transform_points(ego_SE3_box, np.array([[a, b, 0.0] for a, b in path]))[:, :2]
