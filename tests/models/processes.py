# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Trainings in processes of their own: by the stage, and a script as several processes, by torch's launcher."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from models.training.parameters import TrainParameters
from stages.pipeline.code import ROOT

TRAIN = """
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

TWO_GPUS = (
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here"),
)


def start_training(
    data: Path, out: Path, parameters: TrainParameters, devices: int = 1, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Train on the CPU with a store beside `out`, as one process for each of several devices."""
    settings = {"STORE": f"{out}-store", "DEVICE": "cpu", "DEVICES": str(devices)}
    environment = {f"SCENEFLOW_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(data), str(out), json.dumps(asdict(parameters))],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=stderr,
        text=True,
    )


def run_processes(code: str, processes: int, folder: Path, *arguments: str) -> None:
    """Fail with what the processes said if one of them does."""
    script = folder / "rank.py"
    script.write_text(code)
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launch, str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
