# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Truncated chamfer on the GPU: sums in a fixed order, gradients added as integers, the same bits in every run."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.cuda.driver import Launcher
from kernels.cuda.layout import BLOCK, CHAMFER, SHAPE, Layout, layouts
from kernels.cuda.tree import Answers, BoxSearch, allocate, build, pack, search, squared_limit

INTEGER_BITS = 62  # of the sums of pulls, one to spare


class ChamferFunction(torch.autograd.Function):
    """Forward: both searches and the means. Backward: two launches over the clouds that need a gradient."""

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
        device, samples = a.device, len(a_offsets) - 1
        parts: list[tuple[bytes, int]] = []
        sample = 0
        with torch.cuda.device(device):
            launch = Launcher(device)
            answers = Answers([a.shape[0], b.shape[0]], device)
            loss = torch.empty(samples, dtype=torch.float32, device=device)
            found = torch.empty(2 * samples, dtype=torch.int32, device=device)
            pairs = zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True)
            for part, pair in enumerate(pairs):
                if search_b is None:
                    first, second = allocate([(a, pair[0]), (b, pair[1])])
                else:
                    first, second = allocate([(a, pair[0])])[0], search_b.trees[part]
                ends = first.struct(*answers.addresses(0)), second.struct(*answers.addresses(1))
                clouds = pack(*ends, squared_limit(cap))
                build(launch, clouds, pair if search_b is None else pair[:1])
                search(launch, clouds, pair)
                _reduce(launch, clouds, first.tickets, pair, (loss, found), sample)
                parts.append((clouds, sample))
                sample += pair[0].samples
        ctx.save_for_backward(a, b, answers.index, found)
        ctx.parts, ctx.cap, ctx.offsets = parts, cap, (a_offsets, b_offsets)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients to a and b that were asked for."""
        a, b, _, found = ctx.saved_tensors
        wanted: tuple[bool, bool] = ctx.needs_input_grad[:2]
        clouds = (a, b)
        gradients = [torch.empty_like(cloud) if want else None for cloud, want in zip(clouds, wanted, strict=True)]
        if not any(wanted):
            return None, None, None, None, None, None
        rows = [cloud.shape[0] if want else 0 for cloud, want in zip(clouds, wanted, strict=True)]
        pulls = torch.zeros(3 * sum(rows), dtype=torch.int64, device=a.device)
        places = [pulls.data_ptr(), pulls.data_ptr() + 24 * rows[0]]
        scales = [2.0 ** pull_bits(other.shape[0], ctx.cap) for other in (b, a)]
        with torch.cuda.device(a.device):
            launch = Launcher(a.device)
            a_layouts, b_layouts = (layouts(tuple(offsets), SHAPE) for offsets in ctx.offsets)
            for (struct, sample), a_layout, b_layout in zip(ctx.parts, a_layouts, b_layouts, strict=True):
                chamfer = CHAMFER.pack(
                    0, 0, 0, found.data_ptr() + 8 * sample, 0,
                    upstream.data_ptr() + 4 * sample * upstream.stride(0),
                    *places, *(0 if gradient is None else gradient.data_ptr() for gradient in gradients),
                    *scales, *(1 / scale for scale in scales), upstream.stride(0), 0,
                )  # fmt: skip
                begin = struct[:-4] + (0 if wanted[0] else 1).to_bytes(4, "little")
                blocks = max(a_layout.blocks, b_layout.blocks)
                launch("pull", blocks, sum(wanted), BLOCK, begin, chamfer)
                launch("gradient", blocks, sum(wanted), BLOCK, begin, chamfer)
        return gradients[0], gradients[1], None, None, None, None


def _reduce(
    launch: Launcher,
    clouds: bytes,
    tickets: int,
    pair: tuple[Layout, Layout],
    outputs: tuple[Tensor, Tensor],
    sample: int,
) -> None:
    loss, found = outputs
    blocks = pair[0].blocks + pair[1].blocks
    scratch = torch.empty(12 * blocks + 16, dtype=torch.uint8, device=loss.device)
    sums = scratch.data_ptr()
    chamfer = CHAMFER.pack(
        sums, sums + 8 * blocks, tickets, found.data_ptr() + 8 * sample, loss.data_ptr() + 4 * sample,
        0, 0, 0, 0, 0, 1.0, 1.0, 1.0, 1.0, 0, 0,
    )  # fmt: skip
    launch("reduce", max(pair[0].blocks, pair[1].blocks, 1), 2, BLOCK, clouds, chamfer)


def pull_bits(points: int, cap: float) -> int:
    """Binary places of the integers: as many as `points` pulls of at most `cap` metres cannot overflow."""
    if points == 0 or cap == 0:
        return 0
    return min(INTEGER_BITS - math.ceil(math.log2(points)) - math.ceil(math.log2(cap)), 1000)
