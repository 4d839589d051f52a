# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A stage over the logs of a split: each computed once, in parallel, then linked into the output folders."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import InputError
from stages.pipeline.code import code_digest, package_versions
from stages.pipeline.compute import compute
from stages.pipeline.digest import path_digests, value_digest
from stages.pipeline.executor import run_logs
from stages.pipeline.folders import require_folders
from stages.pipeline.pool import WORKER_ENVIRONMENT, Failure
from stages.pipeline.progress import Progress
from stages.pipeline.space import check_space
from stages.pipeline.store import Store, link, remove

Paths = Mapping[str, Path | None]
LogFunction = Callable[..., None]
_NAMED_FAILURES = 10


@dataclass(frozen=True)
class LogTask:
    """One log's work in a stage.

    Attributes:
        log_id: id of the log; its output files are named by it.
        inputs: files or folders that are read, by kind; one that does not exist is given to the function as None.
        pinned: further files or folders that are read, whose content `arguments` pin; they do not enter the key,
            so that data may move.
        arguments: further plain values that determine the result.
        sweeps: number of sweeps, for the progress bar alone.
        size: bytes that the results may take, where that is known before; checked against the free space.
    """

    log_id: str
    inputs: Mapping[str, Path]
    pinned: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str | int | float] = field(default_factory=dict)
    sweeps: int = 0
    size: int = 0


@dataclass(frozen=True)
class _Job:
    """What a worker needs to compute one log."""

    step: str
    store: Store
    function: LogFunction
    task: LogTask
    parameters: object
    suffixes: Mapping[str, str]
    optional: tuple[str, ...]
    base: Mapping[str, object]


@dataclass(frozen=True)
class _Result:
    key: str
    found: bool


def map_logs(
    step: str,
    function: LogFunction,
    tasks: Sequence[LogTask],
    parameters: object,
    outputs: Mapping[str, Path],
    suffixes: Mapping[str, str],
    packages: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    workers: int | None = None,
    finish: Callable[[Mapping[str, Path]], None] | None = None,
) -> None:
    """Compute every log that the store lacks and build the output folders from the store.

    Args:
        step: name of the stage.
        function: `function(log_id, inputs, outputs, parameters)`, plus `arguments` where a task has some; writes
            `outputs[kind]`. Known by its module and name.
        tasks: the logs.
        parameters: frozen dataclass of everything that the function is told.
        outputs: output folder of each kind.
        suffixes: end of the file name of each kind; empty where a log's output is a folder.
        packages: distributions whose version decides the result; h5py, which lays files out, is always one.
        optional: kinds that a log may lack; any other kind that the function leaves unwritten is a defect.
        workers: processes on this machine at the same time; where and how many `compute.yaml` says by default.
        finish: called with the complete folders before they take their names, to add files of the whole split.

    Raises:
        InputError: naming every log that failed; the others are in the store and are not computed again.
    """
    store = Store(compute().store / step)
    base = {
        "step": step,
        "suffixes": dict(suffixes),
        "environment": WORKER_ENVIRONMENT,
        "function": f"{function.__module__}.{function.__qualname__}",
        "code": code_digest(function.__module__),
        "packages": package_versions((*packages, "h5py")),
        "parameters": dataclasses.asdict(parameters) if dataclasses.is_dataclass(parameters) else parameters,  # type: ignore[arg-type]
    }
    jobs = [_Job(step, store, function, task, parameters, suffixes, optional, base) for task in tasks]
    with store.in_use():
        _check_space(step, jobs)
        results = _run(step, jobs, workers)
        _publish(store, tasks, results, outputs, suffixes, finish)


def _run(step: str, jobs: Sequence[_Job], workers: int | None) -> list[_Result]:
    title = f"{step} {len(jobs)} logs" if len(jobs) != 1 else f"{step} 1 log"
    results: dict[int, _Result] = {}
    failures: list[Failure] = []
    running = run_logs(step, _run_log, jobs, [job.task.log_id for job in jobs], workers)
    with Progress(title, len(jobs), sum(job.task.sweeps for job in jobs)) as progress, contextlib.closing(running):
        for index, result in running:
            if isinstance(result, Failure):
                failures.append(result)
            else:
                results[index] = result
                progress.log_done(jobs[index].task.sweeps, result.found)
    if failures:
        raise_failures(f"{step} failed for {len(failures)} of {len(jobs)} logs (finished logs are kept)", failures)
    return [results[index] for index in range(len(jobs))]


