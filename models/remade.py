# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors that are made again for the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def remade(tensor: Tensor, again: Callable[[], Tensor]) -> Iterator[None]:
    """Within it, what would keep `tensor` for backward keeps `again` and calls that when the backward needs it.

    Worth it where making the tensor costs little, from others that are kept anyway. Another view of its memory, and
    every other tensor, is kept as ever.

    Args:
        tensor: what operations within get as an input. The caller holds it until the end of the block.
        again: makes a tensor of the same values. What it needs lives as long as the graph and must not change before
            the backward; nobody checks that here.
    """
    looks = _looks(tensor)  # the hooks live as long as the graph, so they must not hold the tensor

    def pack(kept: Tensor) -> Tensor | Callable[[], Tensor]:
        # A tensor that an operation keeps of its own result must not be held by its hook: the two would never go.
        return again if _looks(kept) == looks else kept.detach()

    def unpack(kept: Tensor | Callable[[], Tensor]) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            return kept()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _looks(tensor: Tensor) -> tuple[object, ...]:
    """What tells a tensor from all others while both live."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
