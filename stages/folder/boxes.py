# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Annotated boxes of a plain log folder."""

import pyarrow as pa

from models.errors import InputError
from stages.folder.layout import REMEDY
from stages.sources.boxes import BOX_COLUMNS


def read_table(content: bytes, log_id: str, name: str) -> pa.Table:
    """Parse a Parquet or CSV file of boxes, whose columns are not checked yet; InputError if it is damaged."""
    source = pa.BufferReader(content)
    try:
        if name.endswith(".csv"):
            from pyarrow import csv

            types = {column: accepted[0] for column, accepted in BOX_COLUMNS.items()}
            return csv.read_csv(source, convert_options=csv.ConvertOptions(column_types=types))
        import pyarrow.parquet as pq

        return pq.read_table(source)
    except (pa.ArrowInvalid, pa.ArrowIOError, OSError) as error:
        reason = "it is empty" if not content else str(error).splitlines()[0]
        raise InputError(f"log {log_id}: {name} cannot be read as a table ({reason}); {REMEDY}") from error
