# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that people quote, as tables that can be summed and resampled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import Totals
from stages.evaluation.bins import ratio
from stages.evaluation.classes import META_CLASSES
from stages.evaluation.v2 import TABLE, class_errors, region

# Path in the metric file of each headline number.
HEADLINE = (
    *(("bucketed", "dynamic", name) for name in ("mean", *META_CLASSES[1:])),
    ("bucketed", "static", "mean"),
    *(("threeway", name) for name in ("mean", "fd", "fs", "bs")),
)


def headline(totals: Totals) -> Totals:
    """The part of the totals that the headline needs; empty tables for a family that is not there.

    `v2_<part>` are the bucket tables within 35 m (5, 51), `threeway_<part>` v1's cells fd, fs, bs (3,).
    """
    tables: Totals = {}
    for part in ("count", "error", "speed"):
        empty = np.zeros(TABLE[:2])
        tables[f"v2_{part}"] = region(totals, f"v2_{part}", False) if "v2_count" in totals else empty
    for part in ("count", "error"):
        tables[f"threeway_{part}"] = _threeway(totals[f"v1_{part}"]) if "v1_count" in totals else np.zeros(3)
    return tables


def _threeway(table: NDArray[Any]) -> NDArray[Any]:
    cells = table.sum(axis=-1)  # (31, 2) close and far together
    foreground = cells[1:].sum(axis=0)
    return np.array([foreground[1], foreground[0], cells[0, 0]])


def headline_metrics(tables: Mapping[str, NDArray[Any]]) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Headline numbers of tables with any leading axes, NaN where there are no points.

    Args:
        tables: what `headline` gives, each with the same leading axes.

    Returns:
        arrays with those axes, by the path of the number in the metric file.
    """
    static, dynamic = class_errors(*(tables[f"v2_{part}"] for part in ("count", "error", "speed")))
    parts = ratio(tables["threeway_error"], tables["threeway_count"])
    numbers: dict[tuple[str, ...], NDArray[np.float64]] = {("bucketed", "dynamic", "mean"): _mean_present(dynamic)}
    for row, name in enumerate(META_CLASSES[1:], start=1):
        numbers["bucketed", "dynamic", name] = dynamic[..., row]
    numbers["bucketed", "static", "mean"] = _mean_present(static)
    numbers["threeway", "mean"] = parts.sum(axis=-1) / 3
    for column, name in enumerate(("fd", "fs", "bs")):
        numbers["threeway", name] = parts[..., column]
    return numbers


def _mean_present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1))
