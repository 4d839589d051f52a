# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The U-Net of prediction on a GPU as one launch: its images always have one shape, so a CUDA graph can replay it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network import PillarFlow

WARM = 3  # runs before the recording, in which libraries choose their algorithms and take their workspace


class ReplayedUNet(nn.Module):
    """A U-Net in evaluation mode that is recorded at its first image and replayed at those of the same kind.

    The host needs a millisecond and more to launch its kernels one by one, about as long as a GPU takes for them.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        # Autocast keeps its copies of weights that want gradients until its block ends; a recording would outlive them.
        self.unet = unet.requires_grad_(False)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._image = self._decoded = torch.empty(0)

    def forward(self, image: Tensor) -> Tensor:
        """Decoded image, as the U-Net's own; it is written over by the next call."""
        if self._graph is None or _kind(image) != _kind(self._image):
            self._graph, self._image, self._decoded = self._recorded(image)
        self._image.copy_(image)
        self._graph.replay()
        return self._decoded

    def _recorded(self, image: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The recording, and the memory that it reads and writes, which later calls may use in any mode."""
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(image.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            own = torch.empty_like(image).copy_(image)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM):
                    self.unet(own)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph, stream=side):
                decoded = self.unet(own)
        return graph, own, decoded


def _kind(image: Tensor) -> tuple[object, ...]:
    return image.shape, image.stride(), image.dtype, image.device


def replay_unet(network: PillarFlow) -> PillarFlow:
    """Let a network that only predicts from now on replay its U-Net; names of the state change.

    Args:
        network: In evaluation mode, on a CUDA device, its weights final.

    Raises:
        ValueError: It is in training, or on another device.
    """
    device = next(network.parameters()).device
    if network.training or device.type != "cuda":
        mode = "training" if network.training else "evaluation"
        raise ValueError(f"a U-Net is replayed in evaluation mode on a CUDA device, got {mode} on {device}")
    network.backbone = ReplayedUNet(network.backbone)  # type: ignore[assignment]
    return network
