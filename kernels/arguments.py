# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what callers give, made before anything is computed or launched."""

import math
from numbers import Real

import torch
from torch import Tensor

MOST_POINTS = 2**30  # rows and padded slots are 32-bit integers on the GPU


def check_cloud(cloud: Tensor, name: str) -> None:
    """Raise unless `cloud` is a contiguous (N, 3) float tensor on the CPU or on a CUDA device."""
    if not isinstance(cloud, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of shape (N, 3), got {type(cloud).__name__}")
    if cloud.dim() != 2 or cloud.shape[1] != 3:
        raise ValueError(f"{name} must have shape (N, 3), got {tuple(cloud.shape)}")
    if cloud.layout is not torch.strided or cloud.is_neg():
        raise ValueError(f"{name} must be a plain dense tensor, got layout {cloud.layout}, negated {cloud.is_neg()}")
    if cloud.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} must be on the CPU or a CUDA device, got {cloud.device}")
    wanted = (torch.float32,) if cloud.is_cuda else (torch.float32, torch.float64)
    if cloud.dtype not in wanted:
        names = " or ".join(str(dtype) for dtype in wanted)
        raise TypeError(f"{name} on {cloud.device} must be {names}, got {cloud.dtype}")
    if not cloud.is_contiguous():
        raise ValueError(f"{name} must be contiguous, got strides {cloud.stride()} for shape {tuple(cloud.shape)}")
    if cloud.shape[0] > MOST_POINTS:
        raise ValueError(f"{name} may have at most {MOST_POINTS} points, got {cloud.shape[0]}")


def check_offsets(offsets: Tensor, points: int, name: str) -> list[int]:
    """Return the (B+1,) CPU offsets as integers; raise unless they rise from 0 to `points`."""
    if not isinstance(offsets, Tensor):
        raise TypeError(f"{name} must be an int64 torch.Tensor of shape (B+1,), got {type(offsets).__name__}")
    if offsets.dtype != torch.int64:
        raise TypeError(f"{name} must be torch.int64, got {offsets.dtype}")
    if offsets.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, where it can be checked without waiting, got {offsets.device}")
    if offsets.dim() != 1 or offsets.shape[0] < 1:
        raise ValueError(f"{name} must have shape (B+1,), got {tuple(offsets.shape)}")
    values: list[int] = offsets.tolist()
    if values[0] != 0 or values[-1] != points:
        raise ValueError(f"{name} must run from 0 to the {points} points given, got {values[0]} to {values[-1]}")
    for sample, (start, end) in enumerate(zip(values, values[1:], strict=False)):
        if end < start:
            raise ValueError(f"{name} must never fall, got {start} then {end} at sample {sample}")
    return values


def check_pair(a: Tensor, b: Tensor, a_offsets: list[int], b_offsets: list[int], names: tuple[str, str]) -> None:
    """Raise unless two checked clouds agree in device, dtype and number of samples."""
    if a.device != b.device:
        raise ValueError(f"{names[0]} and {names[1]} must be on one device, got {a.device} and {b.device}")
    if a.dtype != b.dtype:
        raise TypeError(f"{names[0]} and {names[1]} must have one dtype, got {a.dtype} and {b.dtype}")
    if len(a_offsets) != len(b_offsets):
        raise ValueError(
            f"{names[0]} and {names[1]} must hold the same number of samples, "
            f"got {len(a_offsets) - 1} and {len(b_offsets) - 1}"
        )


def check_cap(cap: float | None) -> float | None:
    """Return the cap in metres as a float; raise unless it is None or a number >= 0 (infinity allowed)."""
    if cap is None:
        return None
    if isinstance(cap, bool) or not isinstance(cap, Real):  # NumPy's numbers too
        raise TypeError(f"cap must be a distance in metres or None, got {type(cap).__name__}")
    try:
        metres = float(cap)
    except OverflowError as error:
        raise ValueError("cap must be a distance in metres, got an integer beyond all floats") from error
    if math.isnan(metres) or metres < 0:
        raise ValueError(f"cap must be a distance in metres >= 0, got {cap}")
    return metres


def check_all(
    clouds: tuple[Tensor, Tensor], offsets: tuple[Tensor, Tensor], cap: float | None, names: tuple[str, str]
) -> tuple[tuple[Tensor, Tensor], tuple[list[int], list[int]], float | None]:
    """Check two clouds, their offsets and the cap; return them without gradients, as integers, as a float."""
    for cloud, name in zip(clouds, names, strict=True):
        check_cloud(cloud, name)
    first, second = (
        check_offsets(given, cloud.shape[0], f"{name}_offsets")
        for given, cloud, name in zip(offsets, clouds, names, strict=True)
    )
    check_pair(*clouds, first, second, names)
    return (clouds[0].detach(), clouds[1].detach()), (first, second), check_cap(cap)
