# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What lies in the store: entries of logs, halves of killed runs, checkpoints, folders of Slurm runs."""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.pipeline.store import Store, remove

_SLURM = "slurm"
Kind = Literal["entry", "partial", "checkpoint", "slurm run"]


@dataclass(frozen=True)
class Item:
    """A folder of the store that can go by itself.

    Attributes:
        kind: a log's result, what a killed run left of one, a training that has not ended, or a Slurm run's files.
        path: the folder.
        used: when it was made or last looked up, s since 1970.
        size: bytes of its files.
        freed: bytes that its removal frees: a file that an output or a cache also names stays there.
    """

    kind: Kind
    path: Path
    used: float
    size: int
    freed: int

    @property
    def step(self) -> str:
        """The step that it belongs to."""
        return self.path.parent.name


def items(store: Path) -> list[Item]:
    """Everything in a store, those first that were used longest ago."""
    found = [
        _item(path)
        for step in sorted(path for path in store.glob("*") if path.is_dir())
        for path in sorted(step.iterdir())
        if path.is_dir()
    ]
    return sorted(found, key=lambda item: (item.used, item.path))


def _item(path: Path) -> Item:
    status = [file.stat() for file in path.rglob("*") if file.is_file()]
    kinds: dict[str, Kind] = {".partial": "partial", ".checkpoint": "checkpoint"}
    return Item(
        kind="slurm run" if path.parent.name == _SLURM else kinds.get(path.suffix, "entry"),
        path=path,
        used=path.stat().st_mtime,
        size=sum(file.st_size for file in status),
        freed=sum(file.st_size for file in status if file.st_nlink == 1),
    )


def remove_items(chosen: list[Item]) -> tuple[list[Item], set[str]]:
    """Remove items; those that are gone, and the steps that were left alone because a stage is at work on them."""
    gone: list[Item] = []
    busy: set[str] = set()
    for step in sorted({item.path.parent for item in chosen}):
        with _alone(step) as alone:
            if not alone:
                busy.add(step.name)
                continue
            for item in (item for item in chosen if item.path.parent == step):
                remove(item.path)
                gone.append(item)
    return gone, busy


@contextlib.contextmanager
def _alone(step: Path) -> Iterator[bool]:
    """Hold a step's folder against stages that would begin, if none is at work."""
    with Store(step).use_file().open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
