# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the raw logs of a split hold: names, sizes and digests, and nothing about where they lie."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import InputError
from stages.frames.write import atomic

_EDGE = 64 * 1024  # bytes of each end of a sweep that `quick` reads

Entry = Mapping[str, Sequence[int | str]]  # file name -> [size in bytes, digest]


@dataclass(frozen=True)
class CatalogParameters:
    """Section `catalog`.

    Attributes:
        digest: `full` reads every byte; `quick` takes of sweeps the size and both ends.
    """

    digest: Literal["full", "quick"]


def file_entry(path: Path, digest: str, is_sweep: bool) -> tuple[int, str]:
    """Size and digest of one file by the given rule."""
    size = path.stat().st_size
    if digest == "full" or not is_sweep or size <= 2 * _EDGE:
        return size, bytes_digest(path.read_bytes())
    with path.open("rb") as file:
        head = file.read(_EDGE)
        file.seek(size - _EDGE)
        return size, bytes_digest(head + file.read(_EDGE))


def bytes_digest(content: bytes) -> str:
    """SHA-256 in 32 hex digits: half of it is plenty to notice a change, and the catalog lies in git."""
    return hashlib.sha256(content).hexdigest()[:32]


def content_entry(content: bytes, digest: str, is_sweep: bool) -> tuple[int, str]:
    """The same as `file_entry` for bytes already read."""
    if digest == "full" or not is_sweep or len(content) <= 2 * _EDGE:
        return len(content), bytes_digest(content)
    return len(content), bytes_digest(content[:_EDGE] + content[-_EDGE:])


def log_entry(
    folder: Path, names: Sequence[str], digest: str, is_sweep: Callable[[str], bool]
) -> dict[str, list[int | str]]:
    """Catalog entry of one log: the named files of its folder by the given rule."""
    return {name: list(file_entry(folder / name, digest, is_sweep(name))) for name in names}


def write_catalog(path: Path, source: str, digest: str, split: str, logs: Mapping[str, Entry]) -> None:
    """Write a catalog with one line a file, so that a change in git shows which."""
    head = json.dumps({"source": source, "digest": digest, "split": split})[1:-1]
    blocks = [
        f" {json.dumps(log)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(entry))}" for name, entry in sorted(files.items()))
        + "\n }"
        for log, files in sorted(logs.items())
    ]
    body = "{\n" + ",\n".join(blocks) + "\n}" if blocks else "{}"
    with atomic(path) as temporary:
        temporary.write_text(f'{{{head}, "logs": {body}}}\n')


def read_catalog(path: Path) -> tuple[str, dict[str, Entry]]:
    """Digest rule and entries by log id of a catalog; InputError if it is absent or damaged."""
    try:
        content = json.loads(path.read_text())
        return content["digest"], content["logs"]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run `make catalog`") from None
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is not a catalog; run `make catalog`") from error
