# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher's flow as labels: what it is made from, and predictions of any known format in the form of ours."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.frames.write import write_columns
from stages.labels.inputs import required
from stages.learning.predict import PredictRule
from stages.pipeline.digest import path_digests, value_digest
from stages.pipeline.logs import LogTask, split_tasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.evaluation.scene import Scene

NOBODY = Path("teachers/none")


@dataclass(frozen=True)
class TeachParameters:
    """Who teaches.

    Attributes:
        source: weights file, folder of predictions with a file or folder for each log, or `teachers/none`.
    """

    source: str

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError(f"source must be a path in the project, {NOBODY} for no teacher")

    def rule(self) -> PredictRule:
        """How a teacher of weights predicts: everything that it says is kept."""
        return PredictRule(minimum_length=0.0, precision="fp32")


def is_weights(source: Path) -> bool:
    """Whether a source is a weights file; InputError if it is neither that nor a folder."""
    if source.is_dir():
        return False
    if source.suffix == ".safetensors" and source.is_file():
        return True
    raise InputError(
        f"teach.source {source} is no weights file (.safetensors) and no folder of predictions;"
        " import a checkpoint by `python -m stages.weights import`"
    )


def convert_tasks(split: str, folder: Path) -> list[LogTask]:
    """A task for each log of the split with what the folder holds for it; InputError if it lacks a log."""
    tasks = []
    for task in split_tasks(split, ("frames", "ground")):
        found = next((path for path in (folder / f"{task.log_id}.h5", folder / task.log_id) if path.exists()), None)
        if found is None:
            raise InputError(f"teach.source {folder} has no predictions of log {task.log_id}; predict every log")
        tasks.append(replace(task, inputs={**task.inputs, "source": found}))
    return tasks


def convert_file(
    log_id: str, inputs: Mapping[str, Path | None], outputs: Mapping[str, Path], parameters: None = None
) -> None:
    """Predictions of a log in any format that the evaluation reads, as columns residual, covered, has_flow.

    Args:
        log_id: Id of the log.
        inputs: frames, ground, and source: our file, a folder of leaderboard files, or a scene of OpenSceneFlow.
        outputs: predictions.
        parameters: None.
    """
    import numpy as np

    frames = LogFrames.open(required(inputs, "frames", log_id))
    source = required(inputs, "source", log_id)
    residual = np.zeros((frames.num_points, 3), dtype=np.float32)
    covered = np.zeros(frames.num_points, dtype=np.bool_)
    has_flow = np.zeros(frames.num_frames, dtype=np.bool_)
    with _open(source, frames, LogColumns.open(required(inputs, "ground", log_id), "ground/1", frames)) as teacher:
        for t in map(int, frames.pairs()):
            flow = teacher.flow(t)
            if flow is None:
                continue
            residual[frames.span(t)], covered[frames.span(t)] = flow
            has_flow[t] = True
    if not has_flow.any():
        raise InputError(f"log {log_id}: {source} holds no flow of any pair of its sweeps; write the predictions again")
    if not np.isfinite(residual).all():
        raise InputError(f"log {log_id}: {source} holds flow that is NaN or infinite; write the predictions again")
    write_columns(
        outputs["predictions"],
        "predictions/1",
        {"residual": residual, "covered": covered, "has_flow": has_flow},
        {"log_id": log_id, "frames_digest": frames.digest, "source_digest": value_digest(path_digests(source))},
    )


def _open(source: Path, frames: LogFrames, ground: LogColumns) -> _Files | _Scene:
    from stages.evaluation.scene import is_opensceneflow

    if source.is_file() and is_opensceneflow(source):
        return _Scene(source, frames)
    return _Files(source, frames, ground)


class _Files:
    """Our own file, or a folder of leaderboard files."""

    def __init__(self, path: Path, frames: LogFrames, ground: LogColumns) -> None:
        from stages.evaluation.labels import LogLabels
        from stages.evaluation.predictions import open_predictions
        from stages.evaluation.sources import LeaderboardFolder

        self.frames = frames
        self.ours = open_predictions(path, frames) if path.is_file() else None
        self.folder = LeaderboardFolder(path, "all")
        self.labels = LogLabels(frames, LogColumns(path, {}, {}), ground)  # a teacher's train logs need no truth

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def flow(self, t: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]] | None:
        """Residual flow of a pair (N, 3) and the points that it covers (N,); None without a prediction."""
        import numpy as np

        rows = self.frames.span(t)
        if self.ours is not None:
            if not self.ours.column("has_flow")[t]:
                return None
            return self.ours.column("residual")[rows], self.ours.column("covered")[rows]
        found = self.folder.predict(self.labels, t)
        if found is None:
            return None
        flow, moving = found
        return flow, self.labels.v1_mask(t) if moving is not None else np.ones(len(flow), dtype=np.bool_)


class _Scene:
    """A scene of OpenSceneFlow with one result, its sweeps those of the log point by point; truth is not needed."""

    def __init__(self, path: Path, frames: LogFrames) -> None:
        self.path, self.frames = path, frames

    def __enter__(self) -> _Scene:
        from stages.evaluation.scene import open_sweeps

        with ExitStack() as opened:
            self.scene = opened.enter_context(open_sweeps(self.path))
            self.field = _one_result(self.scene)
            self.number = {stamp: t for t, stamp in enumerate(self.scene.stamps)}
            self.opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def flow(self, t: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]] | None:
        """The scene's total flow less the rigid flow of the log's own points; None without a result."""
        import numpy as np

        from models.geometry import rigid_flow

        number = self.number.get(int(self.frames.timestamp_ns[t]))
        if number is None or self.field not in self.scene.groups[number]:
            return None
        points, total = self.frames.xyz(t), self.scene.column(number, self.field, (3,))
        if len(total) != len(points):
            raise InputError(
                f"scene {self.path}, sweep {self.scene.stamps[number]}: {len(total)} points, but the log's sweep has"
                f" {len(points)}; extract the scene from the same logs"
            )
        return total - rigid_flow(points, self.frames.ego1_SE3_ego0(t)), np.ones(len(points), dtype=np.bool_)


def _one_result(scene: Scene) -> str:
    from stages.evaluation.scene import result_fields

    fields = result_fields(scene.groups)
    if len(fields) != 1:
        found = f"the results {', '.join(fields)}" if fields else "no result"
        raise InputError(f"scene {scene.path} has {found}, wanted one, which teaches; write the scene with that alone")
    return fields[0]
