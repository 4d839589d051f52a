# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps DVC from working, left by a full disk or a killed run, and what to do about it, a sentence each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")


def obstacles(root: Path) -> list[str]:
    """Sentences about the lock file and DVC's own locks in a project; none where nothing is in the way."""
    return [*_lock_file(root / LOCK), *_running(root / RWLOCK)]


def _lock_file(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    if not _is_lock(path):
        state = "is empty" if path.stat().st_size == 0 else "is cut off or damaged"
        yield (
            f"{LOCK} {state}, as a full disk or a kill while DVC wrote it leaves it: free some space, then"
            f" `git checkout {LOCK}` (or `rm {LOCK}`) and `dvc repro`; nothing that was computed is lost"
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


def _running(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text())
        holders = {(info["pid"], info["cmd"]) for info in _infos(content)}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield f"{RWLOCK} is damaged: make sure that no dvc runs here, then `rm {RWLOCK}` and run it again"
        return
    for pid, command in sorted(holders):
        name = _command_of(pid)
        if name is None:
            continue  # DVC sees that itself and drops the entry
        if "dvc" in name:
            yield f"`{command}` (process {pid}) is at work here: wait for its end, or stop it with `kill {pid}`"
        else:
            yield (
                f"{RWLOCK} is stale: it names process {pid}, a `{command}` that was killed, whose number now belongs"
                f" to `{name}`: `rm {RWLOCK}` and run it again"
            )


def _infos(content: Any) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _command_of(pid: int) -> str | None:
    """Command line of a process that runs, None where there is none."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return line.replace(b"\0", b" ").decode(errors="replace").strip() or "a process of the system"
