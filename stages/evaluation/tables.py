# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a scored split: per log, class, distance and speed, each with its number of points (Parquet)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.evaluation.accumulate import Totals
from stages.evaluation.buckets import BUCKET_EDGES
from stages.evaluation.classes import META_CLASSES
from stages.evaluation.headline import HEADLINE, headline, headline_metrics
from stages.evaluation.ranges import RANGE_EDGES
from stages.evaluation.v2 import region
from stages.frames.write import atomic
from stages.labels.categories import CATEGORIES

Rows = dict[str, list[Any]]
_MOTION = ("static", "dynamic")


def class_rows(totals: Totals) -> Rows:
    """Points, mean error and mean speed of each category, moving or not, on v1's points."""
    count, error, speed = (totals[f"v1_{part}"].sum(axis=-1) for part in ("count", "error", "speed"))
    names = ("BACKGROUND", *CATEGORIES)
    rows = _rows(count, {"error_m": error, "speed_m": speed})
    category, motion = rows.pop("index")
    return {"category": [names[i] for i in category], "motion": [_MOTION[i] for i in motion], **rows}


def distance_rows(totals: Totals) -> Rows:
    """Points and mean error in each range of distance, moving or not."""
    rows = _rows(totals["range_count"], {"error_m": totals["range_error"]})
    motion, zone = rows.pop("index")
    edges = [0.0, *RANGE_EDGES.tolist(), float("inf")]
    low, high = [edges[i] for i in zone], [edges[i + 1] for i in zone]
    return {"motion": [_MOTION[i] for i in motion], "from_m": low, "to_m": high, **rows}


def speed_rows(totals: Totals) -> Rows:
    """Points, mean error and mean speed of each meta class in each bucket of speed, within 35 m and beyond."""
    rows: Rows = {}
    edges = [*BUCKET_EDGES.tolist(), float("inf")]
    for name, unlimited in (("35m", False), ("all", True)):
        count, error, speed = (region(totals, f"v2_{part}", unlimited) for part in ("count", "error", "speed"))
        part = _rows(count, {"error_m": error, "speed_m": speed})
        meta, bucket = part.pop("index")
        part = {
            "region": [name] * len(meta),
            "class": [META_CLASSES[i] for i in meta],
            "from_m": [edges[i] for i in bucket],
            "to_m": [edges[i + 1] for i in bucket],
            **part,
        }
        rows = {key: rows.get(key, []) + values for key, values in part.items()}
    return rows


def log_rows(log_id: str, totals: Totals) -> Rows:
    """Headline numbers of one log; null where the log has no such points."""
    numbers = headline_metrics(headline(totals))
    points = {f"points_{name}": [int(totals[key].sum())] for name, key in _COUNTS if key in totals}
    values = {".".join(path): [_or_none(numbers.get(path))] for path in HEADLINE}
    return {"log_id": [log_id], **points, **values}


_COUNTS = (("v1", "v1_count"), ("v2", "v2_count"))


def _or_none(value: NDArray[np.float64] | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _rows(count: NDArray[Any], sums: Mapping[str, NDArray[Any]]) -> Rows:
    """One row for each cell that has points: its index along each axis, its points, its means."""
    index = np.nonzero(count)
    points = count[index]
    means = {name: (values[index] / points).tolist() for name, values in sums.items()}
    return {"index": [axis.tolist() for axis in index], "points": points.tolist(), **means}


def write_table(path: Path, parts: Mapping[str, list[Rows]]) -> None:
    """Write the rows of each prediction under its name; the same bytes for the same rows."""
    pieces = [(name, rows) for name, group in parts.items() for rows in group]
    keys = list(dict.fromkeys(key for _, rows in pieces for key in rows))
    columns: Rows = {key: [] for key in ("prediction", *keys)}
    for name, rows in pieces:
        length = len(next(iter(rows.values())))
        columns["prediction"] += [name] * length
        for key in keys:
            columns[key] += rows.get(key, [None] * length)
    with atomic(path) as file:
        pq.write_table(pa.table(columns), file, write_statistics=False)
