# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a script as several processes of one training, by torch's launcher."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.pipeline.code import ROOT

TWO_GPUS = (
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here"),
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
