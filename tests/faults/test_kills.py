# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, the next `dvc repro` ends as if nothing had happened; `make faults` has two hundred kills."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from stages.pipeline.alone import alone
from tests.faults.kills import TARGET, Kill, Range, draw

RUNS = [("dvc", "SIGKILL"), ("stage", "SIGTERM"), ("worker", "SIGKILL"), ("all", "SIGINT")]


@pytest.mark.parametrize(("level", "sent"), RUNS)
def test_a_kill_at_a_random_moment(level: str, sent: str, field: Range) -> None:
    rng = random.Random(f"{level} {sent}")
    first = rng.randrange(len(field.stages) - 1)
    forgotten = tuple(field.stages[first : first + 2])
    result = field.strike(Kill(0, forgotten, level, sent, rng.uniform(0.1, 0.4)))
    assert result["outcome"].startswith(("right", "remedied")), result
    assert not {"Segmentation fault", "leaked", "exited with -11"} & set(result["noise"])


def test_a_run_that_hangs_is_lost(field: Range, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC is stopped and never goes on; that the next run makes all good does not make this right."""
    monkeypatch.setattr("tests.faults.kills.PATIENCE", 1.0)
    result = field.strike(Kill(0, (field.stages[-1],), "dvc", "SIGSTOP", 0.1))
    assert result["outcome"] == "lost: it hung"
    assert field.project.digests() == field.digests


def test_the_sequence_of_kills_is_a_matter_of_the_seed() -> None:
    stages = ["a", "b", "c"]
    assert [draw(8, number, stages) for number in range(50)] == [draw(8, number, stages) for number in range(50)]
    kills = [draw(8, number, stages) for number in range(200)]
    assert {(kill.level, kill.signal) for kill in kills} == {
        (level, sent) for level in ("dvc", "stage", "worker", "all") for sent in ("SIGKILL", "SIGTERM", "SIGINT")
    }


def test_training_that_was_killed_goes_on_and_never_from_other_parameters(field: Range, tmp_path: Path) -> None:
    """Killed with -9 after an epoch; another learning rate trains from the start; the first one goes on, to the bit."""
    project = field.project
    field.forget(["train"])
    run = field.start(tmp_path / "output")
    checkpoints = project.folder / ".scratch/train"
    while not list(checkpoints.glob("*.checkpoint/last.ckpt")):
        assert run.poll() is None, "ended before its first checkpoint"
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    kept = next(checkpoints.glob("*.checkpoint/last.ckpt"))
    before = kept.read_bytes()
    project.set({"train.learning_rate": 0.01})
    project.repro("train")
    other = (project.folder / "data/weights/flow.safetensors").read_bytes()
    project.run("python", "-m", "stages.train", SCENEFLOW_STORE=str(tmp_path / "empty"))
    assert (project.folder / "data/weights/flow.safetensors").read_bytes() == other
    assert kept.read_bytes() == before
    project.run("git", "checkout", "--quiet", "params.yaml")
    resumed = project.repro(TARGET)
    assert "train" in resumed.ran
    assert "train:   0%" not in resumed.text
    assert not kept.exists()
    assert project.digests() == field.digests


@pytest.mark.slow
def test_ctrl_c_in_training_is_one_sentence(field: Range, tmp_path: Path) -> None:
    """Ten times at random moments: no crash of a library half torn down, and nothing said but that."""
    project, rng = field.project, random.Random(0)
    for number in range(10):
        store = tmp_path / f"store{number}"
        run = subprocess.Popen(
            ["python", "-m", "stages.train"],
            cwd=project.folder,
            env={**project.environment, "SCENEFLOW_STORE": str(store)},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not list(store.glob("train/*.partial")):  # it begins to train when this is there
            assert run.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 2))
        run.send_signal(signal.SIGINT)
        said = run.communicate()[1]
        if run.returncode != 0:  # else it was faster
            assert run.returncode == 130, said
            assert said.endswith("train was interrupted; what is finished is kept, logs and epochs of training\n")
            assert not [word for word in ("Traceback", "Segmentation", "leaked") if word in said]
    project.repro(TARGET)
    assert project.digests() == field.digests


def test_a_stage_waits_for_another_run_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one is told of; one of another split, or in another folder, is not waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    pid = os.fork()
    if pid == 0:
        with alone("ground", "val"):
            (tmp_path / "inside").touch()
            time.sleep(1.0)
            (tmp_path / "done").touch()
        os._exit(0)
    while not (tmp_path / "inside").exists():
        time.sleep(0.01)
    with alone("ground", "train"):
        assert not (tmp_path / "done").exists()
    with alone("ground", "val"):
        assert (tmp_path / "done").exists()
    os.waitpid(pid, 0)
    assert "another run of ground val is at work in this folder; waiting" in capsys.readouterr().err
