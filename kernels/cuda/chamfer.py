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
from kernels.cuda.layout import BLOCK, CHAMFER, CLOUDS, SAMPLES, SHAPE, Layout, layouts
from kernels.cuda.tree import BoxSearch, Cloud, Tree, allocate, build, pack, packets, search, squared_limit

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
        samples, device = len(a_offsets) - 1, a.device
        pairs = list(zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True))
        with on_device(device):
            launch = Launcher(device)
            loss = torch.empty(samples, dtype=torch.float32, device=device)
            kept = torch.empty(_kept(a, b, wanted) + samples, dtype=torch.int64, device=device)
            sides, found = _sides(a, b, kept, wanted, cap)
            for number, pair in enumerate(pairs):
                sample, prepared = number * SAMPLES, search_b.trees[number] if search_b else None
                places = found + 8 * sample, loss.data_ptr() + 4 * sample
                _launch_part(launch, sides, pair, prepared, squared_limit(cap), places)
        if wanted[0] or wanted[1]:
            ctx.save_for_backward(a, b, kept)
            ctx.pairs, ctx.wanted, ctx.cap = pairs, wanted, cap
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to a and b that were asked for."""
        a, b, kept = ctx.saved_tensors
        to_a, to_b = ctx.needs_input_grad[:2]
        of_a, of_b = torch.empty_like(a) if to_a else None, torch.empty_like(b) if to_b else None
        places = 0 if of_a is None else of_a.data_ptr(), 0 if of_b is None else of_b.data_ptr()
        (first, second), found = _sides(a, b, kept, ctx.wanted, ctx.cap)
        weights, stride = upstream.data_ptr(), upstream.stride(0)
        with on_device(upstream.device):
            launch = Launcher(upstream.device)
            for number, (one, other) in enumerate(ctx.pairs):
                sample = number * SAMPLES
                clouds = CLOUDS.pack(*first.cloud(one), *second.cloud(other), 0.0, 0 if to_a else 1, 0, 0, 0, 0, 0)
                at = found + 8 * sample, 0, weights + 4 * sample * stride
                chamfer = CHAMFER.pack(0, 0, 0, *at, *places, stride, 0)
                launch("gradient", max(one.blocks, other.blocks), to_a + to_b, BLOCK, clouds, chamfer)
        return of_a, of_b, None, None, None, None, None


class Side(NamedTuple):
    """One of the two clouds, and where its part of what the backward needs lies."""

    source: Tensor  # (N, 3)
    index: int  # type: ignore[assignment]  # address of (N,) int64; hides tuple.index
    pulls: int  # address of (N, 3) int64, 0 where no gradient is wanted
    scale: float  # of the pulls

    def cloud(self, layout: Layout) -> Cloud:
        """The values of a Cloud struct without a tree, which is gone when the backward runs."""
        return self.source.data_ptr(), *NO_TREE, self.index, 0, self.pulls, self.scale, layout.table


NO_TREE = (0,) * 8


def _kept(a: Tensor, b: Tensor, wanted: tuple[bool, bool]) -> int:
    """Integers that the backward needs of each point: its neighbour, and the pulls on it where a gradient is wanted."""
    return a.shape[0] * (1 + 3 * wanted[0]) + b.shape[0] * (1 + 3 * wanted[1])


def _sides(a: Tensor, b: Tensor, kept: Tensor, wanted: tuple[bool, bool], cap: float) -> tuple[tuple[Side, Side], int]:
    """Both clouds with their places in `kept`, and the address of its rest.

    It holds the indices of a and b, the pulls of a and b, and how many neighbours are within the cap: (2, samples)
    int32 of one launch after the other.
    """
    rows, others = a.shape[0], b.shape[0]
    index = kept.data_ptr()
    pulls = index + 8 * (rows + others)
    pulls_of_b = pulls + 24 * rows * wanted[0]
    sides = (
        Side(a, index, pulls if wanted[0] else 0, pull_scale(others, cap)),
        Side(b, index + 8 * rows, pulls_of_b if wanted[1] else 0, pull_scale(rows, cap)),
    )
    return sides, pulls_of_b + 24 * others * wanted[1]


def _launch_part(
    launch: Launcher,
    sides: tuple[Side, Side],
    pair: tuple[Layout, Layout],
    prepared: Tree | None,
    limit: float,
    places: tuple[int, int],
) -> None:
    """Search both ways between the samples of one launch; write their counts and losses to the two places."""
    a, b = sides
    first, second = pair
    blocks, forth, back = first.blocks + second.blocks, packets(first), packets(second)
    sources = [(a.source, first)] if prepared else [(a.source, first), (b.source, second)]
    # Sums and counts of the blocks for `reduce`, the squared distances, and the packets that give up.
    trees, barrier, sums = allocate(launch, sources, 12 * blocks + 4 * (first.rows + second.rows + forth + back))
    several, tickets = len(trees), trees[0].tickets
    counts = sums + 8 * blocks
    distance = counts + 4 * blocks
    distance_of_b = distance + 4 * first.rows
    apart = distance_of_b + 4 * second.rows
    clouds = pack(
        trees[0].cloud(a.index, distance - 4 * first.first_row, a.pulls, a.scale),
        (prepared or trees[1]).cloud(b.index, distance_of_b - 4 * second.first_row, b.pulls, b.scale),
        limit,
        barrier,
        several,
        (apart, apart + 4 * forth),
    )
    build(launch, clouds, blocks)
    search(launch, clouds, max(forth, back), 2)
    chamfer = CHAMFER.pack(sums, counts, tickets, *places, 0, 0, 0, 0, 0)
    launch("reduce", max(first.blocks, second.blocks, 1), 2, BLOCK, clouds, chamfer)


@lru_cache(maxsize=256)
def pull_scale(points: int, cap: float) -> float:
    """Integers for a metre: as many as the sum of `points` pulls of at most `cap` metres can hold."""
    return 2.0 ** pull_bits(points, cap)


def pull_bits(points: int, cap: float) -> int:
    """Binary places of the integers."""
    if points == 0 or cap == 0:
        return 0
    # A pull may be longer than a cap whose square underflows: squares below 1e-45 are zero in float32.
    return INTEGER_BITS - math.ceil(math.log2(points)) - math.ceil(math.log2(max(cap, 1e-18)))
