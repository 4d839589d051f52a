# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged caches and remotes, cut-off and stale locks, two runs at once: found, told in a sentence, and made good."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.pipeline.code import ROOT
from tests.faults.light import Light, light_project, rot, waiting_run


@pytest.fixture
def project(tmp_path: Path) -> Light:
    return light_project(tmp_path / "project")


def obstacles(project: Light) -> str:
    return project.run("python", "-m", "stages.check", "--obstacles", check=False)


@pytest.mark.parametrize("content", [None, b"", b"0 0 0"], ids=["a bit", "emptied", "cut off"])
def test_a_damaged_cache_is_found_and_made_again(project: Light, content: bytes | None) -> None:
    """DVC itself hands the damage on: it trusts what is read-only. The digests of all objects tell."""
    good = project.files()
    rot(project.object_of("data/numbers/1.txt"), content)
    assert project.files() != good  # output and object are one file
    text = project.run("python", "-m", "stages.verify", check=False)
    assert "- data/numbers/1.txt was damaged and is removed" in text
    assert "run `dvc repro`" in text
    project.run("dvc", "repro")
    assert project.files() == good
    assert "objects of the cache are whole" in project.run("python", "-m", "stages.verify")


def test_a_damaged_list_of_a_folder_is_found_too(project: Light) -> None:
    good = project.files()
    listing = next((project.folder / ".dvc/cache/files").rglob("*.dir"))
    rot(listing)
    assert "was damaged and is removed" in project.run("python", "-m", "stages.verify", check=False)
    project.run("dvc", "repro")
    assert project.files() == good


def test_a_damaged_remote_is_refused_and_computed_again(project: Light, tmp_path: Path) -> None:
    """A colleague's clone without data; the remote is set up as `make share` does."""
    good = project.files()
    store = tmp_path / "share"
    project.run("dvc", "remote", "add", "--default", "share", str(store))
    project.run("dvc", "remote", "modify", "share", "verify", "true")
    project.run("git", "commit", "--quiet", "--all", "--message", "share")
    project.run("dvc", "push", "--quiet")
    name = project.object_of("data/numbers/1.txt")
    rot(store / "files/md5" / name.parent.name / name.name)
    project.run("git", "clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    clone = Light(tmp_path / "clone")
    pulled = clone.start("dvc", "pull")
    pulled.communicate()
    assert pulled.returncode != 0
    assert not (clone.folder / "data/numbers/1.txt").exists()
    clone.run("dvc", "repro")
    assert clone.files() == good


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.93])
def test_a_cut_off_lock(project: Light, share: float) -> None:
    """As a full disk leaves it: one sentence says what to do, and doing it loses nothing.

    Where the cut leaves what DVC can read, there is nothing to do.
    """
    good = project.files()
    lock = project.folder / "dvc.lock"
    lock.write_text(lock.read_text()[: int(share * lock.stat().st_size)])
    text = obstacles(project)
    assert share > 0 or "is empty, as a full disk" in text
    if text:
        assert text.count("\n") == 1
        remedy = re.search(r"`(git checkout dvc.lock)`", text)
        assert remedy
        assert "Running" not in project.run("dvc", "repro", check=False)
        project.run(*remedy[1].split())
    project.run("dvc", "repro")
    assert project.files() == good


def test_a_lock_that_is_removed_is_made_again_without_running(project: Light) -> None:
    good = project.files()
    (project.folder / "dvc.lock").unlink()
    text = project.run("dvc", "repro")
    assert "Running stage 'count'" not in text
    assert project.files() == good


def holder(project: Light, pid: int) -> None:
    info = {"pid": pid, "cmd": "/usr/bin/dvc repro"}
    (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(project.folder / "data"): info}}))


def test_a_lock_of_a_dead_process_is_dropped(project: Light) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    holder(project, dead.pid)
    assert obstacles(project) == ""
    (project.folder / "params.yaml").write_text("to: 5\n")
    project.run("dvc", "repro")  # with a warning of DVC's own


def test_a_lock_whose_process_number_belongs_to_another_by_now(project: Light) -> None:
    other = subprocess.Popen(["sleep", "100"])
    try:
        holder(project, other.pid)
        (project.folder / "params.yaml").write_text("to: 5\n")
        refused = project.run("dvc", "repro", check=False)
        assert "is busy" in refused
        text = obstacles(project)
        assert f"is stale: it names process {other.pid}" in text
        assert "`sleep 100`" in text
        remedy = re.search(r"`(rm \.dvc/tmp/rwlock)`", text)
        assert remedy
        project.run(*remedy[1].split())
        project.run("dvc", "repro")
    finally:
        other.kill()
        other.wait()


