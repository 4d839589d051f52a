# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training on several machines, the stage's side: it starts srun or torchrun, waits, and takes them down with it.

The stage itself does not train: `stages.learning.node` is what runs in each process that is started, and the first of
them writes. What they are to do, and what went wrong, are files of a folder in the store, which all machines see.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.pipeline.compute import Compute
from stages.pipeline.parameters import from_mapping
from stages.pipeline.store import Store, remove

FOLDER = "SCENEFLOW_LAUNCH"  # variable that tells the started processes the folder
_TASK, _FAULT = "task.json", "fault.txt"
_PORT = "29500"  # torchrun's own
_PATIENCE_S = 3600  # of torchrun with machines that have not come yet

# The shell runs the launcher and holds the reading end of a pipe whose other end closes when the stage dies, however
# it dies: then the launcher gets the signal by which it ends all that it started.
_SUPERVISOR = """
exec 3<&0
"$@" </dev/null 3<&- & launcher=$!
(read word <&3; kill -TERM $launcher) 2>/dev/null & watcher=$!
wait $launcher; status=$?
kill $watcher 2>/dev/null
exit $status
"""


@dataclass(frozen=True)
class Task:
    """What the first process is to do.

    Attributes:
        data: folder of frames, ground and labels.
        weights: file to write.
        curves: folder to write.
        parameters: what to train and how.
    """

    data: Path
    weights: Path
    curves: Path
    parameters: TrainParameters

    def write(self, folder: Path) -> None:
        """Write it into the folder of a launch."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("data", "weights", "curves")}
        (folder / _TASK).write_text(json.dumps({**paths, "parameters": asdict(self.parameters)}))

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read it from the folder of a launch; InputError where this machine does not see it."""
        try:
            content = json.loads((folder / _TASK).read_text())
        except FileNotFoundError as error:
            raise InputError(f"{folder} is not there; the store must be on a disk that all machines share") from error
        paths = {name: Path(content[name]) for name in ("data", "weights", "curves")}
        return cls(**paths, parameters=from_mapping("train", TrainParameters, content["parameters"]))


def launch(task: Task, machine: Compute) -> None:
    """Train on `machine.nodes` machines with `machine.devices` processes each.

    Raises:
        InputError: The settings do not fit each other, the launcher is missing, or a process failed or was lost.
    """
    _check(task.parameters, machine)
    store = Store(machine.store / "train")
    with store.in_use():
        folder = Path(tempfile.mkdtemp(prefix="launch-", suffix=".partial", dir=store.folder))
        try:
            task.write(folder)
            if machine.launcher == "torchrun" and machine.nodes > 1:
                sys.stderr.write(hint(machine))
            command = srun(machine) if machine.launcher == "srun" else torchrun(machine)
            status = _run(command, _environment(folder, machine))
            _raise_fault(folder, status, machine)
        finally:
            remove(folder)


def write_fault(folder: Path, sentence: str) -> None:
    """Leave a sentence for the stage to end with, unless there is one: what comes later may be its consequence."""
    if (folder / _FAULT).exists():
        return
    partial = folder / f".{socket.gethostname()}-{os.getpid()}"
    partial.write_text(sentence)
    partial.rename(folder / _FAULT)


def _raise_fault(folder: Path, status: int, machine: Compute) -> None:
    if (folder / _FAULT).exists():
        raise InputError((folder / _FAULT).read_text())
    if status:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise InputError(
            f"training on {machine.nodes} x {machine.devices} devices is not finished: {machine.launcher} ended with"
            f" {how}, its message is above; epochs that are done are kept, `dvc repro` goes on from there"
        )


def _check(parameters: TrainParameters, machine: Compute) -> None:
    if machine.launcher == "none":
        raise InputError(f"compute setting nodes is {machine.nodes}, so launcher must be srun or torchrun, not none")
    if machine.device == "auto":
        raise InputError(
            f"compute setting launcher is {machine.launcher}, so device must be cpu or cuda and not auto:"
            " what the other machines have is not known here"
        )
    if machine.launcher == "srun" and shutil.which("srun") is None:
        raise InputError("compute setting launcher is srun but this machine has no srun; use a login node, or torchrun")
    parameters.pairs_at_a_time(machine.nodes * machine.devices)


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a launcher that ends with this process; its status."""
    supervised = ["sh", "-c", _SUPERVISOR, "sh", *command]
    with subprocess.Popen(supervised, stdin=subprocess.PIPE, env=environment, start_new_session=True) as process:
        return process.wait()


def _environment(folder: Path, machine: Compute) -> dict[str, str]:
    """Where a node has few cores for each process it would choose fewer readers than its settings say."""
    own = {FOLDER: str(folder), "SCENEFLOW_WORKERS": str(machine.workers)}
    quiet = {"OMP_NUM_THREADS": "1"} if machine.launcher == "torchrun" else {}  # what torchrun sets, with a warning
    return {**quiet, **os.environ, **own}


def srun(machine: Compute) -> list[str]:
    """The command that gets an allocation, or takes a part of the one it runs in, and starts the processes there."""
    own: dict[str, str | bool] = {
        "job-name": "sceneflow-train",
        "nodes": str(machine.nodes),
        "ntasks-per-node": str(machine.devices),
        "ntasks": str(machine.nodes * machine.devices),
        "cpus-per-task": str(_cores(machine)),
        "kill-on-bad-exit": "1",
        "wait": "0",  # s after the first end; the writer ends last
        "export": "ALL",
        "unbuffered": True,
        "overlap": "SLURM_JOB_ID" in os.environ,  # with the step that this process may be in, which only waits
        "gpus-per-node": _gpus(machine),
    }
    options = {name: value for name, value in {**own, **machine.srun}.items() if value is not False}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
    return ["srun", *flags, sys.executable, "-m", "stages.train"]


def _cores(machine: Compute) -> int:
    """Of a process: its share of the workers, or of the cores of an allocation that has fewer on a node.

    What a task of that allocation has (SLURM_CPUS_PER_TASK) says nothing: the task may be this stage, which only waits.
    """
    given = os.environ.get("SLURM_JOB_CPUS_PER_NODE")  # as in 72(x2),36
    nodes = [int(count.partition("(")[0]) for count in given.split(",")] if given else []
    return max(1, min([machine.workers, *nodes]) // machine.devices)


def _gpus(machine: Compute) -> str | bool:
    told = any(name.startswith("gpus") or name == "gres" for name in machine.srun)
    return str(machine.devices) if machine.device == "cuda" and not told else False


def torchrun(machine: Compute) -> list[str]:
    """The command for this machine, the first."""
    return [sys.executable, "-m", "torch.distributed.run", *_rendezvous(machine, "0"), "-m", "stages.train"]


def hint(machine: Compute) -> str:
    """What to do on the other machines."""
    number, which = ("1", "") if machine.nodes == 2 else ("N", f", N from 1 to {machine.nodes - 1}")
    command = shlex.join(["torchrun", *_rendezvous(machine, number), "-m", "stages.train"])
    return f"train waits for {machine.nodes - 1} more; on each, in the project's folder{which}:\n  {command}\n"


def _rendezvous(machine: Compute, number: str) -> list[str]:
    address = os.environ.get("MASTER_ADDR") or socket.gethostname()
    return [
        f"--nnodes={machine.nodes}",
        f"--nproc-per-node={machine.devices}",
        f"--node-rank={number}",
        f"--master-addr={address}",
        f"--master-port={os.environ.get('MASTER_PORT') or _PORT}",
        f"--rdzv-conf=timeout={_PATIENCE_S}",
    ]
