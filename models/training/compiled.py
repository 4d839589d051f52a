# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling what has a fixed shape, where the machine can; everything works without."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

from models.network import PillarFlow
from models.norm import BatchNorm2d

# Share of what the backward pass may keep, for the compiler. Below 1 it makes norms, GELUs and joined images again, in
# what reads them. By the graphs of torch 2.13 the U-Net keeps 6.6 instead of 9.6 GiB of a batch of 16, and below 0.7
# convolutions are repeated too.
KEPT = 0.9


def can_compile() -> bool:
    """Whether torch's compiler has what it needs for a GPU: Triton, and a host compiler for its launchers."""
    host = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("clang")
    return find_spec("triton") is not None and host is not None


def compile_network(network: PillarFlow, backend: str = "inductor") -> bool:
    """Compile U-Net and head in place; names of the state stay. What the compiler cannot do runs as it is.

    Where norms share their statistics among processes the encoder is left out: the compiler cannot look into an
    exchange and would keep the images on both sides of each.

    Args:
        network: The network, whose U-Net always sees images of one size and whose head any number of points.
        backend: What turns the traced graph into code.

    Returns:
        Whether it was done.
    """
    if backend == "inductor" and not can_compile():
        return False
    import torch._dynamo
    import torch._functorch.config

    torch._dynamo.config.suppress_errors = True  # a failure of the compiler is no failure of the training
    torch._functorch.config.activation_memory_budget = KEPT
    unet = network.backbone
    shared = any(isinstance(module, BatchNorm2d) and module.shared for module in unet.modules())
    for part in unet.decoder() if shared else [unet]:
        part.compile(backend=backend, dynamic=False)
    network.head.compile(backend=backend, dynamic=True)
    return True
