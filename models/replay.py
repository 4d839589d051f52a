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
        self.unet = unet
        self._graph: torch.cuda.CUDAGraph | None = None
        self._image = self._decoded = torch.empty(0)

    def forward(self, image: Tensor) -> Tensor:
        """Decoded image, as the U-Net's own; it is written over by the next call."""
        if self._graph is None or _kind(image) != _kind(self._image):
            self._graph = self._record(image)
        self._image.copy_(image)
        self._graph.replay()
        return self._decoded

    def _record(self, image: Tensor) -> torch.cuda.CUDAGraph:
        self._image = image.clone()
        side = torch.cuda.Stream(image.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(image.device))
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self.unet(self._image)
        torch.cuda.current_stream(image.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._decoded = self.unet(self._image)
        return graph


def _kind(image: Tensor) -> tuple[object, ...]:
    return image.shape, image.stride(), image.dtype, image.device


def replay_unet(network: PillarFlow) -> PillarFlow:
    """Let a network that only predicts from now on replay its U-Net; names of the state change.

    Args:
        network: In evaluation mode, on a CUDA device, its weights final.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can replay its U-Net, got one in training")
    network.backbone = ReplayedUNet(network.backbone)  # type: ignore[assignment]
    return network
