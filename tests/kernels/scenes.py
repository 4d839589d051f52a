# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The clouds that are timed: real sweeps, batches of them, and the worst that we could think of."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.kernels.clouds import offsets_of


class Scene(NamedTuple):
    """Two ragged clouds on a device and the cap they are searched with."""

    a: Tensor
    b: Tensor
    a_offsets: Tensor
    b_offsets: Tensor
    cap: float | None = 2.0


def scene(a: Tensor, b: Tensor, cap: float | None = 2.0) -> Scene:
    return Scene(a.cuda().contiguous(), b.cuda().contiguous(), offsets_of(len(a)), offsets_of(len(b)), cap)


def turned(cloud: Tensor, degrees: float) -> Tensor:
    """About the z axis."""
    angle = np.deg2rad(degrees)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return torch.stack([c * cloud[:, 0] - s * cloud[:, 1], s * cloud[:, 0] + c * cloud[:, 1], cloud[:, 2]], dim=1)


def batch(a: Tensor, b: Tensor, samples: int) -> Scene:
    """Copies of a pair, turned by multiples of 22.5 degrees."""
    a_all, b_all = (torch.cat([turned(cloud, 22.5 * i) for i in range(samples)]) for cloud in (a, b))
    offsets = offsets_of(*[len(a)] * samples), offsets_of(*[len(b)] * samples)
    return Scene(a_all.cuda(), b_all.cuda(), *offsets)


def piled(cloud: Tensor, copies: int) -> Tensor:
    """One cloud of many points with the density of a sweep: copies turned by a little."""
    return torch.cat([turned(cloud, 360 * i / copies + 0.7 * i) for i in range(copies)])


def sweep_pair(root: str | None) -> tuple[Tensor, Tensor] | None:
    """The first two sweeps below a root, as they are stored."""
    if not root:
        return None
    folders = sorted({path.parent for path in Path(root).rglob("sensors/lidar/*.feather")})
    for folder in folders:
        files = sorted(folder.glob("*.feather"))
        if len(files) > 1:
            return read_sweep(files[0]), read_sweep(files[1])
    return None


def read_sweep(file: Path) -> Tensor:
    import pyarrow.feather

    table = pyarrow.feather.read_table(file, columns=["x", "y", "z"])
    columns = [table[name].to_numpy().astype(np.float32) for name in ("x", "y", "z")]
    return torch.from_numpy(np.stack(columns, axis=1))


def scenes(a: Tensor, b: Tensor) -> dict[str, Scene]:
    """Everything that is timed both ways, by name."""
    thin = torch.randperm(len(a), generator=torch.Generator().manual_seed(1))
    some = {"1": thin[:1], "1k": thin[:1000], "10k": thin[:10000]}
    found = {
        "nearest_both_b1_cap2": scene(a, b),
        "nearest_both_b16_cap2": batch(a, b, 16),
        "nearest_both_b1_shifted": scene(a + 0.3, b),
        "nearest_both_b1_shifted_3m": scene(a + 3.0, b),
        "nearest_both_b1_no_cap": scene(a, b, None),
        "nearest_both_b1_cap4.4": scene(a, b, 4.4),
        "nearest_both_b64_cap2": batch(a, b, 64),
        **{f"nearest_both_{name}_points": scene(a[rows], b[rows.clamp(max=len(b) - 1)]) for name, rows in some.items()},
        "nearest_both_300k_points": scene(piled(a, 4)[:300000], piled(b, 4)[:300000]),
        "nearest_both_1M_points": scene(piled(a, 12)[:1000000], piled(b, 12)[:1000000]),
    }
    for name, variable in (("with_ground", "AV2_ROOT"), ("pandaset", "PANDASET_ROOT")):
        pair = sweep_pair(os.environ.get(variable))
        if pair is not None:
            found[f"nearest_both_{name}"] = scene(*pair)
    return found | hard_scenes(a, b)


def hard_scenes(a: Tensor, b: Tensor) -> dict[str, Scene]:
    """Where a grid of fixed cells breaks down, and where ours does."""
    generator = torch.Generator().manual_seed(2)

    def normal(points: int) -> Tensor:
        return torch.randn(points, 3, generator=generator)

    n = 88000
    line = normal(n) * torch.tensor([0.0, 0.0, 100.0]), normal(n) * torch.tensor([0.0, 0.0, 100.0])
    blob = normal(n) * 0.05, normal(n) * 0.05
    for cloud in blob:
        cloud[:100] *= 5000
    half = torch.arange(n) < n // 2
    apart = [
        cloud[:n] + torch.where(half[torch.randperm(n, generator=generator)], 0.0, 1e4)[:, None] for cloud in (a, b)
    ]
    return {
        "hard_1e4_m_away": scene(a + 1e4, b + 1e4),
        "hard_250_m_wide": scene((torch.rand(n, 3, generator=generator) - 0.5) * 500, (normal(n) * 120)),
        "hard_line": scene(*line),
        "hard_crowded_5_cm": scene(*blob),
        "hard_two_places": scene(*apart),
        "hard_all_equal": scene(torch.ones(n, 3), torch.ones(n, 3)),
        "hard_100_m_apart_no_cap": scene(a + 100, b, None),
        "hard_all_equally_far": scene(normal(n) * 1e-3, torch.nn.functional.normalize(normal(n)) * 50, None),
    }
