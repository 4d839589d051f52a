# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a training tells and obeys: signals, a bar of whole steps, what it finds in the store."""

import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.data.module import EpochSampler
from models.training.parameters import TrainParameters
from stages.learning.train import train_flow
from stages.learning.unfinished import checkpoint_of, tell_of_others
from tests.models.processes import start_training


def children(process: int) -> list[int]:
    """Processes that a process started and that are still there."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in listing.stdout.split()]


def first_checkpoint(process: subprocess.Popen[str], out: Path) -> None:
    """Wait for it."""
    while not list(Path(f"{out}-store").rglob("last.ckpt")):
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.05)


def test_a_sigterm_to_the_first_process_ends_both(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    process = start_training(data, tmp_path / "out", replace(parameters, batch=4, epochs=2000, held_out=0.0), devices=2)
    first_checkpoint(process, tmp_path / "out")
    others = children(process.pid)
    assert others
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "train was interrupted; what is finished is kept" in told
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{other}").exists() for other in others):
        assert time.monotonic() < deadline, "the other process outlives the first"
        time.sleep(0.1)


def test_the_first_process_names_another_that_was_killed(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    process = start_training(data, tmp_path / "out", replace(parameters, batch=4, epochs=2000, held_out=0.0), devices=2)
    first_checkpoint(process, tmp_path / "out")
    (other,) = children(process.pid)
    os.kill(other, signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert told.count("error: the training of another device was killed by signal 9\n") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_process_reads_wrong_is_told(
    rank: int, data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    """Of a log's first or last sweep, which one of its three pairs holds and so one process reads."""
    parameters = replace(parameters, batch=2, epochs=1, held_out=0.0)
    order = [number for _, number in EpochSampler(6, parameters.seed, True, rank, 2)]
    log, pair = next(divmod(number, 3) for number in order if number % 3 != 1)
    sweep = 0 if pair == 0 else 3
    with h5py.File(data / f"frames/train/log{log}.h5", "r+") as frames:
        frames["xyz"][frames["frame_start"][sweep] + 5] = np.nan
    process = start_training(data, tmp_path / "out", parameters, devices=2)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert told.count(f"log log{log}: sweep {sweep} of") == 1
    assert "InputError" not in told and "ReadError" not in told  # as a traceback would name them


def test_the_bar_counts_steps_and_not_their_parts(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    in_parts = replace(parameters, batch=4, accumulate=2, epochs=3, held_out=0.0)
    process = start_training(data, tmp_path / "out", in_parts, devices=2)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told[-2000:]
    bars = [(int(done), int(total)) for done, total in re.findall(r"(\d+)/(\d+) \[", told)]
    assert bars[-1][0] == bars[-1][1] > 3
    assert all(done <= total for done, total in bars)
    assert not re.search(r"\d+step \[", told)  # so it shows one that has gone beyond its total


def test_a_training_that_was_begun_on_other_devices_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = {"parameters": {"range": (1, 2)}, "data": "d", "device": "2 x cpu AVX2"}
    two, other, alone = (checkpoint_of(tmp_path, key) for key in ("two", "other", "alone"))
    tell_of_others(two, history)
    two.touch()
    tell_of_others(other, {**history, "data": "e"})
    other.touch()
    assert capsys.readouterr().err == ""
    tell_of_others(alone, {**history, "device": "cpu AVX2"})
    assert capsys.readouterr().err == (
        "note: this training was begun on 2 x cpu AVX2 and goes on there alone; on cpu AVX2 it begins anew"
        " (both stay in the store)\n"
    )
    tell_of_others(two, history)
    assert capsys.readouterr().err == "train: goes on from its last checkpoint\n"


def test_a_batch_beyond_all_pairs_and_a_finished_training_are_told(
    data: Path,
    tmp_path: Path,
    parameters: TrainParameters,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cpu")
    large = replace(parameters, batch=1000, epochs=1)
    train_flow(data, tmp_path / "a/flow.safetensors", tmp_path / "a/curves", large)
    assert "note: train.batch is 1000 and there are " in capsys.readouterr().err
    train_flow(data, tmp_path / "b/flow.safetensors", tmp_path / "b/curves", large)
    assert capsys.readouterr().err == "train: these weights were trained before, and are in the store\n"
    assert (tmp_path / "a/flow.safetensors").read_bytes() == (tmp_path / "b/flow.safetensors").read_bytes()
