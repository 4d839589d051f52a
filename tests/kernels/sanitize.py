# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small cases for the compute sanitizer: `compute-sanitizer --tool memcheck python -m tests.kernels.sanitize`.

Set PYTORCH_NO_CUDA_MEMORY_CACHING=1, so that an access past a tensor is one past an allocation. The arrays of a call
share one allocation: what runs from one of them into the next is not seen.
"""

import torch
from torch import Tensor

from kernels import Search, nearest_both, truncated_chamfer
from tests.kernels.clouds import CASES, offsets_of, random

SMALL = ("lidar", "all equal", "collinear z", "not finite", "1 and 1 points", "33 and 0 points", "1024 points")


def everything(a: Tensor, b: Tensor, a_offsets: Tensor, b_offsets: Tensor) -> None:
    """Each kernel, each way to it."""
    nearest_both(a, b, a_offsets, b_offsets, 2.0)
    search = Search(b, b_offsets)
    search.nearest(a, a_offsets)
    search.nearest(a, a_offsets, 0.5)
    a.requires_grad_(), b.requires_grad_()
    for prepared in (None, search):
        truncated_chamfer(a, b, a_offsets, b_offsets, 2.0, prepared).sum().backward()


def main(device: str = "cuda") -> None:
    for name in SMALL:
        a, b = (cloud[:1300].to(device) for cloud in CASES[name]())
        everything(a, b, offsets_of(len(a) // 2, len(a) - len(a) // 2), offsets_of(len(b), 0))
    sizes = [3, 0, 40, 1] * 17  # more samples than one launch holds
    a, b = random(sum(sizes), 1).to(device), random(sum(sizes), 2).to(device)
    everything(a, b, offsets_of(*sizes), offsets_of(*sizes[::-1]))
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
