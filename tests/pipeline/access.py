# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which files of a project a command reads and writes, seen from outside, so that no library can hide it.

Two ways: times of last access, which need nothing but a file system that keeps them, and a trace of the system's
calls by strace, which also sees what lies outside the project and how each file is opened.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipeline.project import Project

_LONG_AGO = 10**9  # ns after 1970; a later time of change makes the next access count on every mount but noatime
_OPEN = re.compile(r"^open(?:at2?)?\(.*?\b(O_[A-Z_|]+)\b.*\) = \d+<(/.*)>$")


@dataclass(frozen=True)
class Access:
    """Files that a command touched: inside the project by their path in it, outside by their absolute path.

    Attributes:
        read: files whose content was read.
        written: files that are new or changed.
        opened_to_write: files opened for writing, where the way of watching can tell.
    """

    read: set[str]
    written: set[str]
    opened_to_write: set[str] = field(default_factory=set)


Watch = Callable[[Project, Sequence[str]], Access]


def keeps_access_times(folder: Path) -> bool:
    """Whether the file system notes that a file was read."""
    path = folder / "read-me"
    path.write_text("x")
    os.utime(path, ns=(_LONG_AGO, path.stat().st_mtime_ns))
    path.read_text()
    return path.stat().st_atime_ns != _LONG_AGO


def watch_access_times(project: Project, command: Sequence[str]) -> Access:
    """Run a command after setting back the access time of every file of the project."""
    before = {name: path.stat() for name, path in _files(project.folder)}
    for name, stat in before.items():
        os.utime(project.folder / name, ns=(_LONG_AGO, stat.st_mtime_ns))
    _run(project, command)
    after = {name: path.stat() for name, path in _files(project.folder)}
    written = {name for name, stat in after.items() if name not in before or _changed(before[name], stat)}
    read = {name for name, stat in after.items() if name not in written and stat.st_atime_ns != _LONG_AGO}
    return Access(read, written)


def watch_calls(project: Project, command: Sequence[str]) -> Access:
    """Run a command under strace, with every process that it starts."""
    before = {name: path.stat() for name, path in _files(project.folder)}
    with tempfile.TemporaryDirectory() as folder:
        trace = ["strace", "-qq", "-ff", "-y", "-s", "0", "-e", "trace=open,openat,openat2", "-o", f"{folder}/calls"]
        _run(project, [*trace, *command])
        calls = [call for path in Path(folder).iterdir() for call in _calls(path, project.folder)]
    after = {name: path.stat() for name, path in _files(project.folder)}
    written = {name for name, stat in after.items() if name not in before or _changed(before[name], stat)}
    to_write = {path for flags, path in calls if "O_WRONLY" in flags or "O_RDWR" in flags}
    folders = {path for flags, path in calls if "O_DIRECTORY" in flags}
    return Access({path for _, path in calls} - to_write - folders, written, to_write)


def has_strace() -> bool:
    """Whether strace is there and may be used."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def _calls(path: Path, project: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(errors="replace").splitlines():
        if match := _OPEN.match(line):
            flags, name = match.groups()
            yield flags, name.removeprefix(f"{project}/").removesuffix(" (deleted)")


def _run(project: Project, command: Sequence[str]) -> None:
    project.run(*command, DVC_ROOT=str(project.folder), PYTHONDONTWRITEBYTECODE="1")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def _changed(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_ino, before.st_mtime_ns, before.st_size) != (after.st_ino, after.st_mtime_ns, after.st_size)
