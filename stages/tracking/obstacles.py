# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps DVC from working, left by a full disk or a killed run, and what to do about it.

DVC writes dvc.lock and its own locks in place: a kill at that moment leaves them cut off, and every later run stops.
Both can be made again without loss, since artifacts and the record of runs lie in the cache.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")
# What writes into the workspace; queued and temporary experiments have one of their own.
_WRITERS = ("repro", "commit", "checkout", "pull", "add")
_EXPERIMENTS, _EXPERIMENT_WRITERS = ("exp", "experiments"), ("run", "apply")
_ELSEWHERE = ("--queue", "--temp", "queue-worker")
_WITH_VALUE = ("--cd", "--cprofile-dump")  # of DVC's options before the subcommand
_CONFLICT = re.compile(r"^(<{7} |>{7} )", re.MULTILINE)


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
        for pid, command in sorted({**dict(_at_work(root)), **_living_holders(root / RWLOCK)}.items())
    ]
    return working or [*_lock_file(root), *_rwlock(root / RWLOCK)]


def _lock_file(root: Path) -> Iterator[Obstacle]:
    path = root / LOCK
    if not path.exists() or _is_lock(path):
        return
    if _CONFLICT.search(path.read_text(errors="replace")):
        yield Obstacle(
            f"{LOCK} holds a merge conflict: resolve params.yaml, `git checkout --ours {LOCK}`, then `dvc repro`"
        )
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
    holders = _holders(path)
    if holders is None:
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


def _living_holders(path: Path) -> dict[int, str]:
    """Processes that hold DVC's lock and are a DVC, with what they were told; their lock must never go.

    This sees what the search for processes at work misses: those of another user, or told from another folder.
    """
    found = {pid: _arguments(pid) for pid, _ in _holders(path) or ()}
    return {pid: _call(arguments) for pid, arguments in found.items() if _place(arguments) is not None}


def _holders(path: Path) -> set[tuple[int, str]] | None:
    """Number and command of each process that holds DVC's lock; None where the file cannot be read as one."""
    if not path.exists():
        return set()
    try:
        return {(int(info["pid"]), str(info["cmd"])) for info in _infos(json.loads(path.read_text()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _infos(content: Any) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _at_work(root: Path) -> Iterator[tuple[int, str]]:
    """Processes of DVC that write into this project, with what they were told."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        arguments = _arguments(int(entry.name))
        if not _writes(arguments):
            continue
        try:
            here = _project(Path(os.readlink(entry / "cwd"))) == root.resolve()
        except OSError:
            continue  # it ended, or is another user's
        if here:
            yield int(entry.name), _call(arguments)


def _project(folder: Path) -> Path | None:
    """The project that DVC finds from a folder: the nearest one at or above it."""
    return next((path for path in (folder, *folder.parents) if (path / ".dvc").is_dir()), None)


def _writes(arguments: list[str]) -> bool:
    """Whether a command line is that of a DVC that writes into the workspace."""
    place = _place(arguments)
    if place is None:
        return False
    told = _subcommand(arguments[place + 1 :])
    if not told or set(told) & set(_ELSEWHERE):
        return False
    if told[0] in _EXPERIMENTS:
        return _subcommand(told[1:])[:1] in ([name] for name in _EXPERIMENT_WRITERS)
    return told[0] in _WRITERS


def _subcommand(told: list[str]) -> list[str]:
    """What DVC was told, from its subcommand on, as its options may stand before."""
    while told and told[0].startswith("-"):
        told = told[2 if told[0] in _WITH_VALUE else 1 :]
    return told


def _call(arguments: list[str]) -> str:
    """A command line of DVC as it is typed."""
    return " ".join(["dvc", *arguments[(_place(arguments) or 0) + 1 :]])


def _place(arguments: list[str]) -> int | None:
    """Where DVC's name stands on a command line, also after an interpreter; None where it is another program's."""
    return next((i for i, argument in enumerate(arguments[:3]) if Path(argument).name == "dvc"), None)


def _arguments(pid: int) -> list[str]:
    """Command line of a process, empty where there is none."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part for part in line.decode(errors="replace").split("\0") if part]
