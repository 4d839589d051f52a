# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A copy of this project in its own git repository, with parameters made small, for tests that run the real DVC."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from stages.pipeline.code import ROOT

# Small enough for seconds a stage; every code path of the default still runs.
SMALL: Mapping[str, object] = {
    "simulate.train.logs": 2,
    "simulate.train.sweeps": 6,
    "simulate.val.logs": 2,
    "simulate.val.sweeps": 4,
    "simulate.test.logs": 1,
    "simulate.test.sweeps": 2,
    "simulate.scene.lidar.azimuth_steps": 300,
    "train.epochs": 2,
    "evaluate.bootstrap.resamples": 20,
}


@dataclass(frozen=True)
class Project:
    """A working copy and the environment that its commands see."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        """A command in the project; its output is in the failure when it fails."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout[-6000:]}")
        return result

    def repro(self, *arguments: str, check: bool = True, **extra: str) -> "Repro":
        """`dvc repro` and which stages it ran."""
        result = self.run("dvc", "repro", *arguments, check=check, **extra)
        return Repro(result.stdout, result.returncode, set(re.findall(r"Running stage '([^']+)'", result.stdout)))

    def set(self, changes: Mapping[str, object]) -> None:
        """Change values of params.yaml by their dotted names, comments kept."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        content = yaml.load(path.read_text())
        for name, value in changes.items():
            *sections, key = name.split(".")
            section = content
            for part in sections:
                section = section[part]
            if key not in section:
                raise KeyError(name)
            section[key] = value
        with path.open("w") as file:
            yaml.dump(content, file)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every artifact and metric file."""
        files = [
            path
            for top in ("data", "metrics", "report")
            for path in sorted((self.folder / top).rglob("*"))
            if path.is_file()
        ]
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.name != ".gitignore"
        }

    def status(self) -> str:
        """What git sees as changed or new."""
        return self.run("git", "status", "--porcelain").stdout


@dataclass(frozen=True)
class Repro:
    """Output of one `dvc repro`."""

    text: str
    returncode: int
    ran: set[str]


def make_project(folder: Path, changes: Mapping[str, object]) -> Project:
    """Copy this project's files, ignored ones left out, into a new repository; commit them with changed parameters."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    skip = ("tests/", "dvc.lock", "metrics/", "data/")
    for name in names.split("\0"):
        if name and not name.startswith(skip) and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    project = Project(folder, _environment())
    project.set(changes)
    project.run("git", "init", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "start")
    return project


def _environment() -> dict[str, str]:
    """The caller's, less what would lead elsewhere: the store, the raw root, another project's DVC."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DVC_", "SCENEFLOW_")) and name not in ("AV2_ROOT", "PYTHONPATH")
    }
    identity = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **identity, "PATH": path, "SCENEFLOW_WORKERS": "2", "SCENEFLOW_DEVICE": "cpu"}
