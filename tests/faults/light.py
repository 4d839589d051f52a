# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A pipeline of two stages under the real DVC, for faults that are DVC's to meet and ours to explain."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from stages.pipeline.code import ROOT

PIPELINE = {
    "stages": {
        "count": {"cmd": "python count.py", "deps": ["count.py"], "params": ["to"], "outs": ["data/numbers"]},
        "add": {
            "cmd": "python add.py",
            "deps": ["add.py", "data/numbers"],
            "metrics": [{"metrics/val.json": {"cache": False}}],
        },
    }
}
COUNT = """\
import pathlib, yaml
folder = pathlib.Path("data/numbers")
folder.mkdir(parents=True)
for i in range(yaml.safe_load(open("params.yaml"))["to"]):
    (folder / f"{i}.txt").write_text(f"{i} " * 1000)
"""
ADD = """\
import json, pathlib
total = sum(int(path.read_text().split()[0]) for path in pathlib.Path("data/numbers").iterdir())
pathlib.Path("metrics").mkdir(exist_ok=True)
json.dump({"provenance": {"trained_on": "2 logs, cpu AVX2"}, "sum": total}, open("metrics/val.json", "w"))
"""


@dataclass(frozen=True)
class Light:
    """The project's folder, and commands in it."""

    folder: Path

    def run(self, *command: str, check: bool = True) -> str:
        """What a command says on both channels; RuntimeError where it fails."""
        result = self.start(*command)
        text = result.communicate()[0]
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}:\n{text}")
        return text

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """A command in the background."""
        identity = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **identity, "PATH": path, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def files(self) -> dict[str, bytes]:
        """Content of every artifact, and the lock."""
        found = [*(self.folder / "data").rglob("*"), *(self.folder / "metrics").rglob("*"), self.folder / "dvc.lock"]
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(found)
            if path.is_file() and path.name != ".gitignore"
        }

    def object_of(self, name: str) -> Path:
        """The object in the cache that an output is a link to."""
        wanted = (self.folder / name).stat().st_ino
        return next(
            path
            for path in (self.folder / ".dvc/cache/files").rglob("*")
            if path.is_file() and path.stat().st_ino == wanted
        )


def light_project(folder: Path) -> Light:
    """A project that has run, with its results committed."""
    folder.mkdir(parents=True)
    (folder / "count.py").write_text(COUNT)
    (folder / "add.py").write_text(ADD)
    (folder / "params.yaml").write_text("to: 4\n")
    (folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    project = Light(folder)
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    for setting in ("cache.type hardlink,symlink", "core.analytics false", "core.check_update false"):  # as ours
        project.run("dvc", "config", *setting.split())
    project.run("dvc", "repro", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "results")
    return project


def rot(path: Path, content: bytes | None = None) -> None:
    """Damage a file behind everybody's back, as a disk does: rights and times stay; one bit, or the given content."""
    stat = path.stat()
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:] if content is None else content)
    path.chmod(stat.st_mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@contextlib.contextmanager
def waiting_run(project: Light, *command: str, folder: str = ".") -> Iterator["subprocess.Popen[str]"]:
    """A DVC at work from a folder of the project: its stage waits until the block ends, and then it ends too."""
    began, goes_on = project.folder / "began", project.folder / "goes_on"
    wait = (
        f"import time; pathlib.Path({str(began)!r}).touch()\n"
        f"while not pathlib.Path({str(goes_on)!r}).exists(): time.sleep(0.02)\n"
    )
    (project.folder / "count.py").write_text(COUNT + wait)
    run = Light(project.folder / folder).start(*command)
    try:
        while not began.exists():
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.02)
        yield run
    finally:
        goes_on.touch()
        run.communicate()
