# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A pool of single-threaded worker processes that outlives the failure of a task, and of a worker."""

import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from models.errors import InputError
from stages.pipeline.ending import end_with_parent
from stages.pipeline.machine import machine_fault

Task = TypeVar("Task")
Result = TypeVar("Result")

# One thread a worker: results must not depend on the number of cores, and workers must not fight for them.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")
# The same code on every x86-64 since 2013: sines and matrix products of AVX-512 differ in the last bit (measured).
WORKER_ENVIRONMENT = {
    **dict.fromkeys(_THREADS, "1"),
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}


@dataclass(frozen=True)
class Failure:
    """Why a task failed: one sentence, and the traceback where it is a defect of the program."""

    name: str
    text: str
    trace: str = ""


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str], workers: int
) -> Iterator[tuple[int, Result | Failure]]:
    """Run a function over tasks in worker processes.

    Args:
        function: module-level function of one task.
        tasks: picklable tasks.
        names: a name for each task, for messages.
        workers: number of processes.

    Yields:
        The index of each task with its result or its failure, in the order in which they end. A worker that is
        killed, say for want of memory, takes only its own task down: those that were in work run again, each alone.
    """
    waiting = list(range(len(tasks)))
    while waiting:
        done: set[int] = set()
        try:
            for index, result in _run_together(function, tasks, names, waiting, workers):
                done.add(index)
                yield index, result
        except BrokenProcessPool:
            left = [index for index in waiting if index not in done]
            suspects = left[: 2 * workers]  # those that were in work or handed to a worker when one died
            for index in suspects:
                yield index, _run_alone(function, tasks[index], names[index])
            done.update(suspects)
        waiting = [index for index in waiting if index not in done]


def _run_together(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
    indices: Sequence[int],
    workers: int,
) -> Iterator[tuple[int, Result | Failure]]:
    executor = _executor(min(workers, len(indices)))
    finished = False
    try:
        futures = {executor.submit(function, tasks[index]): index for index in indices}
        for future in as_completed(futures):
            yield futures[future], _result(future, names[futures[future]])
        finished = True
    finally:
        _end(executor, finished)


def _run_alone(function: Callable[[Task], Result], task: Task, name: str) -> Result | Failure:
    executor = _executor(1)
    finished = False
    try:
        result: Result | Failure = _result(executor.submit(function, task), name)
        finished = True
        return result
    except BrokenProcessPool:
        return Failure(name, "its worker was killed, probably for want of memory; use fewer workers")
    finally:
        _end(executor, finished)


def _end(executor: ProcessPoolExecutor, finished: bool) -> None:
    """Wait for the workers of a finished pool; end those of an interrupted one, whatever they are at."""
    if not finished:
        for process in list((executor._processes or {}).values()):
            process.terminate()
    executor.shutdown(wait=finished, cancel_futures=True)


def _result(future: Future[Any], name: str) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except InputError as error:
        return Failure(name, str(error))
    except Exception as error:
        fault = machine_fault(error)
        return Failure(name, fault) if fault else _defect(name, error)


def _defect(name: str, error: BaseException) -> Failure:
    """A defect of the program: kept with its traceback and raised by the stage."""
    return Failure(name, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _executor(workers: int) -> ProcessPoolExecutor:
    # Semaphores of a stage that was killed are left to this helper, which need not complain about it.
    with _environment({"PYTHONWARNINGS": "ignore"}):
        resource_tracker.ensure_running()
    return ProcessPoolExecutor(workers, mp_context=_SpawnWithEnvironment(), initializer=_start_worker)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for processes that are started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class _WorkerProcess(multiprocessing.context.SpawnProcess):
    """A spawned process that sees the workers' environment, which must be there before numpy is imported.

    It never hears Ctrl-C, which a terminal sends to it too: its stage ends it.
    """

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child inherits what is blocked
        try:
            with _environment(WORKER_ENVIRONMENT):
                super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _SpawnWithEnvironment(multiprocessing.context.SpawnContext):
    Process = _WorkerProcess


def _start_worker() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with_parent(parent.pid)
