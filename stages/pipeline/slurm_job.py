# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What one job of the array runs: a chunk of logs in a pool of its node; each outcome is a file for the driver."""

import contextlib
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.pipeline.pool import run_tasks


@dataclass(frozen=True)
class LoggedTask:
    """One log's task and where what it writes to its standard streams goes."""

    function: Callable[[Any], Any]
    task: Any
    log_file: Path


@dataclass(frozen=True)
class Chunk:
    """Some logs, run by one job.

    Attributes:
        tasks: task by its index in the stage.
        names: name of each task.
        workers: processes of the job.
        folder: the run's folder on the shared storage.
    """

    tasks: dict[int, LoggedTask]
    names: dict[int, str]
    workers: int
    folder: Path

    def __call__(self) -> None:
        """Run the logs that have no outcome yet: a job that was requeued goes on where it was."""
        signal.signal(signal.SIGTERM, _leave)
        indices = [index for index in self.tasks if not outcome_file(self.folder, index).exists()]
        names = [self.names[index] for index in indices]
        outcomes = run_tasks(run_logged, [self.tasks[index] for index in indices], names, self.workers)
        with contextlib.closing(outcomes):  # type: ignore[type-var]  # a generator
            for place, outcome in outcomes:
                write_outcome(self.folder, indices[place], outcome)

    def checkpoint(self) -> Any:
        """What submitit runs after a preemption: the same chunk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _leave(signum: int, frame: Any) -> None:
    """End before the pool takes the workers, whom Slurm ends as well, for victims of their logs."""
    sys.exit(128 + signum)


def run_logged(logged: LoggedTask) -> Any:
    """Run a log's task with both standard streams in the log's own file."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # preemption is the job's affair, which ends its workers
    with _streams_to(logged.log_file):
        start = time.monotonic()
        sys.stderr.write(f"job {os.environ.get('SLURM_JOB_ID', '-')} on {socket.gethostname()}\n")
        try:
            result = logged.function(logged.task)
        except Exception:
            traceback.print_exc()
            raise
        sys.stderr.write(f"finished after {time.monotonic() - start:.1f} s\n")
        return result


@contextlib.contextmanager
def _streams_to(file: Path) -> Iterator[None]:
    """By descriptor, so that what C code writes arrives too."""
    kept = os.dup(1), os.dup(2)
    with file.open("ab") as target:
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, stream in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, stream)
            os.close(descriptor)


def outcome_file(folder: Path, index: int) -> Path:
    """File of a task's outcome, which exists once the task has ended."""
    return folder / "outcomes" / str(index)


def write_outcome(folder: Path, index: int, outcome: object) -> None:
    """Write an outcome under a temporary name and rename it, so that the driver never reads half of it."""
    file = outcome_file(folder, index)
    temporary = file.with_name(f".{index}.{socket.gethostname()}.{os.getpid()}")
    temporary.write_bytes(pickle.dumps(outcome))
    temporary.rename(file)
