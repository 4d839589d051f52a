# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The bird's-eye U-Net of FastFlow3D (Jund et al. 2021), in the layout of the published weights."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.norm import BatchNorm2d, norm_gelu, norm_gelu_conv
from models.remade import remade


class ConvNormGELU(nn.Module):
    """3x3 convolution, batch norm, GELU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
        self.batchnorm = BatchNorm2d(channels_out)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, in, H, W) to (B, out, H / stride, W / stride)."""
        image = self.conv(image)
        if image.shape[-2:] == (1, 1):
            return F.gelu(image)
        return F.gelu(self.batchnorm(image))


class Double(nn.Module):
    """Bilinear upsampling to twice the size."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        if image.is_cuda:
            return double(image)
        return F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)


def double(image: Tensor) -> Tensor:
    """The same by shifted sums along each axis, channels last in memory.

    Torch's own backward on a GPU adds each value to four others by atomics, in the image's type: slow in bfloat16, and
    inexact.
    """
    image = image.permute(0, 2, 3, 1)
    for axis in (1, 2):
        size = image.shape[axis]
        before = torch.cat([image.narrow(axis, 0, 1), image.narrow(axis, 0, size - 1)], dim=axis)
        after = torch.cat([image.narrow(axis, 1, size - 1), image.narrow(axis, size - 1, 1)], dim=axis)
        pairs = torch.stack([torch.lerp(image, before, 0.25), torch.lerp(image, after, 0.25)], dim=axis + 1)
        image = pairs.flatten(axis, axis + 1)
    return image.permute(0, 3, 1, 2)


class UpsampleSkip(nn.Module):
    """Join a coarse image with the skip image of twice its size; no norm, no activation."""

    def __init__(self, coarse: int, skip: int, out: int) -> None:
        super().__init__()
        self.u1_u2 = nn.Sequential(nn.Conv2d(coarse, skip, 1), Double())
        self.u3 = nn.Conv2d(skip, skip, 1)
        self.u4_u5 = nn.Sequential(nn.Conv2d(2 * skip, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(B, coarse, H, W) and (B, skip, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.u4_u5(torch.cat([self.u1_u2(coarse), self.u3(skip)], dim=1))


class EncoderStep(nn.ModuleList):
    """One level of the encoder: half the size, then `blocks` - 1 blocks at that size."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        first = ConvNormGELU(channels_in, channels_out, stride=2)
        super().__init__([first, *(ConvNormGELU(channels_out, channels_out) for _ in range(blocks - 1))])

    def forward(self, image: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H / 2, W / 2)."""
        blocks = cast(list[ConvNormGELU], list(self))
        if self.training and keeps_little(image):
            image = blocks[0].conv(image)
            for block, after in pairwise(blocks):
                image = norm_gelu_conv(image, block.batchnorm, after.conv)
            return norm_gelu(image, blocks[-1].batchnorm)
        for block in blocks:
            image = block(image)
        return image


def keeps_little(image: Tensor) -> bool:
    """Whether to make again for a backward pass what costs little to make: on a GPU.

    Not where a compiler does that by itself, nor for an image that ends as one pixel, which gets no norm.
    """
    differentiated = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return image.is_cuda and differentiated and max(image.shape[-2:]) > 2


class FastFlow3DUNet(nn.Module):
    """Shared encoder of all sweeps, decoder of their concatenated levels.

    All sweeps pass the encoder as one batch: in training its batch-norm statistics are those of all sweeps
    together, updated once a step. Evaluation is exactly the published function.
    """

    def __init__(self, channels: int, sweeps: int = 2) -> None:
        super().__init__()
        self.sweeps = sweeps
        c = channels
        self.encoder_step_1 = EncoderStep(c, 2 * c, 4)
        self.encoder_step_2 = EncoderStep(2 * c, 4 * c, 6)
        self.encoder_step_3 = EncoderStep(4 * c, 8 * c, 6)
        coarse = sweeps * c  # 2c for two sweeps: the channels of the decoded image
        self.decoder_step1 = UpsampleSkip(8 * coarse, 4 * coarse, 4 * coarse)
        self.decoder_step2 = UpsampleSkip(4 * coarse, 2 * coarse, 2 * coarse)
        self.decoder_step3 = UpsampleSkip(2 * coarse, coarse, coarse)
        self.decoder_step4 = nn.Conv2d(coarse, coarse, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Decode the images of all sweeps.

        Args:
            image: (sweeps * B, C, H, W), the B images of the first sweep, then those of the next.

        Returns:
            (B, sweeps * C, H, W).
        """
        fine = self.encoder_step_1(image)
        middle = self.encoder_step_2(fine)
        coarse = self.encoder_step_3(middle)
        decoded = self._joined(self.decoder_step1, self._beside(coarse), middle)
        decoded = self._joined(self.decoder_step2, decoded, fine)
        decoded = self._joined(self.decoder_step3, decoded, image)
        return self.decoder_step4(decoded)

    def decoder(self) -> list[UpsampleSkip]:
        """What joins the levels, without norms; only a convolution follows."""
        return [self.decoder_step1, self.decoder_step2, self.decoder_step3]

    def _joined(self, step: UpsampleSkip, coarse: Tensor, level: Tensor) -> Tensor:
        """A decoder step from the coarser image and a level of the encoder."""
        skip = self._beside(level)
        with remade(skip, lambda: self._beside(level.detach())) if keeps_little(level) else nullcontext():
            joined: Tensor = step(coarse, skip)
        return joined

    def _beside(self, image: Tensor) -> Tensor:
        """The images of all sweeps as channels of one."""
        return torch.cat(image.chunk(self.sweeps), dim=1)
