# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Free space on a disk, asked for before a long work begins."""

import shutil
from pathlib import Path

from models.errors import InputError

_GB = 1e9


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raise InputError with the figures if the disk of a folder has fewer free bytes than `what` needs."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        figures = f"{needed / _GB:.3g} GB, and {folder.resolve()} has {free / _GB:.3g} GB free"
        raise InputError(f"{what} needs about {figures}; free some space (`make prune` shows what can go) or move it")
