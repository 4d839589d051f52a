# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which files are the sweeps, in which order, and what their names tell of their time."""

import re
from pathlib import Path

from models.errors import InputError
from stages.estimation.formats import FORMATS, known, require_file

# A whole number of this many digits is a time since 1970, in this many ns; shorter ones are numbers of sweeps.
_WHOLE_NS = {19: 1, 18: 1, 16: 1_000, 13: 1_000_000}
_SECONDS = re.compile(r"(\d{1,10})\.(\d{3,9})")


def sweep_files(first: Path, second: Path | None) -> list[Path]:
    """The sweeps to work on: two files, or all clouds of a folder in the order of their names, numbers as numbers.

    Raises:
        InputError: fewer than two sweeps, clouds of several kinds in the folder, or a second cloud beside a folder.
    """
    if first.is_dir():
        if second is not None:
            raise InputError(f"{first} is a folder, whose sweeps are taken in order; leave out {second}")
        return _in_folder(first)
    if second is None:
        raise InputError(f"one cloud, {first}, has no flow; give the next sweep too, or a folder of sweeps")
    if second.is_dir():
        raise InputError(f"{second} is a folder; give two clouds, or one folder of sweeps")
    return [require_file(first), require_file(second)]


def sweep_times(files: list[Path]) -> list[int] | None:
    """Times of the sweeps in ns by their names, or None unless each name is one.

    Times are whole ns, µs or ms since 1970 (19 or 18, 16, 13 digits) or seconds with decimals.
    """
    times = [name_time(stem(file)) for file in files]
    return None if None in times else [time for time in times if time is not None]


def name_time(name: str) -> int | None:
    """Time in ns of a name, or None."""
    if name.isdigit():
        return int(name) * _WHOLE_NS[len(name)] if len(name) in _WHOLE_NS else None
    match = _SECONDS.fullmatch(name)
    return int(match[1]) * 10**9 + int(match[2].ljust(9, "0")) if match else None


def stem(file: Path) -> str:
    """Name of a file without the ending that tells its kind, of which .pcd.bin has two parts."""
    return file.name[: -len(".pcd.bin")] if file.name.endswith(".pcd.bin") else file.stem


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".") and known(path)]
    kinds = sorted({file.suffix.lower() for file in files})
    if len(files) < 2:
        below = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; it has folders {', '.join(below[:4])}: give the one with the sweeps" if below else ""
        raise InputError(f"{folder} holds {len(files)} clouds ({', '.join(FORMATS)}), wanted at least two{hint}")
    if len(kinds) > 1:
        raise InputError(f"{folder} holds clouds of several kinds ({', '.join(kinds)}); leave one kind in it")
    return sorted(files, key=lambda file: _natural(stem(file)))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which 9 comes before 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
