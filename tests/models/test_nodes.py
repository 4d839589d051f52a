# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Several machines (processes that meet at a port stand for them): the same bytes as several devices of one machine."""

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import HashStore

from models.data.faults import ReadError
from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.learning import launch, meeting, node
from stages.learning.launch import Task
from stages.learning.meeting import Alone, Meeting
from stages.learning.ranks import Run
from stages.learning.train import train_flow
from stages.pipeline.code import ROOT
from stages.pipeline.compute import compute
from tests.models.conftest import Trained
from tests.pipeline.services import free_port


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"STORE": str(tmp_path / "scratch"), "DEVICE": "cpu", "NODES": "2", "LAUNCHER": "torchrun"}
    for name, value in settings.items():
        monkeypatch.setenv(f"SCENEFLOW_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def train(data: Path, out: Path, parameters: TrainParameters) -> bytes:
    train_flow(data, out / "flow.safetensors", out / "curves", parameters)
    return (out / "flow.safetensors").read_bytes()


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """The command that the stage tells for the other machine, without what the stage's own processes are told."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    told = shlex.split(launch.hint(compute()).splitlines()[1])
    assert told[0] == "torchrun"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SCENEFLOW_")}
    command = [sys.executable, "-m", "torch.distributed.run", *told[1:]]
    with subprocess.Popen(command, env=plain, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_two_machines_give_the_bytes_of_two_devices(
    second: subprocess.Popen[str], by_two_devices: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = train(by_two_devices.data, tmp_path / "out", by_two_devices.parameters)
    assert weights == (by_two_devices.out / "flow.safetensors").read_bytes()
    assert second.wait(timeout=30) == 0
    assert "train waits for 1 more; on each, in the project's folder:\n  torchrun --nnodes=2" in capfd.readouterr().err
    assert len(list((tmp_path / "scratch/train").glob("*.partial"))) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LAUNCHER": "none"}, "nodes is 2, so launcher must be srun or torchrun"),
        ({"DEVICE": "auto"}, "launcher is torchrun, so device must be cpu or cuda and not auto"),
        ({"LAUNCHER": "srun"}, "launcher is srun but this machine has no srun; use a login node, or torchrun"),
        (
            {"DEVICES": "2"},
            r"train\.batch 2 cannot be divided among 4 devices; make it a multiple of 4",
        ),
    ],
)
def test_settings_that_do_not_fit(
    settings: dict[str, str],
    message: str,
    tmp_path: Path,
    parameters: TrainParameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name, value in settings.items():
        monkeypatch.setenv(f"SCENEFLOW_{name}", value)
    with pytest.raises(InputError, match=message):
        train(tmp_path, tmp_path, parameters)
    assert not (tmp_path / "scratch").exists()


def test_a_launcher_that_fails_is_one_sentence(
    tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it stays in the store."""
    monkeypatch.setattr(launch, "torchrun", lambda machine: ["sh", "-c", "kill -KILL $$"])
    with pytest.raises(InputError, match=r"2 x 1 devices is not finished: torchrun ended with status 137.*`dvc repro`"):
        train(tmp_path, tmp_path, parameters)
    assert [path.name for path in (tmp_path / "scratch/train").iterdir()] == [".in_use"]


STAGE = """
import sys
from stages.learning import launch
launch._run(["sh", "-c", "trap 'echo ended >{file}; exit' TERM; echo begun >{file}; while :; do sleep 0.1; done"], {{}})
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_launcher_ends_with_the_stage(how: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "file"
    stage = subprocess.Popen([sys.executable, "-c", STAGE.format(file=file)], cwd=ROOT)
    wait_until(lambda: file.exists() and file.read_text() == "begun\n")
    stage.send_signal(how)
    assert stage.wait() == -how
    wait_until(lambda: file.read_text() == "ended\n")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def run(data: Path, tmp_path: Path, parameters: TrainParameters) -> Run:
    checkpoint = tmp_path / "scratch/train/key.checkpoint/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    return Run(data, parameters, "cpu", 1, checkpoint, 0, False, 2)


def meet(run: Run, changes: Mapping[str, object] = {}) -> tuple[str, str]:
    """What the first and what the second process end with, where all is told but nothing is trained."""
    store, ends = HashStore(), ["", ""]
    told = {"run": run.to_json(), "resumes": run.checkpoint.exists(), **node._seen(run.logs()), **changes}

    def lead() -> None:
        Meeting(0, 2, store).agree(told)

    def follow() -> None:
        node._follow(Meeting(1, 2, store))

    def end(number: int, function: Callable[[], None]) -> None:
        try:
            function()
        except InputError as error:
            ends[number] = str(error)
        finally:
            Meeting(0, 2, store).dismiss()

    threads = [threading.Thread(target=end, args=item) for item in enumerate((lead, follow))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return ends[0], ends[1]


def test_a_process_that_sees_something_else_is_named(
    run: Run, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trains then: that all agree and train is shown above."""
    monkeypatch.setattr(node, "_fit", lambda *_: None)
    assert meet(run) == ("", "")
    nowhere = replace(run, data=tmp_path / "nowhere")
    for case, message in (
        ({"run": nowhere.to_json()}, f"there are no logs in {tmp_path}/nowhere, unlike those of the first process"),
        ({"logs": "others"}, "its logs differ from those of the first process"),
        ({"sources": "others"}, "its sources differ"),
        ({"packages": {"torch": "1.0"}}, "its packages differ"),
        ({"resumes": True}, f"{run.checkpoint} is not what the first process sees"),
        ({"run": replace(run, device="cuda", devices=99).to_json()}, "99 devices are asked for, but torch sees "),
    ):
        first, second = meet(run, case)
        assert first == second
        assert first.startswith("process 1 on ") and f": {message}" in first


def test_a_process_that_cannot_open_its_logs_is_told_with_the_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def same_logs(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(node, "_same_logs", same_logs)
    first, second = meet(run)
    assert first == second
    assert first.startswith("train stopped: process 1 on ") and "raise the limit (`ulimit -n`)" in first


def test_a_defect_of_a_process_does_not_keep_the_first_waiting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def same_logs(*_: object) -> None:
        raise KeyError("frames")

    monkeypatch.setattr(node, "_same_logs", same_logs)
    store, told = HashStore(), {"run": run.to_json()}
    store.set("told", json.dumps(told))
    with pytest.raises(KeyError):
        node._follow(Meeting(1, 2, store))
    with pytest.raises(InputError, match=r"process 1 on .* failed with KeyError; its own message says where"):
        Meeting(0, 2, store).agree(told)


def test_processes_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_ANSWER", timedelta(seconds=0.1))
    store = HashStore()
    Meeting(2, 5, store).answer("")
    with pytest.raises(Alone, match=r"of 5 processes, number 1, 3, 4 did not open the logs .* `dvc repro` again"):
        Meeting(0, 5, store).agree({})
    assert not Meeting(1, 5, store).store.check(["go"])


@pytest.fixture
def second_process(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the launch in which this one is the second process, whose disk fails in training."""

    def fit(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "frames.h5")

    store = HashStore()
    first = Meeting(0, 2, store)
    first.store.set("answer1", "")
    first.agree({"run": run.to_json(), "resumes": False, **node._seen(run.logs())})
    monkeypatch.setattr(Meeting, "join", lambda: Meeting(1, 2, store))
    monkeypatch.setattr(node, "_fit", fit)
    folder = tmp_path / "launch"
    folder.mkdir()
    monkeypatch.setenv(launch.FOLDER, str(folder))
    return folder


SENTENCE = "train stopped: process 1 on {host}: Input/output error (frames.h5); the disk reports a fault"


def test_the_stage_is_told_the_fault_of_any_process(second_process: Path) -> None:
    with pytest.raises(SystemExit) as end:
        node._meet_and_train(1)
    assert end.value.code == 1
    (file,) = second_process.iterdir()
    assert file.read_text().startswith(SENTENCE.format(host=socket.gethostname()))
    with pytest.raises(InputError, match="Input/output error"):
        launch._raise_fault(second_process, 1, compute())


def test_what_one_process_reads_wrong_is_left_to_the_launcher_to_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for it within a step."""

    def fit(*_: object) -> None:
        raise ReadError("log a: sweep 3 holds a point that is not finite")

    monkeypatch.setattr(Run, "fit", fit)
    with pytest.raises(Alone, match="log a: sweep 3"):
        node._fit(run, None, [])


def test_a_fault_that_the_stage_cannot_be_told_is_on_the_terminal(second_process: Path) -> None:
    """As of a process that torchrun started on another machine, or that does not see the store."""
    second_process.rmdir()
    with pytest.raises(SystemExit) as end:
        node._meet_and_train(1)
    assert str(end.value.code).startswith(f"error: {SENTENCE.format(host=socket.gethostname())}")


def test_the_first_fault_is_the_one_told(tmp_path: Path) -> None:
    launch.write_fault(tmp_path, "the cause")
    launch.write_fault(tmp_path, "the consequence")
    with pytest.raises(InputError, match="the cause"):
        launch._raise_fault(tmp_path, 1, compute())


def test_a_fault_that_cannot_be_written_is_on_the_terminal(tmp_path: Path) -> None:
    """As on the full disk that it tells of; here the process may not write any file."""
    code = "from stages.learning import node; node._tell('the disk is full')"
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-B", "-c", code]
    environment = {**os.environ, launch.FOLDER: str(tmp_path)}
    process = subprocess.run(limited, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (process.returncode, process.stderr) == (1, "error: the disk is full\n")
    assert not (tmp_path / launch._FAULT).exists()


# What a launcher does with two processes: one that ends badly ends the other, for one that ends well it would wait.
STEP = """
for rank in 0 1; do RANK=$rank LOCAL_RANK=0 "$@" & done
wait -n; status=$?
echo $status >"$0"
kill $(jobs -p); wait
exit $status
"""


def test_a_port_in_use_ends_all(tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process does not see more than that nobody answers."""
    command = ["bash", "-c", STEP, str(tmp_path / "status"), sys.executable, "-m", "stages.train"]
    monkeypatch.setattr(launch, "torchrun", lambda machine: command)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in {**place, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "sceneflow"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(InputError, match=r"process 0 cannot meet the others at 127\.0\.0\.1:\d+ "):
            train(tmp_path, tmp_path, parameters)
    assert (tmp_path / "status").read_text() == "1\n"


def test_the_first_process_has_nothing_to_train() -> None:
    """As where the result is in the store by now."""
    store = HashStore()
    Meeting(0, 2, store).dismiss()
    node._follow(Meeting(1, 2, store))
    assert not store.check(["answer1"])


def test_what_slurm_tells_in_the_words_of_torch() -> None:
    step = {
        "SLURM_PROCID": "11",
        "SLURM_LOCALID": "3",
        "SLURM_NODEID": "1",
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_JOB_ID": "1234567",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
    }
    told = node.names_of_torch(step)
    assert [told[name] for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE")] == ["11", "3", "1", "16"]
    assert (told["LOCAL_WORLD_SIZE"], told["MASTER_ADDR"]) == ("8", "gpu07")
    assert 15000 <= int(told["MASTER_PORT"]) < 30000
    assert told["MASTER_PORT"] != node.names_of_torch({**step, "SLURM_STEP_ID": "1"})["MASTER_PORT"]
    assert node.names_of_torch({**step, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4"})["MASTER_ADDR"] == "10.0.0.7"


def test_options_of_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCENEFLOW_NODES", "SCENEFLOW_LAUNCHER", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cuda")
    text = "nodes: 2\ndevices: 4\nworkers: 32\nlauncher: srun\nsrun: {partition: gpu, exclusive: true, wait: false}\n"
    Path("compute.yaml").write_text(text)
    command = launch.srun(compute())
    assert command[0] == "srun" and command[-3:] == [sys.executable, "-m", "stages.train"]
    flags = "nodes=2 ntasks-per-node=4 ntasks=8 cpus-per-task=8 gpus-per-node=4 partition=gpu exclusive".split()
    assert {f"--{flag}" for flag in flags} < set(command)
    assert not any(flag.startswith(("--wait", "--overlap")) for flag in command)
    Path("compute.yaml").write_text(f"{text.replace('wait: false', 'gres: gpu:h100:4')}")
    monkeypatch.setenv("SLURM_JOB_ID", "5")  # in an allocation
    command = launch.srun(compute())
    assert {"--gres=gpu:h100:4", "--overlap", "--wait=0"} < set(command)
    assert not any(flag.startswith("--gpus") for flag in command)


@pytest.mark.parametrize(("given", "cores"), [(None, 8), ("72(x2)", 8), ("32", 8), ("72,16(x3)", 4), ("1(x2)", 1)])
def test_cores_of_a_process(given: str | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task of an allocation that the stage is in may have a single one."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.delenv("SLURM_JOB_CPUS_PER_NODE", raising=False)
    if given:
        monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", given)
    command = launch.srun(replace(compute(), workers=32, devices=4))
    assert f"--cpus-per-task={cores}" in command


def test_a_process_of_torchrun_alone_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch.FOLDER, raising=False)
    with pytest.raises(InputError, match="run `dvc repro train` there, torchrun elsewhere"):
        node._lead(Meeting(0, 1, HashStore()))


def test_a_store_that_is_not_shared_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the store must be on a disk that all machines share"):
        Task.read(tmp_path / "nowhere")
