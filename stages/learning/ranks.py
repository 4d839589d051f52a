# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training on several devices of one machine: this process drives the first and starts one for each of the others.

Each opens the logs itself, so nothing but names is handed over; the first alone writes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from models.data.logfile import log_ids
from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.pipeline.machine import machine_fault
from stages.pipeline.parameters import from_mapping

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch import nn

    from models.data.labels import TrainLog

_GRACE = 15.0  # s that the other processes get to end with this one
_TOLD = 3  # exit status of a process that told what is wrong


@dataclass(frozen=True)
class Run:
    """A training as every process is told it.

    Attributes:
        data: folder of frames, ground and labels.
        parameters: what to train and how.
        device: cpu or cuda.
        devices: how many, on each machine.
        checkpoint: where the state after each epoch lies.
        workers: processes that read ahead for each device.
        compiled: compile the network for a GPU.
        nodes: how many machines.
    """

    data: Path
    parameters: TrainParameters
    device: str
    devices: int
    checkpoint: Path
    workers: int
    compiled: bool
    nodes: int = 1

    def to_json(self) -> str:
        """The run as text for another process."""
        return json.dumps({**asdict(self), "data": str(self.data), "checkpoint": str(self.checkpoint)})

    @classmethod
    def from_json(cls, text: str) -> Run:
        """The run that another process wrote down."""
        content: Mapping[str, Any] = json.loads(text)
        parameters = from_mapping("train", TrainParameters, content["parameters"])
        paths = {name: Path(content[name]) for name in ("data", "checkpoint")}
        return cls(**{**content, **paths, "parameters": parameters})

    def check_devices(self) -> None:
        """InputError if this machine has not as many GPUs."""
        import torch

        if self.device == "cuda" and torch.cuda.device_count() < self.devices:
            raise InputError(f"{self.devices} devices are asked for, but torch sees {torch.cuda.device_count()} GPUs")

    def logs(self) -> list[TrainLog]:
        """The logs to train on; InputError if there are labels missing."""
        from models.data.labels import open_logs

        kind = self.parameters.labels
        frames, ground, labels = (self.data / name / "train" for name in ("frames", "ground", kind))
        return open_logs(frames, ground, labels, kind, log_ids(frames), self.parameters.sweeps)

    def fit(self, logger: Logger | Sequence[Logger] | None, logs: Sequence[TrainLog]) -> nn.Module:
        """Train in this process, on its device or its share of several."""
        from models.training.fit import fit

        return fit(
            logs,
            self.parameters,
            self.device,
            self.checkpoint,
            logger,
            self.workers,
            self.devices,
            self.compiled,
            self.nodes,
        )


Fit = Callable[[Run, "Sequence[Logger]", "Sequence[TrainLog]"], "nn.Module"]


def fit_on_all(run: Run, logger: Logger | Sequence[Logger] | None, logs: Sequence[TrainLog]) -> nn.Module:
    """Train on all devices of this machine; returns the trained network.

    Raises:
        InputError: The batch cannot be divided, or there are not as many GPUs.
    """
    run.parameters.pairs_at_a_time(run.devices)
    if run.devices == 1:
        return run.fit(logger, logs)
    import torch

    run.check_devices()
    with _other_ranks(run):
        network = run.fit(logger, logs)
        torch.distributed.destroy_process_group()
    return network


@contextmanager
def _other_ranks(run: Run) -> Iterator[None]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = [_start(run, rank, port) for rank in range(1, run.devices)]
    before = dict(os.environ)
    os.environ.update(_environment(0, run.devices, port))
    done = threading.Event()
    threading.Thread(target=_watch, args=(others, done), daemon=True).start()
    try:
        with _told_of_the_first(others):
            yield
        for other in others:
            with suppress(subprocess.TimeoutExpired):  # the training is finished: one that lingers is ended below
                other.process.wait(_GRACE)
    finally:
        done.set()
        os.environ.clear()
        os.environ.update(before)
        for other in others:
            other.process.kill()  # those that ended are not touched
            other.process.wait()
            other.told.close()


class Other(NamedTuple):
    """A process of another device."""

    process: subprocess.Popen[bytes]
    told: IO[bytes]  # what is wrong, where it ended with `_TOLD`

    def sentence(self) -> str:
        """What it told."""
        return os.pread(self.told.fileno(), 1 << 16, 0).decode(errors="replace")


def _start(run: Run, rank: int, port: int) -> Other:
    told = TemporaryFile()
    command = [sys.executable, "-m", "stages.learning.ranks", run.to_json(), str(told.fileno())]
    environment = {**os.environ, **_environment(rank, run.devices, port)}
    return Other(subprocess.Popen(command, env=environment, pass_fds=[told.fileno()]), told)


@contextmanager
def _told_of_the_first(others: Sequence[Other]) -> Iterator[None]:
    """Name the process that ended first: what torch raises here is that it does not answer."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(1.0)  # its connection ends a moment before it does
        how = _failure(others)
        if how is None or machine_fault(error):
            raise
        raise InputError(f"the training of another device {how}") from error


def _failure(others: Sequence[Other]) -> str | None:
    """How the first that failed ended; None if all run or ended well."""
    failed = [other for other in others if other.process.poll()]
    if not failed:
        return None
    status = failed[0].process.returncode
    if status == _TOLD:
        return f"stopped: {failed[0].sentence()}"
    return f"was killed by signal {-status}" if status < 0 else "failed; its message is above"


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What torch's launcher would set."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "sceneflow",
    }


def _watch(others: Sequence[Other], done: threading.Event) -> None:
    """End this process if another failed or was killed before all is done: it would wait for that one."""
    while not done.wait(0.5):
        how = _failure(others)
        if how is None:
            continue
        if done.wait(_GRACE):  # a failure that this process shares ends it with its own message
            return
        sys.stderr.write(f"error: the training of another device {how}\n")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)  # the handler of the training waits for the other process too


def end_with_starter() -> None:
    """End this process when the one that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Train the share of one of several devices."""
    end_with_starter()
    run, told = Run.from_json(sys.argv[1]), int(sys.argv[2])
    try:
        run.fit(None, run.logs())
    except Exception as error:
        sentence = str(error) if isinstance(error, InputError) else machine_fault(error)
        if sentence is None:
            raise
        os.write(told, sentence.encode(errors="backslashreplace"))  # for the first process
        os._exit(_TOLD)  # what ends a process group by the book waits for the others


if __name__ == "__main__":
    main()
