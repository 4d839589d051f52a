# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The stages run where only a GPU machine's packages are, and start without loading heavy ones."""

import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = "dvc polars av2 hdbscan dufomap pypatchworkpp matplotlib pandas kornia dvclive lightning"
HEAVY = "torch scipy"


@pytest.mark.parametrize("stage", ["evaluate", "submit"])
def test_start_up(stage: str) -> None:
    code = f"""
import sys
for name in {ABSENT.split()!r}:
    sys.modules[name] = None
import stages.{stage}
loaded = [name for name in {HEAVY.split()!r} if name in sys.modules]
assert not loaded, loaded
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
