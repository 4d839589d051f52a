# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Feather tables of the leaderboards, read with every fault of a file told by its name."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

Columns = dict[str, NDArray[np.generic]]


def read_feather(source: Path | bytes, name: str, wanted: tuple[str, ...] = ()) -> Columns:
    """Columns of a Feather table.

    Args:
        source: the file, or its content.
        name: what messages call it.
        wanted: columns that it must have.

    Raises:
        InputError: a file that is damaged, lacks a column, or has empty cells or text in one.
    """
    import pyarrow as pa
    import pyarrow.feather as feather

    try:
        table = feather.read_table(io.BytesIO(source) if isinstance(source, bytes) else source)
        columns = {column: table[column].to_numpy() for column in table.column_names}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name} cannot be read as Feather ({error}); write it again") from error
    missing = [column for column in wanted if column not in columns]
    if missing:
        found = ", ".join(columns) or "nothing"
        raise InputError(f"{name} has no column {missing[0]} (it has {found}); write it again in one format throughout")
    for column in wanted:
        if columns[column].dtype.kind not in "biuf":
            raise InputError(f"{name}: column {column} has empty cells or holds no numbers; write it again")
    return columns
