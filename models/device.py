# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which device to compute on."""

from __future__ import annotations

import torch

from models.errors import InputError


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda` for a wish of `auto`, `cpu` or `cuda`; InputError where there is no GPU and one is asked for."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda is asked for, but this machine shows no GPU to torch; set it to auto or cpu")
    return wanted


def prepare(device: str) -> None:
    """Choose how a GPU multiplies: float32 through TF32, convolutions by the fastest algorithm for their shape."""
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True


def device_name(device: str, devices: int = 1) -> str:
    """Kind of device, for provenance: the GPU's name, or the CPU's vector instructions; how many, if several."""
    if devices > 1:
        return f"{devices} x {device_name(device)}"
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"
