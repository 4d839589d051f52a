# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a training on several devices tells and obeys: signals, a bar of whole steps, where it began before."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from models.training.parameters import TrainParameters
from stages.pipeline.code import ROOT

RUN = """
import json, sys
from pathlib import Path
from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.learning.train import train_flow
from stages.pipeline.ending import end_on_signals
from stages.pipeline.parameters import from_mapping
end_on_signals("train")
parameters = from_mapping("train", TrainParameters, json.loads(sys.argv[3]))
try:
    train_flow(Path(sys.argv[1]), Path(sys.argv[2]) / "flow.safetensors", Path(sys.argv[2]) / "curves", parameters)
except InputError as error:
    sys.exit(f"error: {error}")
"""


def start(data: Path, out: Path, parameters: TrainParameters, devices: int = 2) -> subprocess.Popen[str]:
    """Train on several devices of the CPU."""
    settings = {"STORE": f"{out}-store", "DEVICE": "cpu", "DEVICES": str(devices)}
    environment = {f"SCENEFLOW_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(data), str(out), json.dumps(asdict(parameters))],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: int) -> list[int]:
    """Processes that a process started and that are still there."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in listing.stdout.split()]


def first_checkpoint(process: subprocess.Popen[str], out: Path) -> None:
    """Wait for it."""
    while not list(Path(f"{out}-store").rglob("last.ckpt")):
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.05)


def test_a_sigterm_to_the_first_process_ends_both_and_another_number_of_devices_is_told(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    endless = replace(parameters, batch=4, epochs=2000, held_out=0.0)
    process = start(data, tmp_path / "out", endless)
    first_checkpoint(process, tmp_path / "out")
    others = children(process.pid)
    assert others
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "train was interrupted; what is finished is kept" in told
    assert "note:" not in told
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{other}").exists() for other in others):
        assert time.monotonic() < deadline, "the other process outlives the first"
        time.sleep(0.1)

    alone = start(data, tmp_path / "out", endless, devices=1)
    assert alone.stderr is not None
    line = alone.stderr.readline()
    alone.kill()
    alone.communicate()
    assert re.fullmatch(
        r"note: this training was begun on 2 x (cpu \w+) and goes on there alone; on \1 it begins anew"
        r" \(both stay in the store\)\n",
        line,
    )


def test_the_first_process_names_another_that_was_killed(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    process = start(data, tmp_path / "out", replace(parameters, batch=4, epochs=2000, held_out=0.0))
    first_checkpoint(process, tmp_path / "out")
    (other,) = children(process.pid)
    os.kill(other, signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert told.count("error: the training of another device was killed by signal 9\n") == 1


def test_the_bar_counts_steps_and_not_their_parts(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    process = start(data, tmp_path / "out", replace(parameters, batch=4, accumulate=2, epochs=3, held_out=0.0))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told[-2000:]
    bars = [(int(done), int(total)) for done, total in re.findall(r"(\d+)/(\d+) \[", told)]
    assert bars[-1][0] == bars[-1][1] > 3
    assert all(done <= total for done, total in bars)
    assert not re.search(r"\d+step \[", told)  # so it shows one that has gone beyond its total
