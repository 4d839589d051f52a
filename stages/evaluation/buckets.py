# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The speed buckets of the bucket-normalised metrics."""

import numpy as np
from numpy.typing import NDArray

# Edges of the speed buckets, m a frame; the last bucket is open, the first is "static".
BUCKET_EDGES = np.linspace(0.0, 2.0, 51)  # (51,)
BUCKETS = len(BUCKET_EDGES)


def speed_bucket(speed: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bucket of each speed (K,), low edge inside, high edge outside, exactly as the edges are rounded."""
    scaled = np.minimum(speed * ((BUCKETS - 1) / BUCKET_EDGES[-1]), BUCKETS - 1)
    guess: NDArray[np.int64] = scaled.astype(np.int64)
    guess -= speed < BUCKET_EDGES[guess]
    high = np.append(BUCKET_EDGES[1:], np.inf)
    guess += speed >= high[guess]
    return guess
