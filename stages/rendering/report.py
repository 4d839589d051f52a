# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a scored split: statistics a log at a time, the frames to show, their pictures, the page."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.data.logfile import log_ids
from stages.frames.write import atomic
from stages.pipeline.logs import LogTask, map_logs, split_tasks
from stages.rendering.birdseye import Scale
from stages.rendering.canvas import View
from stages.rendering.contents import Animated, Contents, Labels, Shown
from stages.rendering.page import page
from stages.rendering.panels import encode, encode_animation, flow_panels, label_panels, panel_strip
from stages.rendering.parameters import RenderParameters
from stages.rendering.scene import LogScene
from stages.rendering.selection import busiest, run_around, worst, worst_place
from stages.rendering.statistics import PREDICTION, FrameStatistics, statistics_log

_CLOSE = 12.0  # m, reach of the pictures of the worst frames
_SMALL = 320  # pixels, their side


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Where the data lie and how pictures of them are drawn."""

    data: Path
    split: str
    parameters: RenderParameters

    @property
    def scale(self) -> Scale:
        """What the colours mean."""
        return Scale(self.parameters.full_speed, self.parameters.full_error)

    def view(self, pixels: int) -> View:
        """The square around the vehicle at a size."""
        return View(self.parameters.reach, pixels)

    def scene(self, log_id: str) -> LogScene:
        """A log of the split with the pipeline's prediction."""
        path = self.data / "predictions" / self.split / f"{log_id}.h5"
        return LogScene.open(self.data, self.split, log_id, {PREDICTION: path})

    def shown(self, frame: FrameStatistics) -> Shown:
        """A frame with its pictures."""
        pair = self.scene(frame.log_id).pair(frame.frame)
        return Shown(frame, flow_panels(pair, [PREDICTION], self.view(self.parameters.pixels), self.scale))

    def close_up(self, frame: FrameStatistics) -> Shown:
        """A frame with pictures of where most of its error is."""
        pair = self.scene(frame.log_id).pair(frame.frame)
        view = View(_CLOSE, _SMALL, worst_place(pair, PREDICTION))
        return Shown(frame, flow_panels(pair, [PREDICTION], view, self.scale, wheel=False))

    def animated(self, frames: Sequence[FrameStatistics], around: FrameStatistics) -> Animated | None:
        """Pairs of one log in a row, truth and prediction beside each other."""
        p = self.parameters.animation
        numbers = [frame.frame for frame in frames if frame.log_id == around.log_id]
        run = run_around(numbers, around.frame, p.frames)
        if not run:
            return None
        scene, view = self.scene(around.log_id), self.view(p.pixels)
        pictures = [
            panel_strip(
                [q for q in flow_panels(scene.pair(frame), [PREDICTION], view, self.scale) if "error" not in q.title]
            )
            for frame in run
        ]
        sides = "Truth and prediction" if scene.truth is not None else "Prediction"
        pairs = "1 pair" if len(run) == 1 else f"{len(run)} pairs"
        text = f"{sides}, {pairs} of log {around.log_id} from frame {run[0]} on."
        data = encode_animation(pictures, p.rate)
        return Animated(data, pictures[0].size, encode(pictures[len(run) // 2]), text)


def write_report(folder: Path, data: Path, metrics: Path, split: str, parameters: RenderParameters) -> None:
    """Write `index.html`, `frames.parquet` and `pictures/*.png` into a folder.

    Args:
        folder: the folder, made anew.
        data: folder of the artifacts.
        metrics: folder of the metric files.
        split: the scored split.
        parameters: what is shown and how.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    frames = split_statistics(data, split, partial)
    drawing = Drawing(data, split, parameters)
    busy = busiest(frames, max(1, parameters.frames))
    contents = Contents(
        split=split,
        parameters=parameters,
        metrics=_read(metrics / f"{split}.json"),
        quality=_read(metrics / "labels.json"),
        tables=data / "evaluation" / split,
        curves=data / "curves" / "plots" / "metrics",
        logs=len(log_ids(data / "frames" / split)),
        annotated=len(log_ids(data / "truth" / split)),
        pairs=len(frames),
        frames=[drawing.shown(frame) for frame in busy[: parameters.frames]],
        worst=[drawing.close_up(frame) for frame in worst(frames, parameters.worst, parameters.least_moving)],
        animated=drawing.animated(frames, busy[0]) if busy else None,
        labels=_labels(drawing),
    )
    for name, picture in _pictures(contents):
        with atomic(partial / "pictures" / f"{name}.png") as file:
            picture.save(file, "PNG", optimize=True)
    with atomic(partial / "index.html") as file:
        file.write_text(page(contents), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def split_statistics(data: Path, split: str, folder: Path) -> list[FrameStatistics]:
    """Statistics of every pair of a split, also as the table `frames.parquet` of a folder."""
    import polars as pl

    tasks = split_tasks(split, ("frames", "ground", "truth", "predictions"), data)
    tables = folder / "frames"
    map_logs(
        "render",
        statistics_log,
        [_renamed(task) for task in tasks],
        None,
        outputs={"frames": tables},
        suffixes={"frames": ".parquet"},
        packages=("numpy", "polars"),
    )
    parts = [pl.read_parquet(file) for file in sorted(tables.glob("*.parquet"))]
    shutil.rmtree(tables)
    if not parts:
        return []
    table = pl.concat(parts)
    table.write_parquet(folder / "frames.parquet", statistics=False)
    return [FrameStatistics(**row) for row in table.iter_rows(named=True)]


def _renamed(task: LogTask) -> LogTask:
    inputs = dict(task.inputs)
    inputs[f"predictions/{PREDICTION}"] = inputs.pop("predictions")
    return dataclasses.replace(task, inputs=inputs)


def _pictures(contents: Contents) -> Iterator[tuple[str, Any]]:
    """Pictures for `dvc plots`, by names that say what they show and not which log it was."""
    for number, shown in enumerate(contents.frames, start=1):
        yield f"frame-{number}", panel_strip(shown.panels)
    if contents.labels.panels:
        yield "labels", panel_strip(contents.labels.panels)


def _labels(drawing: Drawing) -> Labels:
    """Labels of the sweep of the first training log that has most of them, and which one that is."""
    logs = log_ids(drawing.data / "clusters" / "train")
    if not logs:
        return Labels([], "")
    scene = LogScene.open(drawing.data, "train", logs[0], {})
    if scene.labels is None or not len(scene.frames.pairs()):
        return Labels([], "")
    column = scene.labels.column("label")
    counts = [int(np.count_nonzero(column[scene.frames.span(int(t))])) for t in scene.frames.pairs()]
    frame = int(scene.frames.pairs()[int(np.argmax(counts))])
    panels = label_panels(scene.pair(frame), column[scene.frames.span(frame)], drawing.view(drawing.parameters.pixels))
    return Labels(panels, f"Training log {logs[0]}, frame {frame}")


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.is_file() else {}
