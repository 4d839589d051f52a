# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Means over bins, with nothing in place of an empty bin."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bin_sums(index: NDArray[np.int64], shape: tuple[int, ...], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of weights (K,) in each bin of a table, for flat bin numbers (K,)."""
    sums = np.bincount(index, weights, minlength=math.prod(shape)).astype(np.float64, copy=False)
    return sums.reshape(shape)


def bin_counts(index: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Number of rows in each bin of a table, for flat bin numbers (K,)."""
    return np.bincount(index, minlength=math.prod(shape)).reshape(shape)


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
