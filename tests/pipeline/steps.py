# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of one log for tests of the store: they square a number and count how often they ran."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError


@dataclass(frozen=True)
class Parameters:
    power: int


def power_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """The number in the input to a power; leaves a mark beside the input each time it runs."""
    source = inputs["number"]
    with (source.parent / f"{log_id}.runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")
    outputs["power"].write_text(str(int(source.read_text()) ** parameters.power))


def fragile_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """As `power_log`, but the number says what goes wrong: -1 a user's error, -2 a defect, -9 a killed worker."""
    number = int(inputs["number"].read_text())
    if number == -1:
        raise InputError("number is negative; make it positive")
    if number == -2:
        raise ZeroDivisionError("a defect")
    if number == -9:
        os.kill(os.getpid(), signal.SIGKILL)
    power_log(log_id, inputs, outputs, parameters)


def slow_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """As `power_log` with half its output written first and a pause before the rest."""
    outputs["power"].write_text("half of")
    time.sleep(0.4)
    power_log(log_id, inputs, outputs, parameters)


def waiting_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """As `fragile_log`, but half its output is written first and the rest when the file `go` lies beside the input.

    A number of -7 cancels the Slurm job that computes it.
    """
    if inputs["number"].read_text() == "-7":
        subprocess.run(["scancel", os.environ["SLURM_JOB_ID"]], check=True)
        time.sleep(60)
    outputs["power"].write_text("half of")
    (inputs["number"].parent / f"{log_id}.begun").touch()
    while not (inputs["number"].parent / "go").exists():
        time.sleep(0.05)
    fragile_log(log_id, inputs, outputs, parameters)


def one_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """Reads nothing and writes a one."""
    outputs["one"].write_text("1")
