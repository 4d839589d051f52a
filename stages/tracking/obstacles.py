# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps DVC from working, left by a full disk or a killed run, and what to do about it.

DVC writes dvc.lock and its own locks in place: a kill at that moment leaves them cut off, and every later run stops.
Both can be made again without loss, since artifacts and the record of runs lie in the cache.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")
# What writes into the workspace; queued and temporary experiments have one of their own.
_WRITERS = ("repro", "exp", "commit", "checkout", "pull", "add")
_ELSEWHERE = ("--queue", "--temp", "queue-worker")


@dataclass(frozen=True)
class Obstacle:
    """Something in the way.

    Attributes:
        text: one sentence that says what and what to do.
        remedy: the command that removes it and loses nothing; empty where there is none but to wait.
    """

    text: str
    remedy: tuple[str, ...] = ()


def obstacles(root: Path) -> list[Obstacle]:
    """What is in DVC's way in a project; nothing is said of its files while a DVC is at work on them."""
    working = [
        Obstacle(f"`{command}` (process {pid}) is at work here: wait for its end, or stop it with `kill {pid}`")
        for pid, command in _at_work(root)
    ]
    return working or [*_lock_file(root), *_rwlock(root / RWLOCK)]


def _lock_file(root: Path) -> Iterator[Obstacle]:
    path = root / LOCK
    if not path.exists() or _is_lock(path):
        return
    state = "is empty" if path.stat().st_size == 0 else "is cut off or damaged"
    tracked = subprocess.run(["git", "ls-files", "--error-unmatch", LOCK], cwd=root, capture_output=True, check=False)
    remedy = ("git", "checkout", str(LOCK)) if tracked.returncode == 0 else ("rm", str(LOCK))
    yield Obstacle(
        f"{LOCK} {state}, as a full disk or a kill while DVC wrote it leaves it: free some space, then"
        f" `{' '.join(remedy)}` and `dvc repro`; nothing that was computed is lost",
        remedy,
    )


def _is_lock(path: Path) -> bool:
    """Whether DVC can read a lock file; a cut where an entry ends leaves one that only knows fewer stages."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True


def _rwlock(path: Path) -> Iterator[Obstacle]:
    remedy = ("rm", str(RWLOCK))
    if not path.exists():
        return
    try:
        holders = {(int(info["pid"]), str(info["cmd"])) for info in _infos(json.loads(path.read_text()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Obstacle(f"{RWLOCK} is damaged: `{' '.join(remedy)}` and run it again", remedy)
        return
    for pid, command in sorted(holders):
        found = _arguments(pid)
        if found:  # where there is none, DVC sees that itself and drops the entry
            yield Obstacle(
                f"{RWLOCK} is stale: it names process {pid}, a `{command}` that was killed, whose number now belongs"
                f" to `{' '.join(found)}`: `{' '.join(remedy)}` and run it again",
                remedy,
            )


def _infos(content: Any) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _at_work(root: Path) -> Iterator[tuple[int, str]]:
    """Processes of DVC that write into this folder, with what they were told."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        arguments = _arguments(int(entry.name))
        told = _told(arguments)
        if not told or told[0] not in _WRITERS or set(told) & set(_ELSEWHERE):
            continue
        try:
            here = Path(os.readlink(entry / "cwd")) == root.resolve()
        except OSError:
            continue  # it ended, or is another user's
        if here:
            yield int(entry.name), " ".join(["dvc", *told])


def _told(arguments: list[str]) -> list[str]:
    """What follows the name of DVC on a command line, empty where it is another program's."""
    place = next((i for i, argument in enumerate(arguments[:3]) if Path(argument).name == "dvc"), len(arguments))
    return arguments[place + 1 :]


def _arguments(pid: int) -> list[str]:
    """Command line of a process, empty where there is none."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part for part in line.decode(errors="replace").split("\0") if part]
