# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The ground-height raster of a log's map and the similarity that finds its cells."""

import io
import json

import numpy as np

from models.errors import InputError
from stages.sources.adapter import Raster
from stages.sources.tables import REFETCH


def read_raster(height: bytes, height_name: str, sim2: bytes, sim2_name: str, log_id: str) -> Raster:
    """Parse the raster and its similarity; InputError names the file that is damaged."""
    try:
        array = np.load(io.BytesIO(height), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"log {log_id}: {height_name} cannot be read as a NumPy array; {REFETCH}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(f"log {log_id}: {height_name} is no 2-D raster of heights; {REFETCH}")
    try:
        values = json.loads(sim2)
        R, t, s = np.array(values["R"], float).reshape(2, 2), np.array(values["t"], float), float(values["s"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"log {log_id}: {sim2_name} does not hold R, t and s of a similarity; {REFETCH}") from error
    if t.shape != (2,) or not np.isfinite([*R.flat, *t, s]).all() or s <= 0 or not np.allclose(R @ R.T, np.eye(2)):
        raise InputError(f"log {log_id}: {sim2_name} does not hold a similarity: R a rotation, s positive; {REFETCH}")
    return Raster(array, R, t, s)
