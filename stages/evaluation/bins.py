# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Means over bins, with nothing in place of an empty bin."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def cells(scored: NDArray[np.bool_], index: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Flat bin numbers (N,) of a table; points that are not scored get one bin more, which is never read."""
    return np.where(scored, index, math.prod(shape)).astype(np.intp)


def bin_sums(cell: NDArray[np.intp], shape: tuple[int, ...], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of weights (N,) in each bin of a table, for bin numbers from `cells`."""
    size = math.prod(shape)
    sums: NDArray[np.float64] = np.bincount(cell, weights, minlength=size + 1)[:size].astype(np.float64, copy=False)
    return sums.reshape(shape)


def bin_counts(cell: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Number of points in each bin of a table, for bin numbers from `cells`."""
    size = math.prod(shape)
    return np.bincount(cell, minlength=size + 1)[:size].reshape(shape)


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """Quotients, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def mean_present(values: Iterable[float]) -> float:
    """Unweighted mean of the values that are not NaN; NaN if there are none."""
    present = [value for value in values if not math.isnan(value)]
    return math.fsum(present) / len(present) if present else math.nan


def present(values: Mapping[str, float]) -> dict[str, float]:
    """The entries that are not NaN, as plain floats: what does not exist is left out."""
    return {name: float(value) for name, value in values.items() if not math.isnan(value)}
