# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How finely stored numbers can tell positions: float32 and short decimals lose centimetres far from the origin."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AS_FLOAT32 = 1e-10  # relative difference up to which doubles are float32 that were widened or printed in full
_DECIMALS = (0, 1, 2)
_DISTINCT = 3  # so few values on an axis prove nothing


def resolution(positions: ArrayLike) -> float:
    """Smallest step (m) that positions (T, 3) as they are stored can tell; 0 where it is below a millimetre or unknown.

    Numbers that are all float32 are as coarse as float32 at the largest of them; decimals that all end after d digits
    are as coarse as 10^-d, if two axes have many values: a straight drive in even steps has round numbers too.
    """
    stored = np.asarray(positions)
    values = stored.astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32).astype(np.float64)
    steps = [0.0]
    if largest and (np.abs(narrow - values) <= _AS_FLOAT32 * np.abs(values)).all():
        steps.append(float(np.spacing(np.float32(largest))))
    busy = sum(len(np.unique(axis)) > _DISTINCT for axis in values.T) >= 2
    shortest = next((d for d in _DECIMALS if busy and _ends_after(values, d)), None)
    if shortest is not None:
        steps.append(10.0**-shortest)
    return max(steps) if max(steps) >= 1e-3 else 0.0


def _ends_after(values: NDArray[np.float64], decimals: int) -> bool:
    scaled = values * 10.0**decimals
    return bool((np.abs(scaled - np.round(scaled)) <= 1e-9 * np.maximum(1, np.abs(scaled))).all())
