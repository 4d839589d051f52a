# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs and weights by formula, for comparison with numbers made by the published code."""

import math

import numpy as np
import torch

from models.clouds import Clouds, concatenate
from models.geometry import inverse_SE3, make_SE3, transform_points
from models.grid import Grid
from models.network import crop

PUBLISHED = Grid((-51.2, -51.2, -3.0), (51.2, 51.2, 3.0), 0.2)


def fill_weights(network: torch.nn.Module) -> torch.nn.Module:
    """Set every tensor of the state by its position and the fan of its shape."""
    state = network.state_dict()
    for i, key in enumerate(sorted(state)):
        if key.endswith("num_batches_tracked"):
            continue
        shape = state[key].shape
        j = np.arange(state[key].numel(), dtype=np.int64)
        u = ((7919 * j + 104729 * i) % 1009) / 1008 - 0.5
        norm = "batchnorm" in key or ".pfn_layers.0.1." in key
        if key.endswith("running_mean") or key.endswith(".bias"):
            value = 0.1 * u
        elif key.endswith("running_var"):
            value = 1 + 0.5 * u
        elif norm:
            value = 1 + 0.2 * u
        else:
            value = 2 * u * math.sqrt(3 / math.prod(shape[1:]))
        state[key] = torch.from_numpy(value.astype(np.float32)).reshape(shape)
    network.load_state_dict(state)
    return network.eval()


def cloud(n: int, s: int) -> np.ndarray:
    k = np.arange(n)
    b, q = k // 4, k % 4
    x = ((37 * b + s) % 1000) / 1000 * 110 - 55 + 0.03 * q
    y = ((91 * b + 13 + s) % 997) / 997 * 110 - 55 + 0.02 * q
    z = ((17 * k + s) % 89) / 89 * 7 - 3.5
    return np.stack([x, y, z], axis=1).astype(np.float32)


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return make_SE3([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, 0])


def sweeps() -> tuple[torch.Tensor, torch.Tensor]:
    ego1_SE3_ego0 = inverse_SE3(pose(1.0, 0.1, 0.01)) @ pose(0, 0, 0)
    warped = transform_points(ego1_SE3_ego0, cloud(2000, 0)).astype(np.float32)
    return torch.from_numpy(warped), torch.from_numpy(cloud(1900, 3))


def sweep_before() -> torch.Tensor:
    """The sweep before, in the frame of the second."""
    ego1_SE3_before = inverse_SE3(pose(1.0, 0.1, 0.01)) @ pose(-0.9, -0.1, -0.01)
    return torch.from_numpy(transform_points(ego1_SE3_before, cloud(1800, 5)).astype(np.float32))


def cropped(*points: torch.Tensor, grid: Grid = PUBLISHED) -> tuple[Clouds, torch.Tensor]:
    return crop(concatenate(list(points)), grid)


def h(n: int, s: int) -> np.ndarray:
    k = np.arange(n)
    return ((7919 * k + 104729 * s + 31 * k * s) % 9973) / 9972
