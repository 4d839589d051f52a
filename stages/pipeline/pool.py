# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A pool of single-threaded worker processes that outlives the failure of a task, and of a worker."""

import multiprocessing
import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from models.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

# One thread a worker: results must not depend on the number of cores, and workers must not fight for them.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")
# The same code on every x86-64 since 2013: sines and matrix products of AVX-512 differ in the last bit (measured).
_WORKER_ENVIRONMENT = {
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
        killed, say for want of memory, takes only its own task down: the tasks then left run one at a time.
    """
    if not tasks:
        return
    waiting = set(range(len(tasks)))
    try:
        with _executor(min(workers, len(tasks))) as executor:
            futures = {executor.submit(function, tasks[i]): i for i in sorted(waiting)}
            for future in as_completed(futures):
                index = futures[future]
                result = _result(future, names[index])
                waiting.discard(index)
                yield index, result
    except BrokenProcessPool:
        yield from _run_alone(function, tasks, names, sorted(waiting))


def _run_alone(
    function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str], indices: Sequence[int]
) -> Iterator[tuple[int, Result | Failure]]:
    for index in indices:
        with _executor(1) as executor:
            future = executor.submit(function, tasks[index])
            try:
                yield index, _result(future, names[index])
            except BrokenProcessPool:
                yield (
                    index,
                    Failure(names[index], "its worker was killed, probably for want of memory; use fewer workers"),
                )


def _result(future: Future[Any], name: str) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except InputError as error:
        return Failure(name, str(error))
    except OSError as error:
        return Failure(name, f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}")
    except Exception as error:  # a defect of the program: kept with its traceback and raised by the stage
        return Failure(name, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _executor(workers: int) -> ProcessPoolExecutor:
    os.environ.update(_WORKER_ENVIRONMENT)  # spawned processes inherit it
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker must not live on when its stage was killed: it would write into the next run's store."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent.sentinel,), daemon=True).start()


def _wait_and_exit(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
