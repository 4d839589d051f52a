# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truncated chamfer distance between ragged batches of clouds, differentiable (SeFlow, ECCV 2024)."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from kernels.arguments import check_all
from kernels.search import Search, nearest
from kernels.search_cpu import side_by_side

if TYPE_CHECKING:
    from kernels.cuda.tree import BoxSearch

# The GPU adds gradients as integers that must hold the sum of a whole batch of gaps as long as the cap. At this cap a
# batch of 2²⁰ points still resolves 30 nm; the CPU has the same limit, so that code runs on both.
MOST_CAP = 1e5


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
        cap: metres, at most 100,000 (`kernels.chamfer.MOST_CAP`).
        search_b: `Search(b, b_offsets)`, where the caller has it already.

    Returns:
        (B,) m², differentiable with respect to `a` and `b`, with no work for one that needs no gradient; twice on the
        CPU, once on a GPU.

    Raises:
        TypeError, ValueError, RuntimeError: as `kernels.nearest`.
    """
    (bare_a, bare_b), (a_rows, b_rows), checked = check_all((a, b), (a_offsets, b_offsets), cap, ("a", "b"))
    if checked is None or not checked <= MOST_CAP:
        raise ValueError(f"cap must be a finite distance in metres of at most {MOST_CAP:.0f}, got {cap}")
    if search_b is not None:
        if not isinstance(search_b, Search):
            raise TypeError(f"search_b must be a kernels.Search or None, got {type(search_b).__name__}")
        if not search_b.belongs_to(b, b_rows):
            raise ValueError("search_b was made from another tensor or other offsets than the b and b_offsets given")
        search_b.check_unchanged()
    if a.is_cuda:
        from kernels.cuda.chamfer import chamfer

        # One made of b is for the GPU, where b is as a is.
        prepared = None if search_b is None else cast("BoxSearch", search_b.prepared)
        return chamfer(a, b, a_rows, b_rows, checked, prepared)
    to_b, to_a = side_by_side(
        lambda: (search_b or Search(bare_b, b_offsets)).nearest(bare_a, a_offsets, checked),
        lambda: nearest(bare_b, bare_a, b_offsets, a_offsets, checked),
    )
    return _mean_over_samples(a, b, to_b.index, a_offsets) + _mean_over_samples(b, a, to_a.index, b_offsets)


def _mean_over_samples(query: Tensor, target: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """Mean squared distance of the queries that found a neighbour, (B,)."""
    rows = torch.nonzero(index >= 0).squeeze(1)
    square = (query[rows] - _gathered(target, index[rows])).square()
    distance = (square[:, 0] + square[:, 1]) + square[:, 2]
    samples = offsets.numel() - 1
    sample = torch.searchsorted(offsets[1:], rows, right=True)
    zeros = torch.zeros(samples, dtype=torch.float64)
    total = zeros.index_add(0, sample, distance.double())
    count = torch.bincount(sample, minlength=samples)
    return (total / count.clamp(min=1)).to(query.dtype)


def _gathered(points: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (n,) of points (M, 3), like `points[index]`, but with a gradient of the same bits in every run."""
    rows: Tensor = _Gather.apply(points, index)  # type: ignore[no-untyped-call]
    return rows


class _Gather(torch.autograd.Function):
    """Torch's own backward of a gather adds with float atomics, in whatever order its threads arrive."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.points = points.shape[0]
        return points[index]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _Scatter.apply(upstream, index, ctx.points), None  # type: ignore[no-untyped-call]


class _Scatter(torch.autograd.Function):
    """Sum of the values (n, 3) that share an index, (points, 3), in float64 and in the order of the rows."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, points: int) -> Tensor:
        ctx.save_for_backward(index)
        rows, columns = index.numpy(), values.detach().double().numpy().T
        sums = np.stack([np.bincount(rows, weights=column, minlength=points) for column in columns], axis=1)
        return torch.from_numpy(sums).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return _gathered(upstream, index), None, None
