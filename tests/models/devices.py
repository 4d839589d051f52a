# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Trains on one GPU and on two, by the stage itself: `python -m tests.models.devices --data DATA [RESULTS]`.

DATA is a project's `data/` with frames, ground and clusters of real logs. Each log stands in for `COPIES`, so that an
epoch has enough steps. Throughput is compared at the same batch for a GPU, the curve at the same batch for all.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from models.device import device_name
from models.errors import InputError
from stages.pipeline.parameters import read_file
from tests.kernels.timing import row, shown, write_rows
from tests.models.traffic_run import PROJECT, set_values

COPIES = 48
CHANGES = {
    "train.model.range": [-51.2, -51.2, -1.4, 51.2, 51.2, 4.6],
    "train.model.voxel": 0.2,
    "train.model.width": 32,
    "train.precision": "bf16",
    "train.held_out": 0.0,
    "train.learning_rate": 0.001,
    "train.augment.drop": 0.0,
}
RUNNING: list[subprocess.Popen[str]] = []  # trainings, to be ended with this process
WARM = 0.25  # share of the steps that are not timed


@dataclass(frozen=True)
class Training:
    """One training: how many devices, the batch over all of them, epochs, and the first GPU that it takes."""

    devices: int
    batch: int
    epochs: int
    gpu: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.devices}x{self.batch}"


def lay_out(training: Training, data: Path, work: Path) -> Path:
    """Make the training's folder: parameters, and links to each log under several names."""
    folder = work / training.name
    for kind in ("frames", "ground", "clusters"):
        target = folder / "data" / kind / "train"
        target.mkdir(parents=True, exist_ok=True)
        for path in (data / kind / "train").glob("*.h5"):
            for copy in range(COPIES):
                (target / f"{copy:02}-{path.name}").symlink_to(path.resolve())
    base = PROJECT / "params.yaml"
    content = read_file(base)
    changes = {**CHANGES, "train.batch": training.batch, "train.epochs": training.epochs}
    set_values(content, changes, f"training {training.name}", base)
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def train(training: Training, data: Path, work: Path) -> tuple[list[float], list[float]]:
    """Steps a second of each timed stretch of ten steps, and the loss of each epoch."""
    folder = lay_out(training, data, work)
    gpus = ",".join(str(training.gpu + number) for number in range(training.devices))
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": gpus,
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
        "SCENEFLOW_DEVICE": "cuda",
        "SCENEFLOW_DEVICES": str(training.devices),
        "SCENEFLOW_STORE": str(folder / "store"),
        "SCENEFLOW_WORKERS": str(8 * training.devices),
    }
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        RUNNING.append(process)
        seen = read_bar(process.stderr, folder / "train.log")
    if process.returncode:
        raise InputError(f"training {training.name} ended with {process.returncode}: {seen.rest[-300:]}")
    curve = next((folder / "data/curves").rglob("metrics.csv"), None)
    losses = [] if curve is None else column(curve, "train/loss")
    return seen.rates(), losses


class Bar:
    """When which step was told by the progress bar."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}
        self.total = 0
        self.rest = ""

    def rates(self, stretch: int = 10) -> list[float]:
        """Steps a second from one told step to one at least `stretch` later, after the warm part."""
        told = [(step, at) for step, at in sorted(self.times.items()) if step >= WARM * self.total]
        rates, (first, start) = [], told[0]
        for step, at in told[1:]:
            if step - first >= stretch:
                rates.append((step - first) / (at - start))
                first, start = step, at
        return rates


def read_bar(stream: Any, log: Path) -> Bar:
    """Follow a progress bar to its end; all that is read goes to the log too."""
    with log.open("w", buffering=1) as kept:
        return _followed(stream, kept)


def _followed(stream: Any, kept: TextIO) -> Bar:
    bar, line = Bar(), ""
    while character := stream.read(1):
        line += character
        if character not in "\r\n]":
            continue
        kept.write(line + "\n" * (character != "\n"))
        if found := re.search(r"train: +\d+%.*?(\d+)/(\d+) \[", line):
            bar.times.setdefault(int(found[1]), time.monotonic())
            bar.total = int(found[2])
        elif line.strip():
            bar.rest += line
        line = ""
    return bar


def column(file: Path, name: str) -> list[float]:
    """A column of a CSV file without its empty cells."""
    names, *rows = [line.split(",") for line in file.read_text().splitlines()]
    place = names.index(name)
    return [float(values[place]) for values in rows if values[place]]


def main() -> None:
    """Train three times and write the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.devices", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", help="file to write; rows of other cases in it stay")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".scratch/devices"))
    parser.add_argument("--batch", type=int, default=8, help="pairs a GPU")
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    batch = given.batch
    alone, curve = Training(1, batch, given.epochs, 0), Training(1, 2 * batch, given.epochs, 1)
    both = Training(2, 2 * batch, given.epochs, 0)
    signal.signal(signal.SIGTERM, _ended)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(2) as pool:  # each on a GPU of its own
        for training, found in zip(
            (alone, curve), pool.map(lambda one: train(one, given.data, given.work), (alone, curve)), strict=True
        ):
            rows.append(told(training, *found))
    write_rows(given.results, rows)
    rows.append(told(both, *train(both, given.data, given.work)))
    ratio = rows[2]["value"] / rows[0]["value"]
    rows.append(row("two_gpus_over_one", [ratio], "times", device_name("cuda"), batch_of_a_gpu=batch))
    print(shown(rows[-1]))
    write_rows(given.results, rows)


def _ended(number: int, frame: object) -> None:
    for process in RUNNING:
        process.kill()
    os._exit(128 + number)


def told(training: Training, rates: list[float], losses: list[float]) -> dict[str, Any]:
    """The row of a training, printed as it ends."""
    case = f"train_{training.devices}_gpus_batch_{training.batch}"
    pairs = [rate * training.batch for rate in rates]
    found = row(case, pairs, "pairs/s", device_name("cuda"), loss=[float(f"{loss:.4g}") for loss in losses])
    print(shown(found), found["loss"], flush=True)
    return found


if __name__ == "__main__":
    main()
