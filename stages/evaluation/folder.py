# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring a folder of predictions that any program made."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.logfile import LogColumns, log_ids
from models.errors import InputError
from stages.evaluation.evaluate import EvaluateParameters, score
from stages.evaluation.protocol import provenance
from stages.evaluation.scene import is_opensceneflow, open_scene
from stages.evaluation.sources import LeaderboardFolder
from stages.evaluation.split import Scenes, Source, write_report
from stages.pipeline.digest import path_digests, value_digest


@dataclass(frozen=True)
class FolderTask:
    """What to score.

    Attributes:
        predictions: our HDF5 files, folders of leaderboard files, or OpenSceneFlow scenes, one for each log.
        data: folder that holds frames, truth, ground and catalog of the split; scenes bring their own.
        split: name of the split.
        result: field of OpenSceneFlow scenes that holds the result.
        output: metric file to write, if any.
        tables: folder for the tables; by default one beside the metric file.
    """

    predictions: Path
    data: Path
    split: str
    result: str | None
    output: Path | None
    tables: Path | None = None


def score_folder(task: FolderTask, parameters: EvaluateParameters) -> dict[str, Any]:
    """Score a folder of predictions; returns the content of a metric file."""
    files = _files(task.predictions)
    masks = Path(parameters.mask_zip) if parameters.mask_zip else None
    scenes = {log for log, file in files.items() if file.is_file() and is_opensceneflow(file)}
    source: Source | Scenes
    if scenes:
        result = _result(task, files, scenes)
        source, catalog = Scenes(task.split, files, result, masks), None
        made = {"format": "opensceneflow", "result": result, "digest": _digest(files)}
    else:
        _require_logs(task, files)
        source, catalog = Source(task.data, task.split, files, masks), task.data / "catalog" / f"{task.split}.json"
        made = _provenance(task.predictions, files, parameters)
    with tempfile.TemporaryDirectory(prefix="sceneflow-") as scratch:
        content = score(source, parameters, catalog, Path(scratch), made, _tables(task))
    if task.output is not None:
        write_report(task.output, content)
    return content


def _files(folder: Path) -> dict[str, Path]:
    """The file or folder of each log."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of predictions")
    files = {file.stem: file for file in sorted(folder.glob("*.h5"))}
    folders = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}
    both = sorted(files.keys() & folders.keys())
    if both:
        raise InputError(f"{folder} has two predictions of log {both[0]}, {both[0]}.h5 and {both[0]}/; remove one")
    return {**files, **folders}


def _result(task: FolderTask, files: Mapping[str, Path], scenes: set[str]) -> str:
    """The field that holds the result of every scene."""
    others = sorted(files.keys() - scenes)
    if others:
        raise InputError(f"{task.predictions} has scenes of OpenSceneFlow and {files[others[0]].name}, which is none")
    fields: dict[str, str] = {}
    for file in files.values():
        with open_scene(file, task.result) as scene:
            fields.setdefault(scene.result, file.name)
    if len(fields) > 1:
        (a, file_a), (b, file_b) = list(fields.items())[:2]
        raise InputError(f"{file_a} holds the result {a} and {file_b} the result {b}; name one with --result")
    return next(iter(fields))


def _provenance(folder: Path, files: Mapping[str, Path], parameters: EvaluateParameters) -> dict[str, Any]:
    """What is known of who made the predictions: what our files say of themselves, or format and digest."""
    formats: dict[str, str] = {}
    for log, path in files.items():
        kind = "h5" if path.is_file() else LeaderboardFolder(path, parameters.frames).version
        formats.setdefault(kind, log)
    if len(formats) > 1:
        (a, log_a), (b, log_b) = list(formats.items())[:2]
        raise InputError(f"{folder} has log {log_a} as {a} and log {log_b} as {b}; score one format at a time")
    if "h5" in formats:
        return provenance({log: LogColumns.open(file, "predictions/1").attributes for log, file in files.items()})
    return {"format": next(iter(formats)), "digest": _digest(files)}


def _digest(files: Mapping[str, Path]) -> str:
    return value_digest({log: path_digests(path) for log, path in files.items()})


def _tables(task: FolderTask) -> Path | None:
    if task.tables is not None or task.output is None:
        return task.tables
    return task.output.with_name(f"{task.output.stem}-tables")


def _require_logs(task: FolderTask, predictions: Mapping[str, Path]) -> None:
    """Every log of the split must be predicted, and nothing else."""
    logs = set(log_ids(task.data / "frames" / task.split))
    if not logs:
        raise InputError(f"{task.data / 'frames' / task.split} has no logs; run `dvc repro ingest@{task.split}`")
    missing, foreign = sorted(logs - predictions.keys()), sorted(predictions.keys() - logs)
    if missing:
        raise InputError(f"{task.predictions} has no predictions of log {missing[0]}; predict every log of the split")
    if foreign:
        raise InputError(f"{task.predictions} has predictions of {foreign[0]}, which is no log of split {task.split}")
