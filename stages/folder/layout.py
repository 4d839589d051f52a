# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where things lie in a plain log folder."""

import re
from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError

SWEEPS = "sweeps"
SWEEP_ENDINGS = (".npy", ".bin")
POSES = ("poses.npy", "poses.txt")
TIMES = ("timestamps.npy", "timestamps.txt")
MOUNTS = "mounts.json"
BOXES = ("boxes.parquet", "boxes.csv")
REMEDY = "correct it, then run `make catalog`"
_NUMBER = re.compile("[0-9]+")


def read_files(log_id: str, folder: Path) -> list[str]:
    """Names, relative to the log folder and sorted, of the files that are read of a log.

    Raises:
        InputError: if sweeps, poses, times or mounts are missing or lie there twice, or a sweep has no number.
    """
    paths = [path for path in (folder / SWEEPS).glob("*") if path.suffix in SWEEP_ENDINGS]
    sweeps = [path.relative_to(folder).as_posix() for path in paths]
    if not sweeps:
        raise InputError(f"log {log_id} has no {SWEEPS}/*.npy or {SWEEPS}/*.bin; is {folder} a log of this format?")
    sweep_names(log_id, sweeps)
    single = [_one(log_id, folder, POSES), _one(log_id, folder, TIMES), _one(log_id, folder, (MOUNTS,))]
    boxes = [_one(log_id, folder, BOXES)] if any((folder / name).is_file() for name in BOXES) else []
    return sorted([*sweeps, *single, *boxes])


def is_sweep(name: str) -> bool:
    """Whether a file is a sweep."""
    return name.startswith(f"{SWEEPS}/")


def sweep_names(log_id: str, names: Iterable[str]) -> list[str]:
    """Files of the sweeps in the order of their numbers: 2 comes before 10, with leading zeros or without.

    Raises:
        InputError: if a name is no number or two files have one number.
    """
    by_number: dict[int, str] = {}
    for name in sorted(filter(is_sweep, names)):
        if not _NUMBER.fullmatch(Path(name).stem):
            raise InputError(f"log {log_id}: {name} is not named by a number, which orders the sweeps; rename it")
        other = by_number.setdefault(int(Path(name).stem), name)
        if other != name:
            raise InputError(f"log {log_id}: {other} and {name} have the same number; remove one of them")
    return [by_number[number] for number in sorted(by_number)]


def present(names: Iterable[str], choice: tuple[str, ...]) -> str | None:
    """The file of a choice that a log has, None if it has none."""
    return next((name for name in choice if name in names), None)


def _one(log_id: str, folder: Path, choice: tuple[str, ...]) -> str:
    found = [name for name in choice if (folder / name).is_file()]
    if not found:
        raise InputError(f"log {log_id} has no {' or '.join(choice)}; see docs/your-data.md, then `make catalog`")
    if len(found) > 1:
        raise InputError(f"log {log_id} has both {' and '.join(found)}; remove one of them")
    return found[0]
