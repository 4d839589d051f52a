# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Means over segments of a ragged batch; an empty segment gives 0 with zero gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_mean(values: Tensor, segment: Tensor, segments: int, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of `values` in each segment.

    Args:
        values: (N,).
        segment: (N,) int64 in [0, segments).
        segments: Number of segments.
        weight: (N,) 0 or 1, which values count; None counts all.

    Returns:
        (segments,), 0 where nothing counts.
    """
    weight = torch.ones_like(values) if weight is None else weight.to(values.dtype)
    zeros = values.new_zeros(segments)
    count = zeros.index_add(0, segment, weight)
    return zeros.index_add(0, segment, values * weight) / count.clamp(min=1)


def length(vectors: Tensor) -> Tensor:
    """Euclidean length (N,) of vectors (N, 3); its gradient at 0 is 0."""
    return torch.linalg.vector_norm(vectors, dim=1)
