# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The entry point of every stage: arguments, parameters, errors in one sentence, and an end that leaves nothing."""

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import InputError
from stages.pipeline.alone import alone
from stages.pipeline.ending import end_on_signals, end_with_dvc
from stages.pipeline.machine import machine_fault
from stages.pipeline.parameters import PARAMS_FILE, from_mapping, read_file
from stages.pipeline.source import DataParameters

SPLITS = ("train", "val", "test")


def stage_main(name: str, main: Callable[..., None], parameters: type) -> None:
    """Run a stage from the command line.

    Args:
        name: name of the stage and of its section in params.yaml.
        main: function of `parameters`, the stage's section, and where it names them, of `split` and of `data`,
            the section `data`.
        parameters: dataclass of the section.
    """
    arguments = _parse(name, main)
    end_on_signals(name)
    if "DVC_STAGE" in os.environ:
        end_with_dvc()
    try:
        check_parameters(arguments.params)
        with alone(name, getattr(arguments, "split", None)):
            main(**_values(arguments, name, main, parameters))
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        sys.exit(f"error: {name} stopped: {fault}; what is finished is kept, then run `dvc repro` again")


def _values(arguments: argparse.Namespace, name: str, main: Callable[..., None], parameters: type) -> dict[str, Any]:
    content = read_file(arguments.params)
    values: dict[str, Any] = {"parameters": from_mapping(name, parameters, content.get(name))}
    wanted = inspect.signature(main).parameters
    if "split" in wanted:
        values["split"] = arguments.split
    if "data" in wanted:
        values["data"] = from_mapping("data", DataParameters, content.get("data"))
    return values


def check_parameters(file: Path = PARAMS_FILE) -> None:
    """Check every section of the parameter file, so that a bad value stops the first stage and not the last.

    Raises:
        InputError: naming the parameter.
    """
    for section, values in read_file(file).items():
        from_mapping(section, _parameters_class(section, file), values)


def _parameters_class(section: str, file: Path) -> type:
    if section == "data":
        return DataParameters
    module = f"stages.{section}"
    try:
        found: type | None = getattr(importlib.import_module(module), "Parameters", None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        found = None
    if found is None:
        raise InputError(f"{file} has a section {section!r} that no stage reads")
    return found


def _parse(name: str, main: Callable[..., None]) -> argparse.Namespace:
    module = sys.modules["__main__"]
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=module.__doc__)
    if "split" in inspect.signature(main).parameters:
        parser.add_argument("--split", choices=SPLITS, required=True, help="part of the data to work on")
    parser.add_argument("--params", type=Path, default=PARAMS_FILE, help="parameter file (default: %(default)s)")
    return parser.parse_args()
