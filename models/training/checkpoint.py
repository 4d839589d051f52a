# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that proves itself: its digest lies beside it, so that a damaged one is not resumed from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def replace_checkpoint(partial: Path, path: Path) -> None:
    """Put a complete file in the place of a checkpoint.

    The digests of the old and of the new one are noted first: whichever of them lies there after a kill is known.
    """
    note, known = _note(path), [_digest(partial)]
    if path.exists():
        known.append(_digest(path))
    temporary = note.with_name(f".{note.name}.{os.getpid()}")
    temporary.write_text("\n".join(known) + "\n")
    os.replace(temporary, note)
    os.replace(partial, path)


def is_intact(path: Path) -> bool:
    """Whether a checkpoint is there as it was written."""
    try:
        return _digest(path) in _note(path).read_text().split()
    except FileNotFoundError:
        return False


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
