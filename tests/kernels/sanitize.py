# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small cases for the compute sanitizer: `compute-sanitizer --tool memcheck python -m tests.kernels.sanitize`.

Set PYTORCH_NO_CUDA_MEMORY_CACHING=1, so that an access just past an array is one past an allocation.
"""

import torch

from kernels import Search, nearest_both, truncated_chamfer
from tests.kernels.clouds import CASES, offsets_of

SMALL = ("lidar", "all equal", "collinear z", "not finite", "1 and 1 points", "33 and 0 points", "1024 points")


def main() -> None:
    for name in SMALL:
        a, b = (cloud[:1300].cuda() for cloud in CASES[name]())
        offsets = offsets_of(len(a) // 2, len(a) - len(a) // 2), offsets_of(len(b), 0)
        nearest_both(a, b, *offsets, 2.0)
        search = Search(b, offsets[1])
        truncated_chamfer(a.requires_grad_(), b.requires_grad_(), *offsets, 2.0, search).sum().backward()
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
