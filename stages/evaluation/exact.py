# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Sums that do not depend on the order of their terms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FRACTION_BITS = 60
_FRACTION = 1 << _FRACTION_BITS
_LIMIT = 2.0**50  # of one term; leaves room for 8,192 such terms in the whole part


@dataclass
class ExactSum:
    """An array of running sums in fixed point: whole units and 2⁻⁶⁰ths, both integers.

    Integer addition is associative, so any order and any grouping of the same terms gives the same bits.
    A term is rounded once, to 2⁻⁶⁰, when it enters.

    Attributes:
        whole: floor of the sums, int64.
        fraction: the rest in 2⁻⁶⁰ths, int64, 0 ≤ fraction < 2⁶⁰.
    """

    whole: NDArray[np.int64]
    fraction: NDArray[np.int64]

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> "ExactSum":
        """Sums of no terms."""
        return cls(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))

    def add(self, terms: NDArray[np.floating[Any]]) -> None:
        """Add a term to each sum; raises ValueError for terms that are not finite or beyond 2⁵⁰."""
        if not (np.abs(terms) < _LIMIT).all():
            raise ValueError(f"terms of a sum must be finite and below 2^50, got {np.abs(terms).max()}")
        whole = np.floor(terms)
        self.whole += whole.astype(np.int64)
        self.fraction += np.rint((terms - whole) * _FRACTION).astype(np.int64)
        self._carry()

    def merge(self, other: "ExactSum") -> None:
        """Add the sums of another part of the data."""
        self.whole += other.whole
        self.fraction += other.fraction
        self._carry()

    def _carry(self) -> None:
        self.whole += self.fraction >> _FRACTION_BITS
        self.fraction &= _FRACTION - 1

    def value(self) -> NDArray[np.float64]:
        """The sums, each rounded once to the nearest double."""
        pairs = zip(self.whole.ravel().tolist(), self.fraction.ravel().tolist(), strict=True)
        values = [((whole << _FRACTION_BITS) + fraction) / _FRACTION for whole, fraction in pairs]
        return np.array(values, dtype=np.float64).reshape(self.whole.shape)
