# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs as Slurm jobs: the same bytes, and nothing lost when jobs are. On a real cluster of this machine (slow)."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import InputError
from stages.pipeline.code import ROOT
from stages.pipeline.compute import Compute, SlurmSettings, compute
from stages.pipeline.slurm import chunks, submitter
from tests.pipeline.project import SMALL, make_project
from tests.pipeline.test_store import compute_powers, runs, wait_for, workspace, write_numbers  # noqa: F401
from tests.services.cluster import SCRIPT, cluster, slurm

DRIVER = (
    "from tests.pipeline import steps, test_store as t\n"
    "if __name__ == '__main__': t.compute_powers(steps.{function}, logs={logs})"
)


def settings(workers: int, jobs: int) -> Compute:
    return dataclasses.replace(compute(), workers=workers, slurm=SlurmSettings(jobs=jobs))


@pytest.mark.parametrize(
    ("tasks", "workers", "jobs", "sizes"),
    [
        (3, 8, 32, [3]),  # no more jobs than fill their workers
        (10, 2, 1, [3, 3, 3, 1]),
        (700, 8, 20, [9] * 77 + [7]),
        (20000, 8, 1000, [20] * 1000),  # no more than an array may have
    ],
)
def test_chunks_cover_every_log_once(tasks: int, workers: int, jobs: int, sizes: list[int]) -> None:
    found = chunks(tasks, settings(workers, jobs))
    assert [index for chunk in found for index in chunk] == list(range(tasks))
    assert [len(chunk) for chunk in found] == sizes


