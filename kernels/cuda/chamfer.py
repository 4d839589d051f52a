# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truncated chamfer on the GPU: sums in a fixed order, gradients added as integers, the same bits in every run."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.cuda.driver import Launcher, on_device
from kernels.cuda.layout import BLOCK, CHAMFER, SHAPE, TAIL, Layout, layouts
from kernels.cuda.tree import BoxSearch, allocate, build, pack, search, squared_limit

INTEGER_BITS = 62  # of the sums of pulls, one to spare


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
    ) -> Tensor:
        """Return the chamfer (B,) and keep what the backward needs."""
        wanted = ctx.needs_input_grad[:2]
        rows, samples = (a.shape[0], b.shape[0]), len(a_offsets) - 1
        scales = [2.0 ** pull_bits(points, cap) for points in reversed(rows)]
        parts: list[Part] = []
        with on_device(a.device):
            launch = Launcher(a.device)
            loss = torch.empty(samples, dtype=torch.float32, device=a.device)
            answers = torch.empty(3 * sum(rows), dtype=torch.int32, device=a.device)
            index = answers.data_ptr(), answers.data_ptr() + 8 * rows[0]
            distance = index[1] + 8 * rows[1], index[1] + 8 * rows[1] + 4 * rows[0]
            pairs = zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True)
            sample = 0
            for number, pair in enumerate(pairs):
                pulls = [24 * layout.rows if want else 0 for layout, want in zip(pair, wanted, strict=True)]
                sources = [(a, pair[0])] if search_b else [(a, pair[0]), (b, pair[1])]
                trees, barrier, zeros = allocate(launch, sources, sum(pulls))
                ready = trees if search_b is None else [*trees, search_b.trees[number]]
                places = zeros - 24 * pair[0].first_row, zeros + pulls[0] - 24 * pair[1].first_row
                first, second = (
                    tree.struct(index[side], distance[side], places[side] if wanted[side] else 0, scales[side])
                    for side, tree in enumerate(ready)
                )
                clouds = pack(first, second, squared_limit(cap), barrier, len(trees))
                build(launch, clouds, [tree.layout for tree in trees])
                search(launch, clouds, pair)
                found = _reduce(launch, clouds, trees[0].tickets, pair, loss, sample)
                parts.append(Part(clouds, pair, sample, found, (trees[0].memory, ready[1].memory)))
                sample += pair[0].samples
        ctx.save_for_backward(a, b)
        ctx.parts, ctx.answers = parts, answers
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to a and b that were asked for."""
        clouds = ctx.saved_tensors
        wanted: tuple[bool, bool] = ctx.needs_input_grad[:2]
        gradients = [torch.empty_like(cloud) if want else None for cloud, want in zip(clouds, wanted, strict=True)]
        places = [0 if gradient is None else gradient.data_ptr() for gradient in gradients]
        tail = TAIL.pack(0.0, 0 if wanted[0] else 1, 0, 0, 0)
        stride = upstream.stride(0)
        with on_device(upstream.device):
            launch = Launcher(upstream.device)
            for part in ctx.parts:
                weights = upstream.data_ptr() + 4 * part.sample * stride
                chamfer = CHAMFER.pack(0, 0, 0, part.found.data_ptr(), 0, weights, *places, stride, 0)
                blocks = max(layout.blocks for layout in part.pair)
                launch("gradient", blocks, sum(wanted), BLOCK, part.clouds[: -TAIL.size] + tail, chamfer)
        return gradients[0], gradients[1], None, None, None, None


class Part(NamedTuple):
    """What the backward needs of the samples of one launch."""

    clouds: bytes
    pair: tuple[Layout, Layout]
    sample: int  # the first one
    found: Tensor  # (2, samples) neighbours within the cap, and scratch memory behind
    memory: tuple[tuple[Tensor, ...], ...]


def _reduce(
    launch: Launcher, clouds: bytes, tickets: int, pair: tuple[Layout, Layout], loss: Tensor, sample: int
) -> Tensor:
    """Launch the sums; return how many neighbours were found, (2, samples) in front of scratch memory."""
    blocks, samples = pair[0].blocks + pair[1].blocks, pair[0].samples
    found = torch.empty(2 * samples + 3 * blocks, dtype=torch.int32, device=loss.device)
    sums = found.data_ptr() + 8 * samples
    chamfer = CHAMFER.pack(
        sums, sums + 8 * blocks, tickets, found.data_ptr(), loss.data_ptr() + 4 * sample, 0, 0, 0, 0, 0
    )
    launch("reduce", max(pair[0].blocks, pair[1].blocks, 1), 2, BLOCK, clouds, chamfer)
    return found


def pull_bits(points: int, cap: float) -> int:
    """Binary places of the integers: as many as `points` pulls of at most `cap` metres cannot overflow."""
    if points == 0 or cap == 0:
        return 0
    return min(INTEGER_BITS - math.ceil(math.log2(points)) - math.ceil(math.log2(cap)), 1000)
