# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a log with their columns checked, every fault named by log and file."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather

from models.errors import InputError

REFETCH = "fetch the file again, then run `make catalog`"


def read_feather(content: bytes, log_id: str, name: str, columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """Parse a Feather file and check its columns.

    Args:
        content: the file's bytes.
        log_id: log that it belongs to, for messages.
        name: file name relative to the log folder, for messages.
        columns: wanted columns, each with the Arrow types that are accepted.

    Returns:
        The wanted columns, in the order given.

    Raises:
        InputError: if the file is damaged, or a column is absent, of another type or has nulls.
    """
    try:
        table = feather.read_table(pa.BufferReader(content), memory_map=False)
    except (pa.ArrowInvalid, pa.ArrowIOError, OSError) as error:
        reason = "it is empty" if not content else str(error).splitlines()[0]
        raise InputError(f"log {log_id}: {name} cannot be read as Feather ({reason}); {REFETCH}") from error
    return checked_columns(table, log_id, name, columns)


def checked_columns(
    table: pa.Table, log_id: str, name: str, columns: Mapping[str, Sequence[str]], remedy: str = REFETCH
) -> pa.Table:
    """The wanted columns of a table; InputError if one is absent, of another type or has nulls."""
    for column, types in columns.items():
        if column not in table.column_names:
            raise InputError(f"log {log_id}: {name} has no column {column}; {remedy}")
        found = str(table.schema.field(column).type)
        if found not in types:
            raise InputError(
                f"log {log_id}: {name} has column {column} of type {found}, wanted {' or '.join(types)}; {remedy}"
            )
        if table[column].null_count:
            raise InputError(f"log {log_id}: {name} has {table[column].null_count} nulls in {column}; {remedy}")
    return table.select(list(columns))


def stack(table: pa.Table, columns: Sequence[str]) -> NDArray[np.float64]:
    """Numeric columns side by side, (N, len(columns)) float64."""
    return np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=-1)


def require_finite(values: NDArray[np.floating], log_id: str, name: str, what: str, remedy: str = REFETCH) -> None:
    """Refuse NaN and infinity in rows (N, K); InputError counts the rows that hold some."""
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise InputError(
            f"log {log_id}: {name} has {len(bad)} {what} with NaN or infinity, the first in row {bad[0]}; {remedy}"
        )


def require_unit_quaternions(wxyz: NDArray[np.float64], log_id: str, name: str, remedy: str = REFETCH) -> None:
    """Refuse rotations (N, 4) that are not unit quaternions within 1e-3: they would scale what they turn."""
    norm = np.linalg.norm(wxyz, axis=1)
    bad = np.flatnonzero(~(np.abs(norm - 1.0) <= 1e-3))
    if len(bad):
        raise InputError(
            f"log {log_id}: {name} row {bad[0]} has a quaternion of length {norm[bad[0]]:.6g}, not 1; {remedy}"
        )
