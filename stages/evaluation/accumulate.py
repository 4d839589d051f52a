# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Running totals of a metric's counts and sums: a frame at a time, merged in any order to the same bits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.exact import ExactSum

# What a metric family gives for one frame: integer arrays are counts, floating ones sums.
FrameSums = dict[str, NDArray[Any]]
Totals = dict[str, NDArray[Any]]


class Accumulator:
    """Totals over frames. Memory does not grow with their number."""

    def __init__(self) -> None:
        self.counts: dict[str, NDArray[np.int64]] = {}
        self.sums: dict[str, ExactSum] = {}

    def add(self, frame: Mapping[str, NDArray[Any]]) -> None:
        """Add what the families gave for one frame."""
        for name, values in frame.items():
            if np.issubdtype(values.dtype, np.integer):
                self._count(name, values)
            else:
                self.sums.setdefault(name, ExactSum.zeros(values.shape)).add(values)

    def merge(self, other: "Accumulator") -> None:
        """Add the totals of other frames."""
        for name, counts in other.counts.items():
            self._count(name, counts)
        for name, sums in other.sums.items():
            self.sums.setdefault(name, ExactSum.zeros(sums.whole.shape)).merge(sums)

    def _count(self, name: str, values: NDArray[Any]) -> None:
        if name not in self.counts:
            self.counts[name] = np.zeros(values.shape, dtype=np.int64)
        self.counts[name] += values

    def totals(self) -> Totals:
        """Counts as they are and sums as doubles, by name."""
        return {**self.counts, **{name: sums.value() for name, sums in self.sums.items()}}

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Everything as integer arrays, to be stored; `from_columns` is the way back."""
        columns = {f"{name}.count": counts for name, counts in self.counts.items()}
        for name, sums in self.sums.items():
            columns[f"{name}.whole"], columns[f"{name}.fraction"] = sums.whole, sums.fraction
        return columns

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> "Accumulator":
        """The accumulator that `columns` described."""
        result = cls()
        for column, values in columns.items():
            name, part = column.rsplit(".", 1)
            if part == "count":
                result.counts[name] = np.array(values, dtype=np.int64)
            elif part == "whole":
                fraction = np.array(columns[f"{name}.fraction"], dtype=np.int64)
                result.sums[name] = ExactSum(np.array(values, dtype=np.int64), fraction)
        return result