def test_make_repro_mends_what_a_kill_left(project: Light) -> None:
    """Both lock files cut off at once, as DVC leaves them when it is killed while it writes; told and made good."""
    good = project.files()
    (project.folder / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  count:\n    cmd: python count.py\n    deps:\n    -"
    )
    (project.folder / ".dvc/tmp/rwlock").write_text("")
    text = project.run("python", "-m", "stages.check", "--mend")
    assert "running: git checkout dvc.lock" in text
    assert "running: rm .dvc/tmp/rwlock" in text
    assert project.run("python", "-m", "stages.check", "--mend") == ""
    assert "Running" not in project.run("dvc", "repro")
    assert project.files() == good


def test_a_damaged_lock_of_dvc(project: Light) -> None:
    (project.folder / ".dvc/tmp/rwlock").write_text('{"write": {')
    (project.folder / "params.yaml").write_text("to: 5\n")
    assert "corrupted" in project.run("dvc", "repro", check=False)
    assert "`rm .dvc/tmp/rwlock` and run it again" in obstacles(project)
    (project.folder / ".dvc/tmp/rwlock").unlink()
    project.run("dvc", "repro")


def test_two_runs_at_once(project: Light) -> None:
    """The second is refused and told who is at work; the first is not disturbed."""
    with waiting_run(project, "dvc", "repro") as first:
        second = project.start("dvc", "repro")
        assert "is busy" in second.communicate()[0]
        assert second.returncode != 0
        assert f"`dvc repro` (process {first.pid}) is at work here: wait for its end" in obstacles(project)
        mended = project.start("python", "-m", "stages.check", "--mend")
        assert "is at work here" in mended.communicate()[0]
        assert mended.returncode == 2
    assert first.returncode == 0
    assert obstacles(project) == ""


def test_why_the_lock_changed(project: Light) -> None:
    """Code, a parameter, and the same inputs with other results, as training on another kind of CPU has them."""
    explain = ("python", "-m", "stages.explain", "--changes")
    assert project.run(*explain) == ""
    (project.folder / "params.yaml").write_text("to: 5\n")
    project.run("dvc", "repro")
    assert project.run(*explain) == "dvc.lock differs from HEAD:\n- count: parameter changed: to 4 → 5\n"
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    (project.folder / "metrics/val.json").write_text(
        (project.folder / "metrics/val.json").read_text().replace("AVX2", "AVX512")
    )
    project.run("dvc", "commit", "--force", "--quiet", "add")
    text = project.run(*explain)
    assert text.startswith("dvc.lock differs from HEAD:\n- add: the same inputs gave other bytes, on another kind of")
    assert "(cpu AVX2 before, cpu AVX512 now)" in text


def test_a_killed_dvc_takes_its_stage_with_it(project: Light) -> None:
    """Also where a shell that waits stands between the two, as `sh` of Debian does."""
    stage = (
        "import pathlib, time\n"
        "from stages.pipeline.ending import end_with_dvc\n"
        "end_with_dvc()\n"
        "folder = pathlib.Path('data/numbers'); folder.mkdir(parents=True); pathlib.Path('began').touch()\n"
        "for i in range(100): time.sleep(0.05); (folder / 'tick').write_text(str(i))\n"
    )
    (project.folder / "count.py").write_text(stage)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for shell in filter(None, map(shutil.which, ("sh", "bash"))):
        (project.folder / "began").unlink(missing_ok=True)
        killed = subprocess.Popen(
            ["dvc", "repro"],
            cwd=project.folder,
            env={**os.environ, "SHELL": shell, "PATH": path, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (project.folder / "began").exists():
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        time.sleep(0.2)
        tick = project.folder / "data/numbers/tick"
        before = tick.read_text() if tick.exists() else ""
        time.sleep(0.5)  # ten ticks
        assert (tick.read_text() if tick.exists() else "") == before


def verify(project: Light) -> tuple[int, str]:
    run = project.start("python", "-m", "stages.verify")
    text = run.communicate()[0]
    return run.returncode, text


def test_an_object_that_the_disk_cannot_read_is_damaged(project: Light) -> None:
    """The first page of a process's memory reads as a bad sector does: EIO."""
    path = project.object_of("data/numbers/1.txt")
    path.unlink()
    path.symlink_to("/proc/self/mem")
    code, text = verify(project)
    assert code == 1
    assert f"- {path.parent.name}{path.name} was damaged and is removed" in text
    assert not path.is_symlink()
    project.run("dvc", "repro")


def test_an_object_that_may_not_be_read_is_named_and_kept(project: Light) -> None:
    path = project.object_of("data/numbers/1.txt")
    if os.geteuid():
        path.chmod(0)
    else:  # root may read all, but not a link to itself
        path.unlink()
        path.symlink_to(path.name)
    code, text = verify(project)
    assert code == 2
    assert re.search(rf"^error: \S*{path.parent.name}/{path.name} cannot be read \(", text, re.MULTILINE)
    assert path.is_symlink() or path.exists()


def test_the_first_run_has_no_commit_to_differ_from(project: Light) -> None:
    shutil.rmtree(project.folder / ".git")
    project.run("git", "init", "--quiet")
    assert project.run("python", "-m", "stages.explain", "--changes") == ""
