# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring any folder of predictions, and comparing two metric files, from the command line."""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.data.logfile import LogColumns, log_ids
from models.errors import InputError
from stages.evaluation.compare import comparison
from stages.evaluation.evaluate import EvaluateParameters, score
from stages.evaluation.protocol import provenance
from stages.evaluation.scene_import import import_scene, is_opensceneflow
from stages.evaluation.split import PREDICTIONS, Source, write_report
from stages.evaluation.table import headline_table
from stages.frames.write import atomic
from stages.pipeline.parameters import PARAMS_FILE, read_parameters

OPTIONS = ("--predictions", "--compare")


@dataclass(frozen=True)
class FolderTask:
    """What to score.

    Attributes:
        predictions: our HDF5 files, folders of leaderboard files, or OpenSceneFlow scenes, one for each log.
        data: folder that holds frames, truth, ground and catalog of the split; scenes bring their own.
        split: name of the split.
        result: field of OpenSceneFlow scenes that holds the result.
        output: metric file to write, if any.
    """

    predictions: Path
    data: Path
    split: str
    result: str | None
    output: Path | None


def run(arguments: list[str]) -> None:
    """Parse and run; a fault in what was given ends in one sentence."""
    given = _parse(arguments)
    try:
        if given.compare:
            text = comparison(*given.compare, *(given.draws or (None, None)))
        else:
            task = FolderTask(given.predictions, given.data, given.split, given.result, given.output)
            text = headline_table(score_folder(task, _parameters(given)), PREDICTIONS)
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(text + "\n")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", type=Path, metavar="DIR", help="folder of predictions to score")
    what.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="two metric files")
    parser.add_argument("--draws", type=Path, nargs=2, metavar="FILE", help="their tables bootstrap.parquet")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where frames and truth lie")
    parser.add_argument("--split", default="val", help="split that was predicted")
    parser.add_argument("--frames", choices=("all", "official"), help="which frames count (default: params.yaml)")
    parser.add_argument("--masks", metavar="ZIP", help="official v1 mask zip")
    parser.add_argument("--missing", choices=("refuse", "ego_motion"), default="refuse", help="frames not predicted")
    parser.add_argument("--result", help="field of OpenSceneFlow scenes that holds the result")
    parser.add_argument("--output", type=Path, metavar="FILE", help="metric file to write")
    parser.add_argument("--params", type=Path, default=PARAMS_FILE, help="parameter file (default: %(default)s)")
    return parser.parse_args(arguments)


def _parameters(given: argparse.Namespace) -> EvaluateParameters:
    base = read_parameters("evaluate", EvaluateParameters, given.params)
    frames = given.frames or base.frames
    try:
        return replace(base, frames=frames, mask_zip=given.masks or base.mask_zip, missing=given.missing)
    except ValueError as error:
        raise InputError(f"--masks: {error}") from error


def score_folder(task: FolderTask, parameters: EvaluateParameters) -> dict[str, Any]:
    """Score a folder of predictions; returns the content of a metric file."""
    if not task.predictions.is_dir():
        raise InputError(f"{task.predictions} is not a folder of predictions")
    with tempfile.TemporaryDirectory(prefix="sceneflow-") as scratch:
        work = Path(scratch)
        files = sorted(task.predictions.glob("*.h5"))
        if files and is_opensceneflow(files[0]):
            task = _imported(task, files, work / "data")
            files = sorted(task.predictions.glob("*.h5"))
        predictions = {file.stem: file for file in files}
        predictions.update({folder.name: folder for folder in task.predictions.iterdir() if folder.is_dir()})
        _require_logs(task, predictions)
        source = Source(task.data, task.split, predictions, _zip(parameters))
        made = {
            log: LogColumns.open(file, "predictions/1").attributes
            for log, file in predictions.items()
            if file.is_file()
        }
        catalog = task.data / "catalog" / f"{task.split}.json"
        content = score(source, parameters, catalog, work / "evaluation", provenance(made))
    if task.output is not None:
        write_report(task.output, content)
    return content


def _zip(parameters: EvaluateParameters) -> Path | None:
    return Path(parameters.mask_zip) if parameters.mask_zip else None


def _imported(task: FolderTask, files: list[Path], data: Path) -> FolderTask:
    """Scenes turned into our files, with a catalog that names them by their content."""
    for file in files:
        import_scene(file, data, task.split, task.result)
    frames = data / "frames" / task.split
    digests = {
        log: str(LogColumns.open(frames / f"{log}.h5", "frames/1").attributes["digest"]) for log in log_ids(frames)
    }
    catalog = data / "catalog" / f"{task.split}.json"
    with atomic(catalog) as file:
        file.write_text(json.dumps(digests, indent=0, sort_keys=True) + "\n")
    return replace(task, data=data, predictions=data / "predictions" / task.split)


def _require_logs(task: FolderTask, predictions: dict[str, Path]) -> None:
    """Every log of the split must be predicted, and nothing else."""
    logs = set(log_ids(task.data / "frames" / task.split))
    if not logs:
        raise InputError(f"{task.data / 'frames' / task.split} has no logs; run `dvc repro ingest@{task.split}`")
    missing, foreign = sorted(logs - predictions.keys()), sorted(predictions.keys() - logs)
    if missing:
        raise InputError(f"{task.predictions} has no predictions of log {missing[0]}; predict every log of the split")
    if foreign:
        raise InputError(f"{task.predictions} has predictions of {foreign[0]}, which is no log of split {task.split}")
