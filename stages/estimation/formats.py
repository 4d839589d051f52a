# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which file is read and written how, by its suffix."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from stages.estimation import arrays, pcd, ply, tables
from stages.estimation.cloud import Cloud, Columns


class Format(NamedTuple):
    """A reader of a file, and a writer of the bytes of a cloud of the same kind with more columns."""

    read: Callable[[Path], Cloud]
    write: Callable[[Cloud, Columns], bytes]


FORMATS = {
    ".npy": Format(arrays.read_npy, arrays.write_npy),
    ".npz": Format(arrays.read_npz, arrays.write_npz),
    ".bin": Format(arrays.read_bin, arrays.write_bin),
    ".pcd": Format(pcd.read_pcd, pcd.write_pcd),
    ".ply": Format(ply.read_ply, ply.write_ply),
    ".feather": Format(tables.read_feather, tables.write_feather),
    ".parquet": Format(tables.read_parquet, tables.write_parquet),
    ".csv": Format(tables.read_csv, tables.write_csv),
}


def known(path: Path) -> bool:
    """Whether a file's suffix is that of a cloud."""
    return path.suffix.lower() in FORMATS


def read_cloud(path: Path) -> Cloud:
    """Read one sweep.

    Raises:
        InputError: the file is missing, of an unknown kind, damaged, or has no points x, y, z.
    """
    return _format(path).read(require_file(path))


def cloud_bytes(cloud: Cloud, columns: Columns) -> bytes:
    """A cloud with more columns, in the kind of its own file."""
    return _format(cloud.path).write(cloud, columns)


def require_file(path: Path) -> Path:
    """The path, if it can be read as a file; else InputError."""
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error


def _format(path: Path) -> Format:
    if not known(path):
        raise InputError(f"{path} is of no known kind; wanted {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
