# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training by srun on the two nodes of a real cluster, both of which are this machine (slow)."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.project import SMALL, Project, make_project
from tests.services.cluster import cluster, slurm

pytestmark = pytest.mark.slow

WEIGHTS = "data/weights/flow.safetensors"


@dataclass(frozen=True)
class Trained:
    """A project that was trained by two devices of one machine, and the bytes of its weights."""

    project: Project
    weights: bytes

    def settings(self, store: Path) -> dict[str, str]:
        """Of a machine that starts two processes on two nodes, with nothing in its store."""
        settings = {"LAUNCHER": "srun", "NODES": "2", "STORE": str(store)}
        found = {"SLURM_CONF": os.environ["SLURM_CONF"], "MASTER_ADDR": "127.0.0.1"}  # no name server knows the nodes
        return {**found, **{f"SCENEFLOW_{name}": value for name, value in settings.items()}}

    def start(self, store: Path, output: Path, *before: str) -> subprocess.Popen[bytes]:
        """The stage as DVC starts it, or by a command before it."""
        command = [*before, sys.executable, "-m", "stages.train"]
        environment = {**self.project.environment, **self.settings(store)}
        with output.open("ab") as file:
            return subprocess.Popen(command, cwd=self.project.folder, env=environment, stderr=file, stdout=file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster", nodes=2):
        project = make_project(tmp_path_factory.mktemp("training") / "project", {**SMALL, "train.epochs": 6})
        project.repro("train", SCENEFLOW_DEVICES="2")
        yield Trained(project, (project.folder / WEIGHTS).read_bytes())
        slurm("scancel", "--user=root")


def test_dvc_runs_once_and_two_nodes_give_the_bytes_of_two_devices(trained: Trained, tmp_path: Path) -> None:
    settings = trained.settings(tmp_path / "store")
    trained.project.repro("--force", "--single-item", "train", **settings)
    assert (trained.project.folder / WEIGHTS).read_bytes() == trained.weights
    jobs = slurm(
        "sacct", "--allocations", "--noheader", "--parsable2", "--name=sceneflow-train", "--format=NNodes,State"
    )
    assert jobs.split() == ["2|COMPLETED"]
    assert list((tmp_path / "store/train").glob("*.partial")) == []


def test_in_an_allocation_the_stage_takes_a_part_of_it(trained: Trained, tmp_path: Path) -> None:
    """Here from within a step of a job with more tasks than the training has processes, and with a core for each."""
    job = ("salloc", "--quiet", "--job-name=given", "--nodes=2", "--ntasks-per-node=3")
    step = ("srun", "--nodes=1", "--ntasks=1", "--cpus-per-task=1")
    workers = ("env", "SCENEFLOW_WORKERS=2")
    stage = trained.start(tmp_path / "store", tmp_path / "output", *job, *step, *workers)
    assert stage.wait(timeout=120) == 0, (tmp_path / "output").read_text()
    assert (trained.project.folder / WEIGHTS).read_bytes() == trained.weights
    jobs = slurm(
        "sacct", "--noheader", "--parsable2", "--name=given", "--format=JobID,NNodes,NTasks,NCPUS,State"
    ).split()
    assert [job.split("|", 1)[1] for job in jobs if job.partition("|")[0].endswith(".1")] == ["2|2|4|COMPLETED"]


def test_a_port_in_use_ends_the_step(trained: Trained, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = ("env", f"MASTER_PORT={taken.getsockname()[1]}")
        assert trained.start(tmp_path / "store", tmp_path / "output", *port).wait(timeout=60) == 1
    text = (tmp_path / "output").read_text()
    assert "error: process 0 cannot meet the others at 127.0.0.1:" in text.splitlines()[-1]
    assert "Traceback" not in text
    gone(tmp_path / "store")


def test_a_fault_of_the_machine_is_a_sentence(trained: Trained, tmp_path: Path) -> None:
    """The first process may not write as large a file as a checkpoint is; Slurm hands the limit on."""
    limited = ("sh", "-c", 'ulimit -f 2048; exec "$@"', "sh")  # of 512 or 1024 bytes
    assert trained.start(tmp_path / "store", tmp_path / "output", *limited).wait(timeout=120) == 1
    text = (tmp_path / "output").read_text()
    assert "error: train stopped: " in text.splitlines()[-1] and "run `dvc repro` again" in text.splitlines()[-1]
    assert "Traceback" not in text
    gone(tmp_path / "store")


def test_a_lost_process_is_one_sentence_and_the_next_run_goes_on(trained: Trained, tmp_path: Path) -> None:
    store, output = tmp_path / "store", tmp_path / "output"
    stage = trained.start(store, output)
    begun(stage, store)
    (checkpoint,) = store.glob("train/*.checkpoint/last.ckpt")
    (lost,) = processes(store, rank=1)
    os.kill(lost, signal.SIGKILL)
    assert stage.wait(timeout=60) == 1
    last = output.read_text().splitlines()[-1]
    assert last.startswith("error: training on 2 x 1 devices is not finished: srun ended with status ")
    assert "Traceback" not in output.read_text()
    gone(store)
    assert checkpoint.exists()
    assert trained.start(store, output).wait(timeout=300) == 0
    assert (trained.project.folder / WEIGHTS).read_bytes() == trained.weights
    assert not checkpoint.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_stage_ends_the_step(how: signal.Signals, trained: Trained, tmp_path: Path) -> None:
    store, output = tmp_path / "store", tmp_path / "output"
    stage = trained.start(store, output)
    begun(stage, store)
    stage.send_signal(how)
    assert stage.wait(timeout=20) == (-how if how == signal.SIGKILL else 130)
    gone(store)
    assert "Traceback" not in output.read_text()


def test_a_job_that_still_waits_is_cancelled_with_the_stage(trained: Trained, tmp_path: Path) -> None:
    slurm("scontrol", "update", "partition=all", "state=down")
    try:
        stage = trained.start(tmp_path / "store", tmp_path / "output")
        wait_until(lambda: "PENDING" in slurm("squeue", "--noheader", "--format=%T"))
        stage.send_signal(signal.SIGTERM)
        assert stage.wait(timeout=20) == 130
        wait_until(lambda: not slurm("squeue", "--noheader"))
    finally:
        slurm("scontrol", "update", "partition=all", "state=up")


def test_a_fault_of_the_first_process_is_its_sentence(trained: Trained, tmp_path: Path) -> None:
    """Here there is nothing to train on, in a project of its own."""
    folder = tmp_path / "project"
    subprocess.run(["git", "clone", "--quiet", trained.project.folder, folder], check=True)
    for kind in ("frames", "ground", "clusters"):
        (folder / "data" / kind / "train").mkdir(parents=True)
    empty = Trained(Project(folder, trained.project.environment), b"")
    assert empty.start(tmp_path / "store", tmp_path / "output").wait(timeout=120) == 1
    (line,) = (line for line in (tmp_path / "output").read_text().splitlines() if "error" in line)
    assert "error: the train split holds no pair of sweeps to train on" in line


def begun(stage: subprocess.Popen[bytes], store: Path) -> None:
    """Wait until an epoch is done."""
    wait_until(lambda: stage.poll() is not None or any(store.glob("train/*.checkpoint/last.ckpt")))
    assert stage.poll() is None


def gone(store: Path) -> None:
    wait_until(lambda: not slurm("squeue", "--noheader") and not processes(store, 0) + processes(store, 1))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes(store: Path, rank: int) -> list[int]:
    """Processes of a training, by what Slurm told them."""
    wanted = {f"SCENEFLOW_STORE={store}", f"SLURM_PROCID={rank}"}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            environment = (folder / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if wanted <= set(environment):
            found.append(int(folder.name))
    return found
