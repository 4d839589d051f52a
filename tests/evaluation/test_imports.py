# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The stages run where only a GPU machine's packages are, and start without loading heavy ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.pipeline.code import ROOT, project_files

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


def test_an_edit_of_a_metric_or_a_kernel_remakes_no_submission() -> None:
    needed = {path.relative_to(ROOT).as_posix() for path in project_files("stages.submit")}
    assert not {path for path in needed if path.startswith("kernels/")}
    metrics = (
        "accumulate",
        "baselines",
        "bins",
        "buckets",
        "classes",
        "families",
        "frame",
        "opensceneflow",
        "ranges",
        "sources",
        "v1",
        "v2",
    )
    assert not {f"stages/evaluation/{name}.py" for name in metrics} & needed
    assert {f"stages/evaluation/{name}.py" for name in ("predictions", "submission", "archive")} <= needed
