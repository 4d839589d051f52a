# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Digests of files and folders by their bytes."""

import hashlib
import json
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_digests(path: Path) -> dict[str, str]:
    """Digest of each file by its path relative to `path`, in sorted order; a file itself has the name ''."""
    if path.is_file():
        return {"": file_digest(path)}
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(path).as_posix(): file_digest(file) for file in files}


def value_digest(value: object) -> str:
    """SHA-256 of a value of plain types (mappings, lists, numbers, text), whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
