# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring any folder of predictions, and comparing two metric files, from the command line."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.errors import InputError
from stages.evaluation.compare import comparison
from stages.evaluation.evaluate import EvaluateParameters
from stages.evaluation.folder import FolderTask, score_folder
from stages.evaluation.split import PREDICTIONS
from stages.evaluation.table import headline_table
from stages.pipeline.parameters import PARAMS_FILE, read_parameters

_STAGE = "Without either, the stage itself runs: data/predictions/val into metrics/val.json and data/evaluation/val."
_OF_PREDICTIONS = ("data", "split", "frames", "masks", "missing", "result", "output", "tables")


def is_command(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for more than the stage, which knows `--params` alone."""
    return any(argument.startswith("-") and argument.split("=")[0] != "--params" for argument in arguments)


def run(arguments: list[str]) -> None:
    """Parse and run; a fault in what was given ends in one sentence."""
    given = _parse(arguments)
    try:
        if given.compare:
            text = comparison(*given.compare, *(given.draws or (None, None)))
        else:
            task = FolderTask(
                predictions=given.predictions,
                data=given.data or Path("data"),
                split=given.split or "val",
                result=given.result,
                output=given.output,
                tables=given.tables,
            )
            text = headline_table(score_folder(task, _parameters(given)), PREDICTIONS)
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(text + "\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__, epilog=_STAGE)
    what = result.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", type=Path, metavar="DIR", help="folder of predictions to score")
    what.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="two metric files")
    result.add_argument("--draws", type=Path, nargs=2, metavar="FILE", help="their tables bootstrap.parquet")
    result.add_argument("--data", type=Path, metavar="DIR", help="where frames and truth lie (default: data)")
    result.add_argument("--split", help="split that was predicted (default: val)")
    result.add_argument("--frames", choices=("all", "official"), help="which frames count (default: params.yaml)")
    result.add_argument("--masks", metavar="ZIP", help="official v1 mask zip (default: params.yaml)")
    result.add_argument(
        "--missing", choices=("refuse", "ego_motion"), help="frames not predicted (default: params.yaml)"
    )
    result.add_argument("--result", metavar="FIELD", help="field of OpenSceneFlow scenes that holds the result")
    result.add_argument("--output", type=Path, metavar="FILE", help="metric file to write")
    result.add_argument(
        "--tables", type=Path, metavar="DIR", help="folder for the tables (default: <output>-tables beside --output)"
    )
    result.add_argument("--params", type=Path, default=PARAMS_FILE, help="parameter file (default: %(default)s)")
    return result


def _parse(arguments: list[str]) -> argparse.Namespace:
    line = parser()
    given = line.parse_args(arguments)
    if given.draws and not given.compare:
        line.error("--draws belongs to --compare")
    foreign = [name for name in _OF_PREDICTIONS if given.compare and getattr(given, name) is not None]
    if foreign:
        line.error(f"--{foreign[0]} belongs to --predictions")
    return given


def _parameters(given: argparse.Namespace) -> EvaluateParameters:
    base = read_parameters("evaluate", EvaluateParameters, given.params)
    chosen = {"frames": given.frames, "mask_zip": given.masks, "missing": given.missing}
    try:
        return replace(base, **{name: value for name, value in chosen.items() if value is not None})
    except ValueError as error:
        raise InputError(f"--masks: {error}") from error
