# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds that a search finds hard, and the real pair."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pair import stored_pair

Pair = tuple[Tensor, Tensor]


def offsets_of(*sizes: int) -> Tensor:
    return torch.tensor([0, *np.cumsum(sizes)], dtype=torch.int64)


def random(points: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(points, 3, generator=torch.Generator().manual_seed(seed)) * scale


def uniform() -> Pair:
    return random(2100, 1, 10.0), random(1900, 2, 10.0)


def lidar() -> Pair:
    """Dense near the origin, thin far away, flat."""
    radius = torch.tensor([[1.0, 1.0, 0.02]])
    a, b = random(3000, 3), random(2900, 4)
    return a * a.norm(dim=1, keepdim=True).pow(3) * radius * 5, b * b.norm(dim=1, keepdim=True).pow(3) * radius * 5


def collinear(axis: int) -> Pair:
    pair = torch.full((2000, 3), 2.5), torch.full((2100, 3), 2.5)
    for cloud, seed in zip(pair, (5, 6), strict=True):
        cloud[:, axis] = random(len(cloud), seed, 40.0)[:, 0]
    return pair


def coplanar() -> Pair:
    a, b = random(2000, 7, 20.0), random(2100, 8, 20.0)
    a[:, 1], b[:, 1] = -3.0, -3.0
    return a, b


def equal() -> Pair:
    return torch.full((2500, 3), 1.25), torch.full((2049, 3), 1.25)


def lattice(shift: float) -> Pair:
    steps = torch.arange(12.0)
    points = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1).reshape(-1, 3)
    shuffled = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(9))]
    return (shuffled + shift).contiguous(), shuffled.flip(0).contiguous()


def far_away() -> Pair:
    a, b = uniform()
    return a + 1e4, b + 1e4


def far_apart() -> Pair:
    a, b = uniform()
    return a - 5e3, b + 5e3


def wide() -> Pair:
    return random(2100, 10, 250.0), random(1900, 11, 250.0)


def crowded() -> Pair:
    """Nearly all in a few centimetres, a few points far out."""
    a, b = random(2500, 12, 0.02), random(2400, 13, 0.02)
    a[:5], b[:5] = a[:5] * 1e4, b[:5] * 1e4
    return a, b


def two_places() -> Pair:
    a, b = random(2200, 14, 5.0), random(2300, 15, 5.0)
    a[::2] += 1e4
    b[::2] += 1e4
    return a, b


def sphere() -> Pair:
    """Every target point equally far from every query, up to rounding."""
    return torch.zeros(300, 3), torch.nn.functional.normalize(random(2000, 16)) * 3


def not_finite() -> Pair:
    a, b = uniform()
    for cloud in (a, b):
        cloud[::7, 1] = torch.nan
        cloud[3] = torch.inf
        cloud[1200:1300, 0] = -torch.inf
    return a, b


def nothing_finite() -> Pair:
    return random(40, 17), torch.full((50, 3), torch.nan)


def overflowing() -> Pair:
    return random(900, 18, 1e20), random(1000, 19, 1e20)


def underflowing() -> Pair:
    return random(900, 20, 1e-22), random(1000, 21, 1e-22)


def sizes(n: int, m: int) -> Pair:
    return random(n, 22), random(m, 23)


CASES: dict[str, Callable[[], Pair]] = {
    "uniform": uniform,
    "lidar": lidar,
    "collinear x": lambda: collinear(0),
    "collinear z": lambda: collinear(2),
    "coplanar": coplanar,
    "all equal": equal,
    "lattice": lambda: lattice(0.0),
    "lattice between": lambda: lattice(0.5),
    "1e4 m away": far_away,
    "1e4 m apart": far_apart,
    "250 m wide": wide,
    "crowded": crowded,
    "two places": two_places,
    "sphere": sphere,
    "not finite": not_finite,
    "nothing finite": nothing_finite,
    "overflow": overflowing,
    "underflow": underflowing,
    **{f"{n} and {m} points": lambda n=n, m=m: sizes(n, m) for n in (0, 1, 2, 31, 32, 33) for m in (0, 1, 33)},
    "1024 points": lambda: sizes(1024, 1025),
}


def real_pair() -> Pair:
    """Two consecutive sweeps without ground, about 88,000 points each."""
    try:
        a, b = stored_pair()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return torch.from_numpy(a), torch.from_numpy(b)
