# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Who is at work counts as that wherever it was started; what cannot be mended is told and left."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from stages.tracking.obstacles import obstacles
from tests.faults.light import Light, light_project, waiting_run


@pytest.fixture
def project(tmp_path: Path) -> Light:
    return light_project(tmp_path / "project")


def mend(project: Light) -> tuple[int, str]:
    run = project.start("python", "-m", "stages.check", "--mend")
    text = run.communicate()[0]
    return run.returncode, text


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("dvc --cd . repro", "."),
        ("dvc -q repro", "."),
        ("dvc repro --all-pipelines", "sub"),
        ("dvc --cd .. repro", "sub"),
    ],
)
def test_a_dvc_at_work_is_never_disturbed(project: Light, command: str, folder: str) -> None:
    """Not even where dvc.lock is damaged meanwhile: no remedy runs beside a DVC."""
    (project.folder / "sub").mkdir()
    with waiting_run(project, *command.split(), folder=folder) as run:
        (project.folder / "dvc.lock").write_text("")
        code, text = mend(project)
        assert code == 2
        at_work = f"`{command}` (process {run.pid}) is at work here: wait for its end, or stop it with `kill {run.pid}`"
        assert text == f"error: {at_work}\n"
        assert (project.folder / ".dvc/tmp/rwlock").exists()
        (project.folder / "dvc.lock").unlink()
    assert run.returncode == 0


def test_a_dvc_that_holds_the_lock_from_elsewhere_is_not_stale(project: Light, tmp_path: Path) -> None:
    """As one whose folder cannot be read, which is another user's: its command line alone says that it is a DVC."""
    stand_in = tmp_path / "dvc"
    stand_in.write_text("import time\ntime.sleep(100)\n")
    other = subprocess.Popen(["python3", str(stand_in), "repro", "train"], cwd="/")
    try:
        info = {"pid": other.pid, "cmd": "/usr/bin/dvc repro train"}
        (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(project.folder / "data"): info}}))
        found = obstacles(project.folder)
        assert [obstacle.remedy for obstacle in found] == [()]
        assert found[0].text.startswith(f"`dvc repro train` (process {other.pid}) is at work here")
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        ("exp show", False),
        ("exp run", True),
        ("-v exp -q apply it", True),
        ("exp run --queue", False),
        ("status", False),
    ],
)
def test_of_experiments_only_what_writes_here_is_in_the_way(
    project: Light, tmp_path: Path, told: str, counts: bool
) -> None:
    stand_in = tmp_path / "dvc"
    stand_in.write_text("import time\ntime.sleep(100)\n")
    other = subprocess.Popen(["python3", str(stand_in), *told.split()], cwd=project.folder)
    try:
        while "python3" not in Path(f"/proc/{other.pid}/cmdline").read_text():
            os.sched_yield()  # not yet the new program
        assert bool(obstacles(project.folder)) == counts
    finally:
        other.kill()
        other.wait()


def test_a_merge_conflict_is_not_a_full_disk(project: Light) -> None:
    """Two branches that ran with other parameters: told what it is, left as it is, and what is told works."""
    project.run("git", "checkout", "--quiet", "-b", "other")
    commit_with(project, 5)
    project.run("git", "checkout", "--quiet", "-")
    commit_with(project, 6)
    assert "CONFLICT" in project.run("git", "merge", "other", check=False)
    conflict = (project.folder / "dvc.lock").read_text()
    code, text = mend(project)
    assert code == 2
    told = "dvc.lock holds a merge conflict: resolve params.yaml, `git checkout --ours dvc.lock`, then `dvc repro`"
    assert text == f"error: {told}\n"
    assert (project.folder / "dvc.lock").read_text() == conflict
    project.run("git", "checkout", "--ours", "params.yaml", "metrics/val.json")
    project.run("git", "checkout", "--ours", "dvc.lock")
    project.run("dvc", "repro")
    assert json.loads((project.folder / "metrics/val.json").read_text())["sum"] == 15  # of 0 to 5


def commit_with(project: Light, to: int) -> None:
    (project.folder / "params.yaml").write_text(f"to: {to}\n")
    project.run("dvc", "repro", "--quiet")
    project.run("git", "commit", "--quiet", "--all", "--message", f"to {to}")


def test_a_remedy_that_fails_leaves_the_obstacle(project: Light) -> None:
    """Git refuses to touch its files while another git is at work."""
    (project.folder / "dvc.lock").write_text("")
    (project.folder / ".git/index.lock").touch()
    code, text = mend(project)
    assert code == 2
    assert "Traceback" not in text
    assert "error: dvc.lock is empty" in text
