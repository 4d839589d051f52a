# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truncated chamfer distance between ragged batches of clouds, differentiable (SeFlow, ECCV 2024)."""

import math

import torch
from torch import Tensor

from kernels.arguments import check_all
from kernels.nearest import Search, nearest


def truncated_chamfer(
    a: Tensor,
    b: Tensor,
    a_offsets: Tensor,
    b_offsets: Tensor,
    cap: float,
    search_b: Search | None = None,
) -> Tensor:
    """Mean squared distance to the nearest neighbour, both ways, leaving out pairs further apart than the cap.

    For each sample `mean{d(p, B) : p in A, d <= cap²} + mean{d(p, A) : p in B, d <= cap²}`; a mean over nothing is 0
    and has gradient 0. Pairs over the cap are dropped, not clamped.

    Args:
        a: (N, 3) metres, contiguous; float32, on the CPU also float64.
        b: (M, 3) metres, same dtype and device.
        a_offsets: (B+1,) int64 on the CPU, from 0 to N, never falling.
        b_offsets: (B+1,) int64 on the CPU, from 0 to M, never falling.
        cap: metres, finite.
        search_b: `Search(b, b_offsets)`, where the caller has it already.

    Returns:
        (B,) m², differentiable with respect to `a` and `b`, with no work for one that needs no gradient.

    Raises:
        TypeError, ValueError, RuntimeError: as `kernels.nearest.nearest`.
    """
    (bare_a, bare_b), (a_rows, b_rows), checked = check_all((a, b), (a_offsets, b_offsets), cap, ("a", "b"))
    if checked is None or not math.isfinite(checked):
        raise ValueError(f"cap must be a finite distance in metres, got {cap}")
    if search_b is not None and not search_b.belongs_to(b, b_rows):
        raise ValueError("search_b was made from another tensor or other offsets than the b and b_offsets given")
    if a.is_cuda:
        from kernels.cuda.chamfer import ChamferFunction

        prepared = None if search_b is None else search_b.prepared
        loss: Tensor = ChamferFunction.apply(a, b, a_rows, b_rows, checked, prepared)  # type: ignore[no-untyped-call]
        return loss
    to_b = (search_b or Search(bare_b, b_offsets)).nearest(bare_a, a_offsets, checked)
    to_a = nearest(bare_b, bare_a, b_offsets, a_offsets, checked)
    return _mean_over_samples(a, b, to_b.index, a_offsets) + _mean_over_samples(b, a, to_a.index, b_offsets)


def _mean_over_samples(query: Tensor, target: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """Mean squared distance of the queries that found a neighbour, (B,)."""
    rows = torch.nonzero(index >= 0).squeeze(1)
    square = (query[rows] - target[index[rows]]).square()
    distance = (square[:, 0] + square[:, 1]) + square[:, 2]
    samples = offsets.numel() - 1
    sample = torch.searchsorted(offsets[1:], rows, right=True)
    zeros = torch.zeros(samples, dtype=torch.float64)
    total = zeros.index_add(0, sample, distance.double())
    count = torch.bincount(sample, minlength=samples)
    return (total / count.clamp(min=1)).to(query.dtype)
