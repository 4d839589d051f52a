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

    Worth it where making the tensor costs little, from others that are kept anyway. What is kept of another view of
    the same memory stays as it is.

    Args:
        tensor: what operations within get as an input.
        again: makes a tensor of the same values; whatever it needs lives as long as the graph.
    """

    def pack(kept: Tensor) -> Tensor | Callable[[], Tensor]:
        same = kept.data_ptr() == tensor.data_ptr() and kept.shape == tensor.shape and kept.dtype == tensor.dtype
        return again if same else kept

    def unpack(kept: Tensor | Callable[[], Tensor]) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            return kept()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield
