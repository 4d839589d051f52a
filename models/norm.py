# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""GELU of a batch norm in training on a GPU, over one device or over all, without keeping the norm for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PER_CHANNEL = (1, -1, 1, 1)


def norm_gelu(image: Tensor, norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> Tensor:
    """GELU of the batch norm in training, which keeps the image (B, C, H, W) alone and not its norm for backward.

    A third of the encoder's memory; the norm is made again from the image and its statistics. With `SyncBatchNorm`
    these are of all processes, as torch's are, but no host waits for them, as it does for torch's in every layer.
    """
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    function = _SyncedNormGELU if isinstance(norm, nn.SyncBatchNorm) else _NormGELU
    group = (norm.process_group,) if isinstance(norm, nn.SyncBatchNorm) else ()
    result: Tensor = function.apply(  # type: ignore[no-untyped-call]
        image, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps, *group
    )
    return result


def _through_gelu(
    upstream: Tensor, image: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse_std: Tensor
) -> Tensor:
    """Gradient to the norm, which is made again."""
    scale = weight * inverse_std
    shift = bias - mean * scale
    normed = torch.addcmul(shift.view(PER_CHANNEL), image, scale.view(PER_CHANNEL)).to(image.dtype)
    found: Tensor = torch.ops.aten.gelu_backward(upstream, normed)
    return found


class _NormGELU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        normed, mean, inverse_std = torch.native_batch_norm(
            image, weight, bias, running_mean, running_var, True, momentum, eps
        )
        ctx.save_for_backward(image, weight, bias, mean, inverse_std)
        ctx.eps = eps
        return F.gelu(normed)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, bias, mean, inverse_std = ctx.saved_tensors
        through = _through_gelu(upstream, image, weight, bias, mean, inverse_std)
        of_image, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            through, image, weight, None, None, mean, inverse_std, True, ctx.eps, [True, True, True]
        )
        return of_image, of_weight, of_bias, None, None, None, None


class _SyncedNormGELU(torch.autograd.Function):
    """The same with the statistics of all processes, on a GPU alone."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        group: Any,
    ) -> Tensor:
        means, inverse_stds, counts = _of_all(image, eps, group)
        mean, inverse_std = torch.batch_norm_gather_stats_with_counts(
            image, means, inverse_stds, running_mean, running_var, momentum, eps, counts
        )
        ctx.save_for_backward(image, weight, bias, mean, inverse_std, counts)
        ctx.group = group
        return F.gelu(torch.batch_norm_elemt(image, weight, bias, mean, inverse_std, eps))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, bias, mean, inverse_std, counts = ctx.saved_tensors
        through = _through_gelu(upstream, image, weight, bias, mean, inverse_std)
        sum_through, sum_times_gap, of_weight, of_bias = torch.batch_norm_backward_reduce(
            through, image, mean, inverse_std, weight, True, True, True
        )
        sums = torch.stack([sum_through, sum_times_gap])
        torch.distributed.all_reduce(sums, group=ctx.group)
        of_image = torch.batch_norm_backward_elemt(
            through, image, mean, inverse_std, weight, sums[0], sums[1], counts.to(torch.int32)
        )
        # Weight and bias: each process gives its own share, which is summed with the other gradients.
        return of_image, of_weight, of_bias, None, None, None, None, None


def _of_all(image: Tensor, eps: float, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Means (P, C), inverse deviations (P, C) and numbers of values (P,) of the image of each of P processes."""
    mean, inverse_std = torch.batch_norm_stats(image, eps)
    channels, processes = len(mean), torch.distributed.get_world_size(group)
    table = mean.new_zeros(processes, 2 * channels + 1)
    own = table[torch.distributed.get_rank(group)]
    own[:channels], own[channels:-1] = mean, inverse_std
    own[-1] = image.numel() // channels
    torch.distributed.all_reduce(table, group=group)  # zeros elsewhere: every process has all rows
    return table[:, :channels].contiguous(), table[:, channels:-1].contiguous(), table[:, -1].contiguous()
