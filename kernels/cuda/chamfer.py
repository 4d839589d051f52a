# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truncated chamfer on the GPU: sums in a fixed order, gradients added as integers, the same bits in every run."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.cuda.driver import Launcher, on_device
from kernels.cuda.layout import BLOCK, CHAMFER, HEAD, SAMPLES, SHAPE, TAIL, Layout, layouts
from kernels.cuda.tree import BoxSearch, Tree, allocate, build, pack, packets, search, squared_limit

INTEGER_BITS = 62  # of the sums of pulls, one to spare


def chamfer(
    a: Tensor, b: Tensor, a_offsets: Sequence[int], b_offsets: Sequence[int], cap: float, search_b: BoxSearch | None
) -> Tensor:
    """Return the truncated chamfer (B,), m², of checked clouds, differentiable to those that need a gradient now."""
    # Within a Function gradients are always off, and leaves look as if they needed one even where nobody records.
    on = torch.is_grad_enabled()
    wanted = on and a.requires_grad, on and b.requires_grad
    given = a_offsets, b_offsets, cap, search_b, wanted
    loss: Tensor = ChamferFunction.apply(a, b, *given)  # type: ignore[no-untyped-call]
    return loss


class ChamferFunction(torch.autograd.Function):
    """Forward: both searches and the means. Backward: one launch over the clouds that need a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        a_offsets: Sequence[int],
        b_offsets: Sequence[int],
        cap: float,
        search_b: BoxSearch | None,
        wanted: tuple[bool, bool],
    ) -> Tensor:
        """Return the chamfer (B,) and keep what the backward needs."""
        rows, samples = (a.shape[0], b.shape[0]), len(a_offsets) - 1
        pairs = list(zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True))
        with on_device(a.device):
            launch = Launcher(a.device)
            loss = torch.empty(samples, dtype=torch.float32, device=a.device)
            index = torch.empty(sum(rows), dtype=torch.int64, device=a.device)  # of a, then of b
            pulls = _zeros(launch, 3 * sum(n * want for n, want in zip(rows, wanted, strict=True)), a.device)
            # Neighbours within the cap, (2, samples) of one launch after the other.
            found = torch.empty(2 * samples, dtype=torch.int32, device=a.device)
            sides = _sides((a, b), index, pulls, wanted, cap)
            for number, pair in enumerate(pairs):
                sample, prepared = number * SAMPLES, search_b.trees[number] if search_b else None
                places = found.data_ptr() + 8 * sample, loss.data_ptr() + 4 * sample
                _launch_part(launch, sides, pair, prepared, squared_limit(cap), places)
        if any(wanted):
            ctx.save_for_backward(a, b, index, pulls, found)
            ctx.pairs, ctx.wanted, ctx.cap = pairs, wanted, cap
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to a and b that were asked for."""
        a, b, index, pulls, found = ctx.saved_tensors
        wanted: tuple[bool, bool] = ctx.needs_input_grad[:2]
        gradients = [torch.empty_like(cloud) if want else None for cloud, want in zip((a, b), wanted, strict=True)]
        places = [0 if gradient is None else gradient.data_ptr() for gradient in gradients]
        sides = _sides((a, b), index, pulls, ctx.wanted, ctx.cap)
        tail = TAIL.pack(0.0, 0 if wanted[0] else 1, 0, 0, 0, 0, 0)
        stride = upstream.stride(0)
        with on_device(upstream.device):
            launch = Launcher(upstream.device)
            for number, pair in enumerate(ctx.pairs):
                sample = number * SAMPLES
                counts, weights = found.data_ptr() + 8 * sample, upstream.data_ptr() + 4 * sample * stride
                clouds = b"".join(side.struct(layout) for side, layout in zip(sides, pair, strict=True)) + tail
                chamfer = CHAMFER.pack(0, 0, 0, counts, 0, weights, *places, stride, 0)
                launch("gradient", max(layout.blocks for layout in pair), sum(wanted), BLOCK, clouds, chamfer)
        return gradients[0], gradients[1], None, None, None, None, None


class Side(NamedTuple):
    """One of the two clouds, and where its part of what the backward needs lies."""

    cloud: Tensor  # (N, 3)
    index: int  # type: ignore[assignment]  # address of (N,) int64; hides tuple.index
    pulls: int  # address of (N, 3) int64, 0 where no gradient is wanted
    scale: float  # of the pulls

    def struct(self, layout: Layout) -> bytes:
        """The Cloud struct without a tree, which is gone when the backward runs."""
        return HEAD.pack(self.cloud.data_ptr(), *(0,) * 8, self.index, 0, self.pulls, self.scale) + layout.table


def _sides(
    clouds: tuple[Tensor, Tensor], index: Tensor, pulls: Tensor, wanted: Sequence[bool], cap: float
) -> tuple[Side, Side]:
    a, b = clouds
    rows = a.shape[0]
    pulls_of_b = pulls.data_ptr() + 24 * rows * wanted[0]
    return (
        Side(a, index.data_ptr(), pulls.data_ptr() * wanted[0], 2.0 ** pull_bits(b.shape[0], cap)),
        Side(b, index.data_ptr() + 8 * rows, pulls_of_b * wanted[1], 2.0 ** pull_bits(rows, cap)),
    )


def _zeros(launch: Launcher, size: int, device: torch.device) -> Tensor:
    """Integers that are zero, (size,) int64."""
    zeros = torch.empty(size, dtype=torch.int64, device=device)
    if size:
        launch.zero(zeros.data_ptr(), 8 * size)
    return zeros


def _launch_part(
    launch: Launcher,
    sides: tuple[Side, Side],
    pair: tuple[Layout, Layout],
    prepared: Tree | None,
    limit: float,
    places: tuple[int, int],
) -> None:
    """Search both ways between the samples of one launch; write their counts and losses to the two places."""
    blocks, rows = sum(layout.blocks for layout in pair), sum(layout.rows for layout in pair)
    sources = [(side.cloud, layout) for side, layout in zip(sides, pair, strict=True)][: 1 if prepared else 2]
    # Sums and counts of the blocks for `reduce`, the squared distances, and the packets that give up.
    trees, barrier, sums = allocate(launch, sources, 12 * blocks + 4 * rows + 4 * sum(map(packets, pair)))
    counts, distance, apart = sums + 8 * blocks, sums + 12 * blocks, sums + 12 * blocks + 4 * rows
    first_rows = [layout.first_row for layout in pair]
    distances = distance - 4 * first_rows[0], distance + 4 * (pair[0].rows - first_rows[1])
    ready = [*trees, prepared] if prepared else trees
    first, second = (
        tree.struct(side.index, at, side.pulls, side.scale)
        for tree, side, at in zip(ready, sides, distances, strict=True)
    )
    clouds = pack(first, second, limit, barrier, len(trees), (apart, apart + 4 * packets(pair[0])))
    build(launch, clouds, [tree.layout for tree in trees])
    search(launch, clouds, pair)
    chamfer = CHAMFER.pack(sums, counts, trees[0].tickets, *places, 0, 0, 0, 0, 0)
    launch("reduce", max(pair[0].blocks, pair[1].blocks, 1), 2, BLOCK, clouds, chamfer)


@lru_cache(maxsize=256)
def pull_bits(points: int, cap: float) -> int:
    """Binary places of the integers: as many as `points` pulls of at most `cap` metres cannot overflow."""
    if points == 0 or cap == 0:
        return 0
    return min(INTEGER_BITS - math.ceil(math.log2(points)) - math.ceil(math.log2(cap)), 1000)
