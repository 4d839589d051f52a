# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Batch norms that may share their statistics among processes, and that keep little for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.remade import remade
from models.statistics import Statistics, gradients, of_all_processes


class BatchNorm1d(nn.BatchNorm1d):
    """Torch's, with the statistics of all processes of a training where `shared`."""

    shared = False

    def forward(self, values: Tensor) -> Tensor:
        """The norm of values (N, C)."""
        return _apply(values, self, gelu=False)[0] if self.training and self.shared else super().forward(values)


class BatchNorm2d(nn.BatchNorm2d):
    """The same for images (B, C, H, W)."""

    shared = False

    def forward(self, values: Tensor) -> Tensor:
        """The norm of images (B, C, H, W)."""
        return _apply(values, self, gelu=False)[0] if self.training and self.shared else super().forward(values)


Norm = BatchNorm1d | BatchNorm2d


def share_statistics(network: nn.Module, shared: bool = True) -> None:
    """Let every norm of a network in training take the statistics of all processes of the default group, or stop it.

    The network is then one function of the points of a step, however many processes they are divided among; with fewer
    than two points in all, running statistics stay. All processes must take part in every step, also one without
    points. Torch's `SyncBatchNorm` does the same on GPUs alone, and lets the host wait for the device in every layer.
    """
    for module in network.modules():
        if isinstance(module, Norm):
            module.shared = shared


def norm_gelu(image: Tensor, norm: Norm) -> Tensor:
    """GELU of a batch norm that is in training, which keeps the image (B, C, H, W) alone and not its norm for backward.

    A third of the encoder's memory; the norm is made again from the image and its statistics.
    """
    return _apply(image, norm, gelu=True)[0]


def norm_gelu_conv(image: Tensor, norm: Norm, conv: nn.Conv2d) -> Tensor:
    """The convolution of `norm_gelu`, which keeps the image alone too: the convolution's input is made again from it.

    Half of what is left of the encoder's memory, for one more reading and writing of the image.
    """
    result, mean, inverse_std = _apply(image, norm, gelu=True)
    kept = image.detach(), norm.weight.detach(), norm.bias.detach(), mean, inverse_std, norm.eps
    with remade(result, lambda: F.gelu(_normed(*kept))):
        convolved: Tensor = conv(result)
    return convolved


def _apply(values: Tensor, norm: Norm, gelu: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The norm or its GELU, and the mean (C,) and inverse deviation (C,) of the values."""
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    running = norm.running_mean, norm.running_var, norm.momentum
    result: tuple[Tensor, Tensor, Tensor] = _Norm.apply(  # type: ignore[no-untyped-call]
        values, norm.weight, norm.bias, *running, norm.eps, norm.shared, gelu
    )
    return result


def _normed(values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse_std: Tensor, eps: float) -> Tensor:
    """The norm from its statistics, in the type of the values and in one pass over them."""
    return F.batch_norm(values, mean, inverse_std.pow(-2) - eps, weight, bias, eps=eps)


class _Norm(torch.autograd.Function):
    """Batch norm in training, with GELU behind it if wanted; only the values are kept."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        shared: bool,
        gelu: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if shared:
            mean, inverse_std, count = found = of_all_processes(values, eps)
            normed = _normed(values, weight, bias, mean, inverse_std, eps)
            unbiased = found.variance(eps) * (count / (count - 1).clamp(min=1))
            share = momentum * (count > 1).to(mean.dtype)
            running_mean.lerp_(mean, share)
            running_var.lerp_(unbiased, share)
        else:
            count = None
            normed, mean, inverse_std = torch.native_batch_norm(
                values, weight, bias, running_mean, running_var, True, momentum, eps
            )
        ctx.save_for_backward(values, weight, bias, mean, inverse_std, count)
        ctx.eps, ctx.gelu = eps, gelu
        ctx.mark_non_differentiable(mean, inverse_std)
        ctx.set_materialize_grads(False)  # two zeros a norm, of what has no gradient
        return F.gelu(normed) if gelu else normed, mean, inverse_std

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        values, weight, bias, mean, inverse_std, count = ctx.saved_tensors
        if upstream is None:
            upstream = torch.zeros_like(values)
        if ctx.gelu:
            upstream = torch.ops.aten.gelu_backward(upstream, _normed(values, weight, bias, mean, inverse_std, ctx.eps))
        if count is None:
            found = torch.ops.aten.native_batch_norm_backward(
                upstream, values, weight, None, None, mean, inverse_std, True, ctx.eps, [True, True, True]
            )
        else:
            found = gradients(upstream, values, weight, Statistics(mean, inverse_std, count))
        return *found, None, None, None, None, None, None
