# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Plain-torch twins of the operations: every pair is measured. For tests and for comparison, not for use."""

import torch
from torch import Tensor

PAIRS = 2**26  # how many distances are held at once


def nearest_reference(
    query: Tensor, target: Tensor, query_offsets: Tensor, target_offsets: Tensor, cap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return index (N,) int64 and squared distance (N,) as `kernels.nearest`, by brute force."""
    index = torch.full((query.shape[0],), -1, dtype=torch.int64, device=query.device)
    distance = torch.full((query.shape[0],), torch.inf, dtype=query.dtype, device=query.device)
    limit = torch.tensor(torch.inf if cap is None else cap * cap, dtype=query.dtype, device=query.device)
    q, t = query_offsets.tolist(), target_offsets.tolist()
    for sample in range(len(q) - 1):
        part = target[t[sample] : t[sample + 1]]
        if len(part) == 0:
            continue
        step = max(1, PAIRS // len(part))
        for start in range(q[sample], q[sample + 1], step):
            rows = slice(start, min(start + step, q[sample + 1]))
            index[rows], distance[rows] = _nearest_of_all(query[rows], part, limit, t[sample])
    return index, distance


def _nearest_of_all(query: Tensor, target: Tensor, limit: Tensor, first_row: int) -> tuple[Tensor, Tensor]:
    dx, dy, dz = (query[:, None, axis] - target[None, :, axis] for axis in range(3))
    distance = (dx * dx + dy * dy) + dz * dz  # (n, M)
    distance = torch.where(distance.isfinite() & (distance <= limit), distance, torch.inf)
    best = distance.amin(dim=1)
    rows = torch.arange(len(target), device=query.device)
    lowest = torch.where(distance == best[:, None], rows, len(target)).amin(dim=1)
    return torch.where(best.isfinite(), lowest + first_row, -1), best


def chamfer_reference(a: Tensor, b: Tensor, a_offsets: Tensor, b_offsets: Tensor, cap: float) -> Tensor:
    """Return the truncated chamfer (B,) as `kernels.chamfer.truncated_chamfer`, sample by sample, differentiable."""
    to_b, _ = nearest_reference(a.detach(), b.detach(), a_offsets, b_offsets, cap)
    to_a, _ = nearest_reference(b.detach(), a.detach(), b_offsets, a_offsets, cap)
    return _means(a, b, to_b, a_offsets) + _means(b, a, to_a, b_offsets)


def _means(query: Tensor, target: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    means = []
    for start, end in zip(offsets.tolist(), offsets.tolist()[1:], strict=False):
        found = index[start:end] >= 0
        if not bool(found.any()):
            means.append(query.new_zeros(()))
            continue
        gap = query[start:end][found] - target[index[start:end][found]]
        means.append(gap.square().sum(dim=1).mean())
    return torch.stack(means) if means else query.new_zeros(0)