def raise_failures(summary: str, failures: Sequence[Failure]) -> None:
    """Raise one error for the failures of several logs, each in a line: RuntimeError where one is a defect."""
    failures = sorted(failures, key=lambda failure: failure.name)
    lines = [_failure_text(failure) for failure in failures[:_NAMED_FAILURES]]
    if len(failures) > _NAMED_FAILURES:
        lines.append(f"and {len(failures) - _NAMED_FAILURES} more logs")
    text = f"{summary}:\n" + "\n".join(lines)
    defects = [failure.trace for failure in failures if failure.trace]
    if defects:
        raise RuntimeError(f"{text}\n\n{defects[0]}")
    raise InputError(text)


def _failure_text(failure: Failure) -> str:
    """A failure in one sentence that names its log once."""
    named = failure.text.startswith(f"log {failure.name}")
    return failure.text if named else f"log {failure.name}: {failure.text}"


def _check_space(step: str, jobs: Sequence[_Job]) -> None:
    """Ask for the space of the logs that the store lacks, where their keys are known without reading anything."""
    lacking = [
        job for job in jobs if job.task.size and not job.task.inputs and not job.store.entry(_key(job, {})).exists()
    ]
    if lacking:
        check_space(lacking[0].store.folder, sum(job.task.size for job in lacking), f"{step}, {len(lacking)} logs,")


def _key(job: _Job, inputs: Paths) -> str:
    """Digest of all that determines a log's result."""
    return value_digest(
        {
            **job.base,
            "log": job.task.log_id,
            "arguments": dict(job.task.arguments),
            "inputs": {kind: path_digests(path) if path else None for kind, path in inputs.items()},
        }
    )


def _run_log(job: _Job) -> _Result:
    """Runs in a worker: find the log in the store or compute it."""
    inputs = {kind: path if path.exists() else None for kind, path in job.task.inputs.items()}
    key = _key(job, inputs)
    with job.store.claim(key):
        found = job.store.intact(key)
        if not found:
            _compute(job, key, {**inputs, **job.task.pinned})
    return _Result(key, found)


def _compute(job: _Job, key: str, inputs: Paths) -> None:
    workspace = job.store.workspace(key)
    try:
        outputs = {kind: workspace / f"{kind}{suffix}" for kind, suffix in job.suffixes.items()}
        extra = {"arguments": job.task.arguments} if job.task.arguments else {}
        job.function(job.task.log_id, inputs, outputs, job.parameters, **extra)
        missing = [kind for kind, path in outputs.items() if kind not in job.optional and not path.exists()]
        if missing:
            raise RuntimeError(f"{job.step} wrote no {' and no '.join(missing)} for log {job.task.log_id}")
        job.store.commit(key, workspace)
    finally:
        remove(workspace)


def _publish(
    store: Store,
    tasks: Sequence[LogTask],
    results: Sequence[_Result],
    outputs: Mapping[str, Path],
    suffixes: Mapping[str, str],
    finish: Callable[[Mapping[str, Path]], None] | None,
) -> None:
    partial = {kind: folder.with_name(f".{folder.name}.{os.getpid()}.partial") for kind, folder in outputs.items()}
    for kind, folder in partial.items():
        for left in folder.parent.glob(f".{outputs[kind].name}.*.partial"):  # by runs that were killed
            remove(left)
        folder.mkdir(parents=True)
    for task, result in zip(tasks, results, strict=True):
        files = store.files(result.key)
        for kind, folder in partial.items():
            source = files.get(f"{kind}{suffixes[kind]}")
            if source is not None:
                link(source, folder / f"{task.log_id}{suffixes[kind]}")
    if finish is not None:
        finish(partial)
    for kind, folder in outputs.items():
        remove(folder)
        partial[kind].rename(folder)


def split_tasks(split: str, kinds: Sequence[str], root: Path | None = None) -> list[LogTask]:
    """A task for each log that has frames in a split, reading the files of the given kinds.

    Args:
        split: `train`, `val` or `test`.
        kinds: folders under `data/`: `frames`, `boxes`, `maps`, `ground`, `truth`, `dynamic`, `clusters`…
        root: the data folder; `data` by default.

    Raises:
        InputError: a folder of frames or of one of the kinds is not there; an empty one is a split without logs.
    """
    from models.data.logfile import LogFrames, log_ids

    data = root or Path("data")
    require_folders(data, split, ("frames", *kinds))
    tasks = []
    for log in log_ids(data / "frames" / split):
        suffix = {kind: ".parquet" if kind == "boxes" else ".h5" for kind in kinds}
        inputs = {kind: data / kind / split / f"{log}{suffix[kind]}" for kind in kinds}
        tasks.append(LogTask(log, inputs, sweeps=LogFrames.open(data / "frames" / split / f"{log}.h5").num_frames))
    return tasks
