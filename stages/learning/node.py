# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training on several machines, one process of it, as srun or torchrun started it.

The first process finds out what is to be trained, or that it is trained already, and tells the others. They answer
whether they see the same data, code and store; then all train, and the first writes.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from stages.learning.launch import FOLDER, Task, write_fault
from stages.learning.meeting import Alone, Heard, Meeting
from stages.learning.ranks import Run, end_with_starter
from stages.learning.train import PACKAGES, train_here
from stages.pipeline.code import code_digest, package_versions
from stages.pipeline.digest import value_digest
from stages.pipeline.machine import machine_fault

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch import nn

    from models.data.labels import TrainLog

_LOST = ("closed by peer", "reset by peer", "Broken pipe", "remote process exit")  # gloo's words and NCCL's
_GRACE_S = 5.0

_SHARE = "all machines need the same environment, and project and store on a disk that they share"


def is_launched() -> bool:
    """Whether this process was started by torchrun, or by the stage through srun."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {FOLDER, "SLURM_PROCID"} <= os.environ.keys()


def take_part() -> None:
    """Train this process's share; a user's fault is a sentence for the stage that launched it, not a crash."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in train_flow
    _end_on_signals()
    end_with_starter()
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        os.environ.update(names_of_torch(os.environ))
    _meet_and_train(int(os.environ["RANK"]))


def _meet_and_train(rank: int) -> None:
    try:
        meeting = Meeting.join()
        if rank == 0:
            _lead(meeting)
        else:
            _follow(meeting)
    except Heard as error:
        if FOLDER not in os.environ and os.environ["LOCAL_RANK"] == "0":  # the first tells it on its machine only
            sys.exit(f"error: {error}")
    except Exception as error:
        sentence = _sentence(error, rank)
        if sentence is None:
            raise
        _tell(sentence)
        if isinstance(error, Alone) or not isinstance(error, InputError):
            sys.exit(1)  # the launcher ends the others; any other fault of a user all processes meet alike


def _end_on_signals() -> None:
    """Let SIGTERM and Ctrl-C end this process at once, whatever it waits for.

    Lightning puts a handler of its own in the place of any other, which first talks to processes that may be gone; what
    is written here when a signal arrives does not depend on handlers.
    """
    ends = (signal.SIGTERM, signal.SIGINT)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in ends:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer)

    def wait() -> None:
        while (number := os.read(reader, 1)[0]) not in ends:
            pass
        os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def names_of_torch(slurm: Mapping[str, str]) -> dict[str, str]:
    """What torch's launcher would set, from what Slurm set for a task of a step."""
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    first = SLURMEnvironment.resolve_root_node_address(slurm["SLURM_STEP_NODELIST"])
    steps = 100 * int(slurm["SLURM_JOB_ID"]) + int(slurm["SLURM_STEP_ID"])
    return {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "GROUP_RANK": slurm["SLURM_NODEID"],
        "WORLD_SIZE": slurm["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": str(int(slurm["SLURM_STEP_NUM_TASKS"]) // int(slurm["SLURM_STEP_NUM_NODES"])),
        "MASTER_ADDR": slurm.get("MASTER_ADDR") or first,
        "MASTER_PORT": slurm.get("MASTER_PORT") or str(15000 + steps % 15000),  # below those that systems hand out
        "TORCHELASTIC_RUN_ID": "sceneflow",
    }


def _lead(meeting: Meeting) -> None:
    if FOLDER not in os.environ:
        raise InputError("the first process is started by the stage: run `dvc repro train` there, torchrun elsewhere")
    task = Task.read(Path(os.environ[FOLDER]))

    def fit(run: Run, logger: Sequence[Logger], logs: Sequence[TrainLog]) -> nn.Module:
        run.check_devices()
        meeting.agree({"run": run.to_json(), "resumes": run.checkpoint.exists(), **_seen(logs)})
        return _fit(run, logger, logs)

    try:
        train_here(task.data, task.weights, task.curves, task.parameters, fit)
    finally:
        meeting.dismiss()


def _follow(meeting: Meeting) -> None:
    told = meeting.told()
    if told is None:
        return
    try:
        run = Run.from_json(told["run"])
        run.check_devices()
        logs = _same_logs(run, told)
    except Exception as error:
        complaint = _sentence(error, meeting.rank)
        if complaint is None:
            meeting.answer(f"{_here(meeting.rank)} failed with {type(error).__name__}; its own message says where")
            raise
        meeting.answer(complaint)
        raise Heard(complaint) from error
    meeting.answer("")
    if meeting.may_go():
        _fit(run, None, logs)


def _fit(run: Run, logger: Sequence[Logger] | None, logs: Sequence[TrainLog]) -> nn.Module:
    import torch

    from models.data.faults import ReadError

    try:
        network = run.fit(logger, logs)
    except ReadError as error:
        raise Alone(str(error)) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _LOST):
            raise
        time.sleep(_GRACE_S)  # for the one that fails with a sentence, before the launcher ends all
        sys.exit(f"{_here(os.environ['RANK'])} lost the connection to another one")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return network


def _same_logs(run: Run, told: Mapping[str, Any]) -> list[TrainLog]:
    """The logs to train on; InputError where this process does not see what the first one sees."""
    if not run.checkpoint.parent.parent.is_dir() or run.checkpoint.exists() != told["resumes"]:
        raise InputError(f"{run.checkpoint} is not what the first process sees; {_SHARE}")
    logs = run.logs()
    for name, value in _seen(logs).items():
        if told[name] != value:
            what = f"its {name} differ from those" if logs else f"there are no logs in {run.data}, unlike those"
            raise InputError(f"{what} of the first process; {_SHARE}")
    return logs


def _seen(logs: Sequence[TrainLog]) -> dict[str, Any]:
    """What must be the same in all processes."""
    return {
        "logs": value_digest({log.frames.log_id: log.frames.digest for log in logs}),
        "sources": code_digest("models.training.fit"),
        "packages": package_versions(PACKAGES),
    }


def _sentence(error: Exception, rank: int) -> str | None:
    """What the user reads of a fault that is his or the machine's; None for a defect."""
    if isinstance(error, InputError):
        return str(error) if rank == 0 or isinstance(error, Alone) else f"{_here(rank)}: {error}"
    fault = machine_fault(error)
    return fault and f"train stopped: {_here(rank)}: {fault}; what is finished is kept, then run `dvc repro` again"


def _here(rank: int | str) -> str:
    return f"process {rank} on {socket.gethostname()}"


def _tell(sentence: str) -> None:
    """To the stage; where its folder is unknown, not seen here, or on the disk that is full, to the terminal."""
    with suppress(KeyError, OSError):
        write_fault(Path(os.environ[FOLDER]), sentence)
        return
    sys.exit(f"error: {sentence}")
