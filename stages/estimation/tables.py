# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Tables with columns x, y and z: .feather, .parquet and .csv; every other column is kept with its type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.cloud import Cloud, Columns, refuse_taken, single

if TYPE_CHECKING:
    import pyarrow as pa


def read_feather(path: Path) -> Cloud:
    """Points of a Feather file, as Argoverse 2 stores them."""
    return _cloud(path, read_table(path))


def read_parquet(path: Path) -> Cloud:
    """Points of a Parquet file."""
    return _cloud(path, read_table(path))


def read_csv(path: Path) -> Cloud:
    """Points of a text file whose first line names the columns; an empty field is a missing value."""
    return _cloud(path, read_table(path))


def read_table(path: Path) -> pa.Table:
    """A table by the file's suffix; InputError if the file is damaged or of another kind."""
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    readers = {".feather": feather.read_table, ".parquet": parquet.read_table, ".csv": csv.read_csv}
    try:
        table = readers[path.suffix.lower()](pa.BufferReader(path.read_bytes()))
        _ = table.column_names  # decodes them
        return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise InputError(f"{path} cannot be read as {path.suffix} ({reason}); is it truncated?") from error


def write_feather(cloud: Cloud, columns: Columns) -> bytes:
    """The table with more columns; compressed as Arrow does by default."""
    from pyarrow import feather

    return _written(feather.write_feather, _extended(cloud, columns))


def write_parquet(cloud: Cloud, columns: Columns) -> bytes:
    """The table with more columns."""
    from pyarrow import parquet

    return _written(parquet.write_table, _extended(cloud, columns))


def write_csv(cloud: Cloud, columns: Columns) -> bytes:
    """The table with more columns; numbers have as many digits as give the same number back."""
    from pyarrow import csv

    return _written(csv.write_csv, _extended(cloud, columns))


def numbers(table: pa.Table, name: str, path: Path) -> NDArray[Any]:
    """A numeric column (N,), missing values as NaN; InputError if it holds anything else, or is there twice."""
    import pyarrow as pa

    same = table.column_names.count(name)
    if same > 1:
        raise InputError(f"{path} has {same} columns {name}; leave one of them")
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise InputError(f"{path} has column {name} of type {column.type}, wanted numbers")
    if column.null_count or pa.types.is_null(column.type):
        column = _with_nan(column, name, path)
    return np.asarray(column.to_numpy())


def _with_nan(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path} has in column {name} missing values beside whole numbers beyond 2^53, which float64 does not hold "
            "exactly; fill in what is missing, or give that column as float64"
        ) from error


def _cloud(path: Path, table: pa.Table) -> Cloud:
    missing = [axis for axis in "xyz" if axis not in table.column_names]
    if missing:
        names = ", ".join(table.column_names[:12])
        raise InputError(f"{path} has no column {missing[0]} (it has {names}); points need columns x, y and z")
    xyz = [single(numbers(table, axis, path)) for axis in "xyz"]
    return Cloud(path, np.stack(xyz, axis=1).reshape(-1, 3), table)


def _extended(cloud: Cloud, columns: Columns) -> pa.Table:
    import pyarrow as pa

    refuse_taken(cloud.content.column_names, columns, cloud.path)
    table = cloud.content
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    return table


def _written(write: Any, table: pa.Table) -> bytes:
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    write(table, stream)
    written: bytes = stream.getvalue().to_pybytes()
    return written
