# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals by resampling logs, or blocks of frames where there are few logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.accumulate import Totals
from stages.evaluation.headline import headline_metrics

MIN_LOGS = 8  # fewer logs than this say too little about other logs; blocks of frames are resampled instead
_DECIMALS = 6  # resampled numbers are given to a micrometre; their noise is far above it


@dataclass(frozen=True)
class BootstrapParameters:
    """How intervals are made.

    Attributes:
        resamples: number of resampled data sets.
        seed: of the random draws.
        level: share of the resampled values that an interval holds.
    """

    resamples: int
    seed: int
    level: float

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}")


def resampled(units: Sequence[Totals], parameters: BootstrapParameters) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Headline numbers of data sets drawn with replacement from the units.

    The draws depend on the seed and the number of units alone, so two predictions of the same data are
    resampled alike and their difference can be judged pair by pair.

    Args:
        units: headline tables of each log or block.
        parameters: number of draws and seed.

    Returns:
        by path of the number, its value in each resampled data set  # (R,); nothing for fewer than two units
    """
    if len(units) < 2:  # one unit says nothing about another
        return {}
    rng = np.random.default_rng(parameters.seed)
    share = np.full(len(units), 1.0 / len(units))
    draws = rng.multinomial(len(units), share, size=parameters.resamples).astype(np.float64)  # (R, U)
    tables: dict[str, NDArray[Any]] = {}
    for key in units[0]:
        stack = np.stack([unit[key] for unit in units]).astype(np.float64)
        flat = draws @ stack.reshape(len(units), -1)
        tables[key] = flat.reshape(-1, *stack.shape[1:])
    return {path: np.round(values, _DECIMALS) for path, values in headline_metrics(tables).items()}


def intervals(values: dict[tuple[str, ...], NDArray[np.float64]], level: float) -> dict[str, Any]:
    """Percentile intervals `[low, high]`, nested by path; draws that lack a number are left out of its interval.

    Lists, because DVC leaves lists out of its listing of metrics, where bounds would bury the numbers.
    """
    nested: dict[str, Any] = {}
    for path, numbers in values.items():
        present = numbers[~np.isnan(numbers)]
        if not len(present):
            continue
        low, high = np.quantile(present, [(1 - level) / 2, (1 + level) / 2])
        node = nested
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = [round(float(low), _DECIMALS), round(float(high), _DECIMALS)]
    return nested
