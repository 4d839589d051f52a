# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a batch norm over the values of all processes of a training, without a wait of the host."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """Of each of C channels, over all other axes and all processes.

    Attributes:
        mean: (C,).
        inverse_std: (C,), of the biased variance.
        count: () float, how many values a channel has.
    """

    mean: Tensor
    inverse_std: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count

    def variance(self, eps: float) -> Tensor:
        """The biased variance (C,)."""
        return self.inverse_std.pow(-2) - eps


def of_all_processes(values: Tensor, eps: float) -> Statistics:
    """Statistics of values (N, C, ...) of every process; a process may have none.

    Sums of values and of squares are exchanged in float64: their difference is good to a relative 1e-16 of the square.
    """
    mean, variance = (one.double() for one in _of_own(values, eps))
    moments = torch.cat([mean, torch.addcmul(variance, mean, mean), mean.new_ones(1)])
    sums = moments * (values.numel() / len(mean))
    torch.distributed.all_reduce(sums)
    count = sums[-1]
    mean, square = (sums[:-1] / count.clamp(min=1)).chunk(2)
    variance = torch.addcmul(square, mean, mean, value=-1.0).clamp(min=0)
    found = mean, (variance + eps).rsqrt(), count
    return Statistics(*(one.to(_wide_type(values)) for one in found))


def _of_own(values: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of this process alone, in float32 at least; 0 of no values."""
    if not values.numel():
        nothing = values.new_zeros(values.shape[1], dtype=_wide_type(values))
        return nothing, nothing
    if _has_kernels(values):
        mean, inverse_std = torch.batch_norm_stats(values, eps)
        return mean, inverse_std.pow(-2) - eps
    variance, mean = torch.var_mean(values.to(_wide_type(values)), _others(values), correction=0)
    return mean, variance


def gradients(
    upstream: Tensor, values: Tensor, weight: Tensor, statistics: Statistics
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a norm by these statistics to the values of this process, to the weight and to the bias.

    Those to weight and bias are this process's own share, which is summed with the other gradients of a training.
    """
    sums, of_weight, of_bias = _sums(upstream, values, weight, statistics)
    torch.distributed.all_reduce(sums)
    return _to_values(upstream, values, weight, statistics, sums), of_weight, of_bias


def _sums(upstream: Tensor, values: Tensor, weight: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor, Tensor]:
    """Sums (2, C) of the gradient and of it times the gap to the mean, over this process; of weight and bias."""
    mean, inverse_std, _ = statistics
    if _has_kernels(values):
        total, times_gap, of_weight, of_bias = torch.batch_norm_backward_reduce(
            upstream, values, mean, inverse_std, weight, True, True, True
        )
        return torch.stack([total, times_gap]), of_weight, of_bias
    upstream = upstream.to(_wide_type(values))
    total = upstream.sum(_others(values))
    times_gap = (upstream * (values - _along(mean, values))).sum(_others(values))
    return torch.stack([total, times_gap]), times_gap * inverse_std, total


def _to_values(upstream: Tensor, values: Tensor, weight: Tensor, statistics: Statistics, sums: Tensor) -> Tensor:
    """Gradient to the values by the sums over all processes."""
    mean, inverse_std, count = statistics
    if _has_kernels(values):
        counts = count.to(torch.int32).view(1)
        return torch.batch_norm_backward_elemt(upstream, values, mean, inverse_std, weight, sums[0], sums[1], counts)
    total, times_gap = sums / count.clamp(min=1)
    gap = values - _along(mean, values)
    centred = upstream - _along(total, values) - gap * _along(times_gap * inverse_std.square(), values)
    return (centred * _along(weight * inverse_std, values)).to(values.dtype)


def _has_kernels(values: Tensor) -> bool:
    """Whether torch has kernels for the parts of a norm: on a GPU, for one value at least."""
    return values.is_cuda and values.numel() > 0


def _wide_type(values: Tensor) -> torch.dtype:
    """Of statistics: float32 at least."""
    return torch.promote_types(values.dtype, torch.float32)


def _others(values: Tensor) -> list[int]:
    """All axes but the channels'."""
    return [0, *range(2, values.dim())]


def _along(channels: Tensor, values: Tensor) -> Tensor:
    """Numbers of channels (C,) in a shape that meets the values."""
    return channels.view(1, -1, *[1] * (values.dim() - 2))
