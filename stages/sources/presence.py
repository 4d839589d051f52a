# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""An empty split: one that a data root does not have, or logs that lie where nothing looks for them."""

import os
from collections.abc import Sequence
from pathlib import Path

from models.errors import InputError
from stages.pipeline.main import SPLITS
from stages.sources.adapter import Adapter

_DEPTH = 3  # folders below the root in which a log out of place is looked for: root/anything/split/log
_NAMED = 3  # names of a root's content that a message lists


def check_empty_split(adapter: Adapter, root: Path, split: str) -> None:
    """Let a split without logs pass if the root just has none for it; test often has none.

    Args:
        adapter: how the root's data are read.
        root: what `Adapter.logs` is given.
        split: the split in which it found no log.

    Raises:
        InputError: if no split has a log, or train or val has no folder and logs lie outside the splits' folders.
    """
    wanted = f"wanted {root}/<split>/<log> with split {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    alone = not any(adapter.logs(root, name) for name in SPLITS)
    if alone or (split != "test" and not (root / split).exists()):
        stray = _stray_log(adapter, root)
        if stray is not None:
            meant = "" if alone else f", or make an empty folder {root / split} where none are meant to be"
            raise InputError(f"split {split} has no logs, but {stray} is one; {wanted}: move or link them there{meant}")
    if alone:
        raise InputError(f"no split has logs: {root} holds {_listing(root)}; {wanted}; put or link the logs there")


def _stray_log(adapter: Adapter, root: Path) -> Path | None:
    """The first log outside the splits' folders; none is looked for where an adapter finds logs in its own way."""
    if type(adapter).logs is not Adapter.logs:
        return None
    for name, below, _ in os.walk(root, followlinks=True):
        folder = Path(name)
        if _is_log(adapter, folder):
            return folder
        visible = sorted(child for child in below if not child.startswith("."))
        depth = len(folder.relative_to(root).parts)
        below[:] = [child for child in visible if depth or child not in SPLITS] if depth < _DEPTH else []
    return None


def _is_log(adapter: Adapter, folder: Path) -> bool:
    try:
        files: Sequence[str] = adapter.files(folder.name, folder)
    except InputError:
        return False
    return bool(files)


def _listing(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"only {', '.join(names[:_NAMED])}{more}" if names else "nothing"
