# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of leaderboard files: the same bytes for the same files, checked after they are written."""

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from stages.evaluation.feathers import read_feather
from stages.evaluation.predictions import FLOW_COLUMNS
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


def check_copy(archive: Path, folder: Path) -> None:
    """Raise InputError unless an archive holds the files of a folder, all of them, no others and byte for byte."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.feather")}
    with zipfile.ZipFile(archive) as zipped:
        check_names(zipped, files, "v1")
        for name, file in files.items():
            if zipped.read(name) != file.read_bytes():
                raise InputError(f"v1: {name} of the archive is not the file that was checked; run submit again")


def check_v2(archive: Path, rows: Mapping[str, int]) -> None:
    """v2's public rules, and finite values and the right rows, which it does not check and then fails on.

    Args:
        archive: the zip.
        rows: number of points of each file that it must hold.
    """
    with zipfile.ZipFile(archive) as file:
        check_names(file, {METADATA, *rows}, "v2")
        if not isinstance(json.loads(file.read(METADATA)).get("Is Supervised?"), bool):
            raise InputError(f"v2: {METADATA} must say whether the method is supervised")
        for name, count in rows.items():
            check_table(file, name, ("is_valid", *FLOW_COLUMNS), count)


def check_v3(archive: Path, rows: Mapping[str, int]) -> None:
    """Names, columns, rows and finite values; the leaderboard's own rules are not public.

    Args:
        archive: the zip.
        rows: number of points of each file that it must hold.
    """
    with zipfile.ZipFile(archive) as file:
        check_names(file, rows, "v3")
        for name, count in rows.items():
            check_table(file, name, FLOW_COLUMNS, count)


def check_names(file: zipfile.ZipFile, wanted: Iterable[str], format_: str) -> None:
    """Raise InputError unless an archive holds the wanted files, each once, and nothing else."""
    found, expected = Counter(file.namelist()), Counter(list(wanted))
    if found == expected:
        return
    missing, foreign = sorted(expected - found), sorted(found - expected)
    parts = [f"lacks {missing[0]} and {len(missing) - 1} more"] if missing else []
    parts += [f"has {foreign[0]} and {len(foreign) - 1} more that it must not hold"] if foreign else []
    raise InputError(f"{format_}: the archive {' and '.join(parts)}; run submit again")


def check_table(file: zipfile.ZipFile, name: str, columns: tuple[str, ...], rows: int) -> None:
    """Raise InputError unless a file of an archive has these columns, this many rows, and finite flow."""
    table = read_feather(file.read(name), f"{name} of the archive")
    counts = {len(values) for values in table.values()}
    if tuple(table) != columns or counts != {rows}:
        found = f"{max(counts, default=0)} rows of {', '.join(table)}"
        raise InputError(f"{name} of the archive has {found}, but {rows} rows of {', '.join(columns)} are wanted")
    for column in FLOW_COLUMNS:
        if not np.isfinite(table[column].astype(np.float64)).all():
            raise InputError(f"{name} of the archive has flow that is not finite; predict this log again")
