# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where the logs of a stage are computed: in processes of this machine or in the jobs of a Slurm cluster."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from stages.pipeline.compute import compute
from stages.pipeline.pool import Failure, run_tasks

Task = TypeVar("Task")
Result = TypeVar("Result")
Outcomes = Generator[tuple[int, Result | Failure], None, None]


def run_logs(
    step: str,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    names: Sequence[str],
    workers: int | None = None,
) -> Outcomes[Result]:
    """Run a function over the logs of a stage by the executor that the machine's settings name.

    Args:
        step: name of the stage.
        function: module-level function of one task. It keeps its results in the store, so it may run twice.
        tasks: picklable tasks.
        names: a name for each task, for messages.
        workers: processes on this machine, for work that is bound to it; None leaves the choice to the settings.

    Yields:
        The index of each task with its result or its failure, in the order in which they end. Close the generator to
        end what it started.
    """
    settings = compute()
    if settings.executor == "slurm" and workers is None:
        from stages.pipeline.slurm import run_on_slurm

        yield from run_on_slurm(step, function, tasks, names, settings)
    else:
        yield from run_tasks(function, tasks, names, workers or settings.workers)
