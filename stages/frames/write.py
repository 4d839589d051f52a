# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Writing per-point files: contiguous, aligned, the same bytes for the same content, never half a file."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # bytes: a cache line, and a multiple of every element size, so slices can be mapped


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def content_digest(columns: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and bytes of columns, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        column = np.ascontiguousarray(columns[name])
        digest.update(f"{name} {column.dtype.str} {column.shape};".encode())
        digest.update(column.data if column.size else b"")
    return digest.hexdigest()


def write_columns(
    path: Path,
    schema: str,
    columns: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str | int | float | bool],
) -> None:
    """Write columns and attributes to an HDF5 file that can be memory-mapped.

    Args:
        path: the file; its folder is made if absent.
        schema: kind and version, as `ground/1`.
        columns: arrays of any shape, stored in their own type, contiguous and uncompressed.
        attributes: what made them; no dates, hosts or paths, since equal content must give equal bytes.
    """
    with atomic(path) as temporary:
        with h5py.File(temporary, "w", libver="v110", alignment_threshold=1, alignment_interval=_ALIGNMENT) as file:
            file.attrs["schema"] = schema
            for name in sorted(attributes):
                file.attrs[name] = attributes[name]
            for name in sorted(columns):
                file.create_dataset(name, data=np.ascontiguousarray(columns[name]), track_times=False)
