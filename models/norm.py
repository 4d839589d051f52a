# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""GELU of a batch norm in training on a GPU, over one device or over all, keeping neither of them for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.remade import remade

Norm = nn.BatchNorm2d | nn.SyncBatchNorm


def norm_gelu(image: Tensor, norm: Norm) -> Tensor:
    """GELU of the batch norm in training, which keeps the image (B, C, H, W) alone and not its norm for backward.

    A third of the encoder's memory; the norm is made again from the image and its statistics. With `SyncBatchNorm`
    these are of all processes, as torch's are, but no host waits for them, as it does for torch's in every layer.
    """
    return _norm_gelu(image, norm)[0]


def norm_gelu_conv(image: Tensor, norm: Norm, conv: nn.Conv2d) -> Tensor:
    """The convolution of `norm_gelu`, which keeps the image alone too: the convolution's input is made again from it.

    Half of what is left of the encoder's memory, for one more reading and writing of the image.
    """
    result, mean, inverse_std = _norm_gelu(image, norm)
    kept = image.detach(), norm.weight.detach(), norm.bias.detach(), mean, inverse_std, norm.eps
    with remade(result, lambda: F.gelu(_normed(*kept))):
        convolved: Tensor = conv(result)
    return convolved


def _norm_gelu(image: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """GELU of the norm, and the mean (C,) and inverse deviation (C,) of the image."""
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    function = _SyncedNormGELU if isinstance(norm, nn.SyncBatchNorm) else _NormGELU
    group = (norm.process_group,) if isinstance(norm, nn.SyncBatchNorm) else ()
    result: tuple[Tensor, Tensor, Tensor] = function.apply(  # type: ignore[no-untyped-call]
        image, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum, norm.eps, *group
    )
    return result


def _normed(image: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse_std: Tensor, eps: float) -> Tensor:
    """The norm again, from its statistics, in the type of the image and in one pass over it."""
    return F.batch_norm(image, mean, inverse_std.pow(-2) - eps, weight, bias, eps=eps)


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
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed, mean, inverse_std = torch.native_batch_norm(
            image, weight, bias, running_mean, running_var, True, momentum, eps
        )
        ctx.save_for_backward(image, weight, bias, mean, inverse_std)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, inverse_std)
        return F.gelu(normed), mean, inverse_std

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        image, weight, bias, mean, inverse_std = ctx.saved_tensors
        normed = _normed(image, weight, bias, mean, inverse_std, ctx.eps)
        through = torch.ops.aten.gelu_backward(upstream, normed)
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        means, inverse_stds, counts = _of_all(image, eps, group)
        mean, inverse_std = torch.batch_norm_gather_stats_with_counts(
            image, means, inverse_stds, running_mean, running_var, momentum, eps, counts
        )
        ctx.save_for_backward(image, weight, bias, mean, inverse_std, counts)
        ctx.eps, ctx.group = eps, group
        ctx.mark_non_differentiable(mean, inverse_std)
        return F.gelu(torch.batch_norm_elemt(image, weight, bias, mean, inverse_std, eps)), mean, inverse_std

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        image, weight, bias, mean, inverse_std, counts = ctx.saved_tensors
        normed = _normed(image, weight, bias, mean, inverse_std, ctx.eps)
        through = torch.ops.aten.gelu_backward(upstream, normed)
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
