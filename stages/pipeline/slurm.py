# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs as an array of Slurm jobs, through submitit: chunks of logs, each job a pool of processes on its node.

Outcomes come back as files on the shared storage, and whether a job still lives is asked of `squeue`, so that a job
that vanished, with or without accounting, costs only its unfinished logs: they are submitted again, each in a job of
its own. A job that Slurm requeues goes on where it was.
"""

import contextlib
import getpass
import importlib.util
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from stages.pipeline.compute import Compute
from stages.pipeline.pool import Failure
from stages.pipeline.slurm_job import Chunk, LoggedTask, outcome_file

if TYPE_CHECKING:
    import submitit

_CHUNKS_PER_JOB = 4  # chunks are so much smaller than a job's share that the last jobs do not run alone for long
_LARGEST_ARRAY = 1000  # Slurm's default MaxArraySize less one
_POLL_S = (1.0, 15.0)  # between two questions to Slurm, at first and after some minutes
_GRACE_S = 10.0  # between a job's end and the sight of its last files through a shared file system
_PATIENCE_S = 900.0  # with a controller that does not answer


@dataclass
class SlurmRun:
    """The jobs of one stage.

    Attributes:
        folder: holds the jobs' files, outcomes and logs.
        settings: the machine's settings.
        tasks: every task of the stage.
        names: their names.
        jobs: indices of the tasks of each job that may still live, by the job's id.
        tries: how often each task was submitted.
        gone_since: when a job with tasks left was first missing in the queue.
    """

    folder: Path
    settings: Compute
    tasks: Sequence[LoggedTask]
    names: Sequence[str]
    jobs: dict[str, list[int]] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    gone_since: dict[str, float] = field(default_factory=dict)

    def submit(self, groups: Sequence[Sequence[int]]) -> None:
        """Submit an array with one job for each group of task indices."""
        chunks = [
            Chunk(
                {index: self.tasks[index] for index in group},
                {index: self.names[index] for index in group},
                min(self.settings.workers, len(group)),
                self.folder,
            )
            for group in groups
        ]
        for group, job in zip(groups, _submit(self.folder, self.settings, chunks), strict=True):
            self.jobs[job] = list(group)
            self.tries.update({index: self.tries.get(index, 0) + 1 for index in group})

    def lost(self, done: set[int], alive: set[str]) -> dict[str, list[int]]:
        """Forget the jobs that ended; those that left tasks without outcome are returned with these tasks."""
        lost: dict[str, list[int]] = {}
        for job, indices in list(self.jobs.items()):
            left = [index for index in indices if index not in done]
            if job in alive:
                self.gone_since.pop(job, None)
            elif not left:
                del self.jobs[job]
            elif time.monotonic() - self.gone_since.setdefault(job, time.monotonic()) > _GRACE_S:
                lost[job] = left
                del self.jobs[job]
        return lost


def run_on_slurm(
    step: str, function: Callable[[Any], Any], tasks: Sequence[Any], names: Sequence[str], settings: Compute
) -> Generator[tuple[int, Any]]:
    """Run a function over tasks in Slurm jobs; arguments and result as of `executor.run_logs`.

    Raises:
        InputError: if Slurm or submitit is not installed, Slurm refuses the jobs or does not answer for long.
    """
    if not tasks:
        return
    _check_installed()
    folder = _run_folder(settings.store, step)
    logged = [LoggedTask(function, task, folder / "logs" / f"{n}.txt") for task, n in zip(tasks, names, strict=True)]
    run = SlurmRun(folder, settings, logged, names)
    with _cancelled_unless_finished(folder.name):
        run.submit(chunks(len(tasks), settings))
        yield from _follow(run)


@contextlib.contextmanager
def _cancelled_unless_finished(name: str) -> Iterator[None]:
    """Cancel every job of this name when the block, or this process, ends in any way before the work is done.

    A shell of its own session does it, which waits for a word on a pipe that closes when this process is killed; and by
    name, because an interrupt may come before the ids of the jobs are known.
    """
    script = f'read word; [ "$word" = finished ] || scancel --user={getpass.getuser()} --name={name}'
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, text=True, start_new_session=True) as watcher:
        yield
        if watcher.stdin is not None:
            watcher.stdin.write("finished\n")


def _follow(run: SlurmRun) -> Iterator[tuple[int, Any]]:
    """Outcomes as they come, lost jobs submitted again, until every task has an outcome."""
    done: set[int] = set()
    start = asked = answered = time.monotonic()
    while len(done) < len(run.tasks):
        for index in _new_outcomes(run.folder, done):
            done.add(index)
            yield index, pickle.loads(outcome_file(run.folder, index).read_bytes())
        now = time.monotonic()
        if now - asked > min(_POLL_S[1], _POLL_S[0] + (now - start) / 60):
            asked, alive = now, _queue()
            if alive is not None:
                answered = now
                yield from _retry(run, run.lost(done, alive), done)
            elif now - answered > _PATIENCE_S:
                raise InputError("Slurm has not answered `squeue` for 15 minutes; finished logs are kept, run again")
        time.sleep(min(2.0, 0.2 + (now - start) / 300))


def _retry(run: SlurmRun, lost: dict[str, list[int]], done: set[int]) -> Iterator[tuple[int, Failure]]:
    """Submit the tasks of lost jobs again, each alone, so that one that kills its job is found; give up by and by."""
    again: list[list[int]] = []
    for job, indices in lost.items():
        state = _state(job)
        sys.stderr.write(f"\nwarning: Slurm job {job} was lost ({state}) with {len(indices)} unfinished logs\n")
        for index in indices:
            if run.tries[index] < run.settings.slurm.tries:
                again.append([index])
                continue
            done.add(index)
            story = f"its Slurm job was lost {run.tries[index]} times, last {job} ({state})"
            yield index, Failure(run.names[index], f"{story}; see {run.tasks[index].log_file}")
    for first in range(0, len(again), _LARGEST_ARRAY):
        run.submit(again[first : first + _LARGEST_ARRAY])


def chunks(tasks: int, settings: Compute) -> list[list[int]]:
    """Task indices of each job of the array: some jobs' worth a worker, whole rounds of the workers where it can."""
    size = max(-(-tasks // (settings.slurm.jobs * _CHUNKS_PER_JOB)), settings.workers, -(-tasks // _LARGEST_ARRAY))
    return [list(range(first, min(first + size, tasks))) for first in range(0, tasks, size)]


def submitter(folder: Path, settings: Compute) -> "submitit.SlurmExecutor":
    """What submits the jobs of a run, with the options that `compute.yaml` gives them."""
    import submitit

    options = {"requeue": True, **settings.slurm.options}
    executor = submitit.SlurmExecutor(folder / "jobs")
    executor.update_parameters(
        job_name=folder.name,
        time=settings.slurm.time_min,
        cpus_per_task=settings.workers * settings.threads,
        mem=f"{int(settings.workers * settings.memory_gib * 1024)}MB",
        array_parallelism=settings.slurm.jobs,
        stderr_to_stdout=True,
        additional_parameters={name: value for name, value in options.items() if value is not False},
    )
    return executor


def _submit(folder: Path, settings: Compute, chunks: Sequence[Chunk]) -> list[str]:
    """Submit one job a chunk as an array; their ids."""
    from submitit.core.utils import FailedJobError

    executor = submitter(folder, settings)
    with _outside_of_a_job(), contextlib.redirect_stderr(io.StringIO()):
        try:
            return [job.job_id for job in executor.submit_array(chunks)]
        except FailedJobError as error:
            reason = (str(error).strip().splitlines() or ["sbatch gave no reason"])[-1]
            raise InputError(
                f"Slurm refused the jobs of {folder.name} ({reason}); see `slurm` in compute.yaml"
            ) from error


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """A driver that itself runs in a job must not hand its own job's limits on to those it submits."""
    inside = "SLURM_JOB_ID" in os.environ
    names = [name for name in os.environ if inside and name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF"]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


def _queue() -> set[str] | None:
    """Ids of the user's jobs that wait or run, None if Slurm does not answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if answer.returncode else set(answer.stdout.split())


def _state(job: str) -> str:
    """How accounting says a job ended, in a word."""
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=State", f"--jobs={job}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return (answer.stdout.split() or ["no accounting"])[0] if answer.returncode == 0 else "no accounting"


def _new_outcomes(folder: Path, done: set[int]) -> list[int]:
    return sorted(int(name) for name in os.listdir(folder / "outcomes") if name.isdecimal() and int(name) not in done)


def _run_folder(store: Path, step: str) -> Path:
    """A fresh folder on the shared storage: a cluster may give the ids of old jobs again."""
    parent = store / "slurm"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"sceneflow-{step}-{time.strftime('%Y%m%d-%H%M%S')}-", dir=parent))
    for name in ("jobs", "outcomes", "logs"):
        (folder / name).mkdir()
    return folder


def _check_installed() -> None:
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError("compute setting executor is slurm but this machine has no sbatch; use a login node, or pool")
    if importlib.util.find_spec("submitit") is None:
        raise InputError("compute setting executor is slurm but submitit is missing; run `pip install -e '.[slurm]'`")
