# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The same bytes whatever the clock, the folder, the user and the number of workers; damage is found by content."""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kills import TARGET, TINY, Range
from tests.faults.light import rot
from tests.pipeline.project import Project, make_project


def test_damage_in_one_file_that_is_store_output_and_cache(field: Range) -> None:
    """One inode has three names; `make verify` tells, the store notices by itself, and the bytes come back."""
    field.forget(["ground@train"])
    field.project.repro(TARGET)
    path = next((field.project.folder / "data/ground/train").glob("*.h5"))
    assert path.stat().st_nlink == 3
    rot(path)
    assert field.project.digests() != field.digests
    text = field.project.run("python", "-m", "stages.verify", check=False).stdout
    assert f"{path.relative_to(field.project.folder)} was damaged and is removed" in text
    again = field.project.repro(TARGET)
    assert "ground@train" in again.ran
    assert "is damaged; computing it again" in again.text
    assert field.project.digests() == field.digests


def test_files_from_another_time(field: Range) -> None:
    """A clock that jumped leaves files of the future and of the far past: content decides, not time."""
    for number, path in enumerate(sorted((field.project.folder / "data").rglob("*"))):
        if path.is_file():
            time = 4e9 if number % 2 else 1e6
            os.utime(path, (time, time))
    assert field.project.repro(TARGET).ran == set()
    field.forget(["ground@val", "predict@val", "evaluate"])
    field.project.repro(TARGET)
    assert field.project.digests() == field.digests


@pytest.mark.slow
@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumps_in_the_middle(days: int, field: Range) -> None:
    """Half of the pipeline more than a year away from the other half."""
    if shutil.which("faketime") is None:
        pytest.skip("needs faketime")
    field.forget(field.stages[-6:])
    field.project.run("faketime", "-m", "-f", f"{days:+}d", "dvc", "repro", TARGET)
    assert field.project.digests() == field.digests
    assert field.lock() == field.locked


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def ordinary_user() -> list[str] | None:
    """A prefix that runs a command as somebody whom file modes stop: as another user, or as root without its powers.

    None where neither may run our Python.
    """
    nobody = pwd.getpwnam("nobody")
    other = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    works = ["sh", "-c", f"{shlex.quote(sys.executable)} -c 'import dvc'"]  # the shell has nothing left of root
    for prefix in (other, ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]):
        try:
            if subprocess.run([*prefix, *works], capture_output=True, check=False).returncode == 0:
                return prefix
        except FileNotFoundError:
            return None
    return None


@pytest.mark.slow
def test_another_clone_user_day_and_number_of_workers(field: Range, open_folder: Path) -> None:
    """From nothing, as an ordinary user, whom read-only files stop: nothing opens an artifact for writing."""
    become = ordinary_user() if os.getuid() == 0 else []
    if become is None:
        pytest.skip("needs setpriv, to give up root's powers")
    project = make_project(open_folder / "elsewhere/a clone", TINY)
    environment = {**project.environment, "HOME": str(open_folder), "DVC_SITE_CACHE_DIR": str(open_folder / "site")}
    if any("reuid" in part for part in become):
        for path in [open_folder, *open_folder.rglob("*")]:
            shutil.chown(path, "nobody")
    other = Project(project.folder, {**environment, "SCENEFLOW_WORKERS": "1"})
    day = ["faketime", "-m", "-f", "+400d"] if shutil.which("faketime") else []
    probe = other.run(*become, "sh", "-c", "echo > probe && chmod 444 probe && echo >> probe", check=False).stdout
    assert "Permission denied" in probe  # else this would prove nothing
    (project.folder / "probe").unlink()
    other.run(*become, *day, sys.executable, "-m", "dvc", "repro", TARGET)
    assert other.digests() == field.digests
    assert other.run("cat", "dvc.lock").stdout == field.project.run("git", "show", "HEAD:dvc.lock").stdout
