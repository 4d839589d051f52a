# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Score a split: every log once, totals merged exactly, one report and its tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.data.logfile import LogFrames, log_ids
from stages.evaluation.accumulate import Accumulator, Totals
from stages.evaluation.bootstrap import MIN_LOGS, BootstrapParameters, intervals, resampled
from stages.evaluation.families import all_metrics
from stages.evaluation.scene import num_sweeps
from stages.evaluation.scene_scores import scene_log
from stages.evaluation.scores import BLOCK, ScoreParameters, baseline_log, model_log, read_scores
from stages.evaluation.selection import v1_phases
from stages.evaluation.tables import (
    Rows,
    class_rows,
    distance_rows,
    log_rows,
    speed_rows,
    write_table,
)
from stages.frames.write import atomic
from stages.pipeline.logs import LogTask, map_logs

PREDICTIONS = ("model", "nearest", "ego_motion", "no_motion")
_PACKAGES = ("numpy", "scipy", "torch", "h5py")


@dataclass(frozen=True)
class Source:
    """Where the files of a split lie.

    Attributes:
        data: folder that holds `frames`, `truth` and `ground`.
        split: name of the split.
        predictions: each log's predictions, a file or a folder.
        mask_zip: v1's official masks, if they are to be used.
    """

    data: Path
    split: str
    predictions: Mapping[str, Path]
    mask_zip: Path | None = None

    def tasks(self, with_predictions: bool) -> list[LogTask]:
        """A task for each log that has frames."""
        folder = self.data / "frames" / self.split
        logs = log_ids(folder)
        sweeps = [LogFrames.open(folder / f"{log}.h5").num_frames for log in logs]
        tasks = []
        for log, count, phase in zip(logs, sweeps, v1_phases(sweeps), strict=True):
            inputs = {kind: self.data / kind / self.split / f"{log}.h5" for kind in ("frames", "truth", "ground")}
            if with_predictions:
                inputs["predictions"] = self.predictions[log]
            if self.mask_zip is not None:
                inputs["masks"], phase = self.mask_zip, 0  # the zip has the frames; other logs do not matter
            tasks.append(LogTask(log, inputs, sweeps=count, arguments={"phase": phase}))
        return tasks


@dataclass(frozen=True)
class Scenes:
    """Scenes of OpenSceneFlow, which bring their own labels.

    Attributes:
        split: name of the split.
        scenes: file of each scene.
        result: field that holds the result of all of them.
        mask_zip: v1's official masks, if they are to be used.
    """

    split: str
    scenes: Mapping[str, Path]
    result: str
    mask_zip: Path | None = None

    def tasks(self) -> list[LogTask]:
        """A task for each scene."""
        sweeps = [num_sweeps(file) for file in self.scenes.values()]
        tasks = []
        for (name, file), count, phase in zip(self.scenes.items(), sweeps, v1_phases(sweeps), strict=True):
            inputs = {"scene": file}
            if self.mask_zip is not None:
                inputs["masks"], phase = self.mask_zip, 0
            tasks.append(LogTask(name, inputs, sweeps=count, arguments={"phase": phase, "result": self.result}))
        return tasks


@dataclass
class SplitScores:
    """Merged scores of a split.

    Attributes:
        totals: of each prediction.
        logs: attributes of the file of the model's scores of each log.
        units: of each prediction, headline tables of what is resampled.
        unit: what that is.
        log_rows: of each prediction, the rows of the table of logs.
    """

    totals: dict[str, Accumulator] = field(default_factory=dict)
    logs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    units: dict[str, list[Totals]] = field(default_factory=dict)
    unit: str = "logs"
    log_rows: dict[str, list[Rows]] = field(default_factory=dict)


def score_logs(source: Source, parameters: ScoreParameters, output: Path) -> None:
    """Score every log into `output/baselines` and `output/model`; what the store has is not computed again."""
    for name, function in (("baselines", baseline_log), ("model", model_log)):
        map_logs(
            f"evaluate-{name}",
            function,
            source.tasks(with_predictions=name == "model"),
            parameters,
            outputs={"scores": output / name},
            suffixes={"scores": ".h5"},
            packages=_PACKAGES,
        )


def score_scenes(scenes: Scenes, parameters: ScoreParameters, output: Path) -> None:
    """Score every scene into `output/baselines` and `output/model`, converting each for as long as it is scored."""
    map_logs(
        "evaluate-scenes",
        scene_log,
        scenes.tasks(),
        parameters,
        outputs={name: output / name for name in ("model", "baselines")},
        suffixes={"model": ".h5", "baselines": ".h5"},
        packages=_PACKAGES,
    )


def merge_scores(output: Path) -> SplitScores:
    """Merge the scores of all logs under `output`, one log in memory at a time."""
    logs = log_ids(output / "model")
    few = len(logs) < MIN_LOGS
    merged = SplitScores(unit=f"blocks of {BLOCK} consecutive frames" if few else "logs")
    for log in logs:
        for folder in ("model", "baselines"):
            scores, attributes = read_scores(output / folder / f"{log}.h5")
            if folder == "model":  # the baselines may score more than the predictions cover
                merged.logs[log] = attributes
            for name, accumulator in scores.totals.items():
                merged.totals.setdefault(name, Accumulator()).merge(accumulator)
                merged.log_rows.setdefault(name, []).append(log_rows(log, accumulator.totals()))
                units = scores.blocks[name] if few else [_joined(scores.blocks[name])]
                merged.units.setdefault(name, []).extend(units)
    return merged


def _joined(blocks: list[Totals]) -> Totals:
    return {key: sum(block[key] for block in blocks) for key in blocks[0]}  # type: ignore[misc]


def report(merged: SplitScores, bootstrap: BootstrapParameters) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Metrics of each prediction and their intervals, and the resampled values as rows of a table."""
    metrics: dict[str, Any] = {}
    bounds: dict[str, Any] = {
        "unit": merged.unit,
        "units": len(next(iter(merged.units.values()), [])),
        "resamples": bootstrap.resamples,
        "seed": bootstrap.seed,
        "level": bootstrap.level,
    }
    draws: dict[str, Rows] = {}
    for name in PREDICTIONS:
        if name not in merged.totals:
            metrics[name] = {}
            continue
        metrics[name] = all_metrics(merged.totals[name].totals())
        values = resampled(merged.units[name], bootstrap)
        bounds[name] = intervals(values, bootstrap.level)
        draws[name] = {"resample": list(range(bootstrap.resamples))}
        draws[name].update({".".join(path): numbers.tolist() for path, numbers in values.items()})
    return {**metrics, "intervals": bounds}, draws


def write_tables(folder: Path, merged: SplitScores, draws: Mapping[str, Rows]) -> None:
    """Write `logs`, `classes`, `distances`, `speeds` and `bootstrap` as Parquet."""
    names = [name for name in PREDICTIONS if name in merged.totals]
    totals = {name: merged.totals[name].totals() for name in names}
    write_table(folder / "logs.parquet", {name: merged.log_rows[name] for name in names})
    for file, rows, key in (
        ("classes", class_rows, "v1_count"),
        ("distances", distance_rows, "range_count"),
        ("speeds", speed_rows, "v2_count"),
    ):
        write_table(folder / f"{file}.parquet", {name: [rows(totals[name])] for name in names if key in totals[name]})
    write_table(folder / "bootstrap.parquet", {name: [draws[name]] for name in names})


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Write a metric file; a NaN in it would be a defect and raises ValueError."""
    with atomic(path) as file:
        file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
