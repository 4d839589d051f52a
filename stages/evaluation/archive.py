# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of leaderboard files: the same bytes for the same files, checked after they are written."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from stages.evaluation.selection import STRIDE
from stages.evaluation.sources import FLOW_COLUMNS
from stages.frames.write import atomic

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold; a real one would change the bytes
METADATA = "metadata.json"


def write_archive(path: Path, folder: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Zip `<log>/<file>` of a folder in sorted order, and metadata at the root where a leaderboard wants it."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        if metadata is not None:
            _add(archive, METADATA, json.dumps(metadata).encode())
        for file in sorted(folder.rglob("*.feather")):
            _add(archive, file.relative_to(folder).as_posix(), file.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def check_v1(folder: Path, masks: Path) -> None:
    """The `av2` package's own validator over the files and the mask zip; InputError says what it found."""
    from av2.evaluation.scene_flow.make_submission_archive import validate

    try:
        validate(folder, masks)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"{folder} would be refused by leaderboard v1: {error}") from error


def check_v2(archive: Path, sweeps: Mapping[str, int], points: Mapping[str, Mapping[int, int]]) -> None:
    """v2's public rules, and finite values and the right rows, which it does not check and then fails on.

    Args:
        archive: the zip.
        sweeps: number of sweeps of each log.
        points: number of points of each sweep of each log.
    """
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        if not isinstance(json.loads(file.read(METADATA)).get("Is Supervised?"), bool):
            raise InputError(f"v2: {METADATA} must say whether the method is supervised")
        for log, count in sweeps.items():
            stems = sorted(Path(name).stem for name in names if Path(name).parent.name == log)
            expected = [f"{frame:010d}" for frame in range(0, count - 1, STRIDE)]
            if stems != expected:
                raise InputError(f"v2: log {log} has frames {stems}, v2 wants {expected}")
            for stem in stems:
                columns = ("is_valid", *FLOW_COLUMNS)
                check_table(file, f"{log}/{stem}.feather", columns, points[log][int(stem)])


def check_v3(archive: Path, points: Mapping[str, Mapping[int, int]]) -> None:
    """Columns, rows and finite values of every file.

    Args:
        archive: the zip.
        points: number of points of each sweep of each log, by its time.
    """
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            path = Path(name)
            check_table(file, name, FLOW_COLUMNS, points[path.parent.name][int(path.stem)])


def check_table(file: zipfile.ZipFile, name: str, columns: tuple[str, ...], rows: int) -> None:
    """Raise InputError unless a file of an archive has these columns, this many rows, and finite flow."""
    import pyarrow.feather as feather

    table = feather.read_table(io.BytesIO(file.read(name)))
    if tuple(table.column_names) != columns or table.num_rows != rows:
        found = f"{table.num_rows} rows of {', '.join(table.column_names)}"
        raise InputError(f"{name} of the archive has {found}, but {rows} rows of {', '.join(columns)} are wanted")
    for column in FLOW_COLUMNS:
        if not np.isfinite(table[column].to_numpy()).all():
            raise InputError(f"{name} of the archive has flow that is not finite; predict this log again")