def test_without_slurm_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEFLOW_EXECUTOR", "slurm")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="executor is slurm but this machine has no sbatch; use a login node, or pool"):
        compute_powers()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("partition: cpu", {"partition=cpu", "requeue"}),
        ("exclusive: true", {"exclusive", "requeue"}),
        ("requeue: false, no-requeue: true, qos: ", {"no-requeue"}),
        ("exclusive: false, nice: 0", {"nice=0", "requeue"}),
    ],
)
def test_options_of_sbatch(options: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `compute.yaml` says, by the text that submitit hands to sbatch."""
    pytest.importorskip("submitit", reason="needs the extra slurm")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "srun").touch(mode=0o755)  # submitit asks whether there is one
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    own = "array cpus-per-task error job-name mem nodes open-mode output signal time wckey".split()
    (tmp_path / "compute.yaml").write_text(f"slurm: {{{options}}}\n")
    text = submitter(tmp_path, compute())._make_submission_file_text("true", "1")
    given = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    assert {option for option in given if option.partition("=")[0] not in own} == expected


def test_only_a_folder_of_the_script_is_removed(tmp_path: Path) -> None:
    (tmp_path / "results.txt").write_text("precious")
    result = subprocess.run([SCRIPT, "down", tmp_path], capture_output=True, text=True, check=False)
    assert (result.returncode, (tmp_path / "results.txt").read_text()) == (1, "precious")
    assert f"error: {tmp_path} was not made by `up`" in result.stderr


@pytest.fixture(scope="module", name="cluster")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    pytest.importorskip("submitit", reason="needs the extra slurm")
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster"):
        yield


@pytest.fixture
def on_slurm(cluster: None, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: F811
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SCENEFLOW_EXECUTOR", "slurm")
    monkeypatch.setenv("SCENEFLOW_MEMORY_GIB", "0.5")
    yield workspace
    slurm("scancel", "--user=root")


def start(logs: str, function: str = "waiting_log", **environment: str) -> subprocess.Popen[bytes]:
    """A driver in its own process; it waits for the file `in/go`."""
    Path("run.py").write_text(DRIVER.format(function=function, logs=list(logs)))
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in test_store
    try:
        with Path("driver.txt").open("a") as output:
            return subprocess.Popen([sys.executable, "run.py"], env={**os.environ, **environment}, stderr=output)
    finally:
        signal.signal(signal.SIGINT, ignored)


def go() -> None:
    Path("in/go").touch()


def begun(process: subprocess.Popen[bytes], logs: str) -> None:
    wait_for(lambda: all(Path(f"in/{log}.begun").exists() for log in logs), process)


def running() -> list[str]:
    return slurm("squeue", "--noheader", "--array", "--format=%A", "--states=running").split()


def outputs() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(Path("out").glob("*.txt"))}


@pytest.mark.slow
def test_every_log_is_computed_once_and_has_its_own_log_file(on_slurm: Path) -> None:
    assert compute_powers() == {"a": "4", "b": "9", "c": "25"}
    assert runs() == {"a": 1, "b": 1, "c": 1}
    logs = sorted(Path(".scratch/slurm").glob("sceneflow-power-*/logs/*.txt"))
    assert [path.stem for path in logs] == ["a", "b", "c"]
    assert all(socket.gethostname() in path.read_text() and "finished" in path.read_text() for path in logs)
    compute_powers()  # a second driver on the same store finds them
    assert runs() == {"a": 1, "b": 1, "c": 1}


@pytest.mark.slow
def test_a_cancelled_job_is_tried_again(on_slurm: Path) -> None:
    process = start("ab")
    begun(process, "ab")
    slurm("scancel", *running())
    wait_for(lambda: not slurm("squeue", "--noheader"), process)  # not even completing
    go()
    assert process.wait(timeout=60) == 0
    assert outputs() == {"a": "4", "b": "9"}
    assert "was lost (CANCELLED) with 2 unfinished logs" in Path("driver.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["requeue", "preempt", "node"])
def test_a_job_that_slurm_starts_again_is_not_lost(how: str, on_slurm: Path) -> None:
    """Requeued by hand, told of its preemption as submitit expects it, or on a node that went down and came back."""
    process = start("ab")
    begun(process, "ab")
    job, node = running()[0], socket.gethostname().split(".")[0]
    for log in "ab":
        Path(f"in/{log}.begun").unlink()
    if how == "requeue":
        slurm("scontrol", "requeue", job)
    elif how == "preempt":
        slurm("scancel", "--signal=USR2", job)
    else:
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        time.sleep(2)
        resume = ["scontrol", "update", f"nodename={node}", "state=resume"]
        subprocess.run(resume, check=False, capture_output=True)  # fails where it came back by itself
    begun(process, "ab")
    go()
    assert process.wait(timeout=60) == 0
    assert outputs() == {"a": "4", "b": "9"}
    assert "lost" not in Path("driver.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_driver_cancels_the_jobs(how: signal.Signals, on_slurm: Path) -> None:
    process = start("abc")
    begun(process, "ab")
    process.send_signal(how)
    assert process.wait(timeout=20) != 0
    queue = "unknown"
    for _ in range(200):
        queue = slurm("squeue", "--noheader")
        if not queue:
            break
        time.sleep(0.1)
    assert queue == ""
    assert not list(Path(".scratch/power").glob("*/manifest.json"))


@pytest.mark.slow
def test_a_log_that_takes_its_job_down_is_named_and_the_others_are_kept(on_slurm: Path) -> None:
    Path("compute.yaml").write_text("slurm: {tries: 2}\n")
    write_numbers({"b": -7})
    go()
    process = start("abc", SCENEFLOW_WORKERS="3")
    assert process.wait(timeout=120) != 0
    text = Path("driver.txt").read_text()
    assert "failed for 1 of 3 logs (finished logs are kept)" in text
    assert "log b: its Slurm job was lost 2 times, last " in text
    assert sorted(runs()) == ["a", "c"]


@pytest.mark.slow
def test_a_killed_worker_and_a_users_error_are_told_as_by_the_pool(on_slurm: Path) -> None:
    write_numbers({"a": -9, "b": -1})
    go()
    process = start("abc")
    assert process.wait(timeout=60) != 0
    text = Path("driver.txt").read_text()
    assert "failed for 2 of 3 logs" in text
    assert "log a: its worker was killed, probably for want of memory" in text
    assert "log b: number is negative; make it positive" in text
    assert runs() == {"c": 1}


@pytest.mark.slow
def test_a_pool_and_a_cluster_on_one_store_share_the_work(on_slurm: Path) -> None:
    first, second = start("abc", SCENEFLOW_EXECUTOR="pool", SCENEFLOW_WORKERS="1"), start("abc")
    begun(first, "a")
    go()
    assert (first.wait(timeout=60), second.wait(timeout=60)) == (0, 0)
    assert runs() == {"a": 1, "b": 1, "c": 1}
    assert outputs() == {"a": "4", "b": "9", "c": "25"}


@pytest.mark.slow
def test_a_refusal_of_slurm_is_one_sentence(on_slurm: Path) -> None:
    Path("compute.yaml").write_text("slurm: {partition: none}\n")
    with pytest.raises(InputError, match="Slurm refused the jobs of sceneflow-power-.*Invalid partition.*compute.yaml"):
        compute_powers()


@pytest.mark.slow
def test_a_driver_inside_a_job_submits_jobs_of_their_own(on_slurm: Path) -> None:
    Path("run.py").write_text(DRIVER.format(function="power_log", logs=list("ab")))
    slurm("srun", "--mem=200M", "--cpus-per-task=1", sys.executable, "run.py")
    assert outputs() == {"a": "4", "b": "9"}


@pytest.mark.slow
def test_one_two_four_workers_and_slurm_give_the_same_bytes(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every data artifact of the small DAG, raw logs to label quality, each time from an empty store."""
    digests = {}
    for name, workers in (("pool", "1"), ("pool", "2"), ("pool", "4"), ("slurm", "2")):
        project = make_project(tmp_path / f"{name}{workers}", SMALL)
        machine = {"SCENEFLOW_EXECUTOR": name, "SCENEFLOW_WORKERS": workers, "SCENEFLOW_MEMORY_GIB": "1"}
        project.repro("quality", "truth@val", "ground@test", SLURM_CONF=os.environ["SLURM_CONF"], **machine)
        digests[name, workers] = project.digests()
    first = digests["pool", "1"]
    assert any("clusters/train" in name for name in first)
    assert all(found == first for found in digests.values())
    folders = {path.name.split("-")[1] for path in (tmp_path / "slurm2/.scratch/slurm").iterdir()}
    assert folders == {"simulate", "ingest", "ground", "truth", "dynamic", "cluster", "quality"}
