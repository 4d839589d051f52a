# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A Slurm cluster of this machine for the tests of a module."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.pipeline.code import ROOT

SCRIPT = ROOT / "tests/services/slurm.sh"


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 1) -> Iterator[None]:
    """Run one in a folder that does not exist yet; skips the test where there is no Slurm."""
    if os.geteuid() != 0 or shutil.which("slurmctld") is None:
        pytest.skip(f"needs root and Slurm: {SCRIPT.relative_to(ROOT)} install")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([SCRIPT, "up", folder, str(nodes)], check=True)
        yield
    finally:
        if folder.exists():
            subprocess.run([SCRIPT, "down", folder], check=True)
        del os.environ["SLURM_CONF"]


def slurm(*command: str) -> str:
    """Output of a command of Slurm, which must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
