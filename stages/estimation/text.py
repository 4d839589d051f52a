# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Points as rows of text, inside .pcd and .ply files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError


def read_rows(path: Path, body: bytes, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` rows of a text as a structured array (count,); InputError if there are fewer or other ones."""
    if not count:
        return np.empty(0, dtype=kind)
    if not body.strip():
        raise InputError(f"{path} is truncated: its header tells of {count} points, it holds none")
    try:
        rows = np.loadtxt(io.BytesIO(body), dtype=kind, max_rows=count, ndmin=1, comments=None)
    except ValueError as error:
        raise InputError(f"{path} has a row that does not fit its header ({str(error).split(';')[0]})") from error
    if len(rows) < count:
        raise InputError(f"{path} is truncated: its header tells of {count} points, it holds {len(rows)}")
    return np.asarray(rows)


def write_rows(records: NDArray[Any]) -> bytes:
    """A structured array (N,) as text, each number with the digits that give it back exactly."""
    columns: list[NDArray[Any]] = []
    formats: list[str] = []
    for name in records.dtype.names or ():
        field = records[name].reshape(len(records), -1)
        columns += list(field.T)
        formats += [_format(field.dtype)] * field.shape[1]
    text = " ".join(formats)
    return "".join(f"{text % row}\n" for row in zip(*(column.tolist() for column in columns), strict=True)).encode()


def _format(kind: np.dtype[Any]) -> str:
    if kind.kind != "f":
        return "%d"
    return "%.17g" if kind.itemsize == 8 else "%.9g"
