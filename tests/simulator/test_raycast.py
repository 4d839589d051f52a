# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ranges against hand-made scenes whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.simulator.groundcast import ground_hits
from stages.simulator.lidar import Rays
from stages.simulator.raycast import first_hits
from stages.simulator.solids import BOX, CYLINDER, ELLIPSOID, concatenate, still_solids
from stages.simulator.world import KERB_HEIGHT, KERB_WIDTH, Ground, Road


def make_rays(origin: list[list[float]], direction: list[list[float]], time: list[float] | None = None) -> Rays:
    d = np.array(direction, dtype=np.float64)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    n = len(d)
    o = np.broadcast_to(np.array(origin, dtype=np.float32), (n, 3))
    t = np.zeros(n) if time is None else np.array(time)
    zeros = np.zeros(n, dtype=np.int32)
    return Rays(o, d.astype(np.float32), t.astype(np.float32), zeros, zeros.astype(np.uint8))


CUBE = still_solids([(BOX, (10.0, 0.0, 0.0), 0.0, (1.0, 1.0, 1.0), 0.5)])


def test_box_is_hit_at_its_near_face() -> None:
    reached, hit = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0], [-1, 0, 0], [1, 0, 0.2]]), CUBE, 100.0)
    assert reached[0] == pytest.approx(9.0, abs=1e-5)
    assert np.isinf(reached[1:]).all()
    assert hit.tolist() == [0, -1, -1]


def test_turned_box_is_hit_at_its_edge() -> None:
    turned = still_solids([(BOX, (10.0, 0.0, 0.0), np.pi / 4, (1.0, 1.0, 1.0), 0.5)])
    reached, _ = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0]]), turned, 100.0)
    assert reached[0] == pytest.approx(10.0 - np.sqrt(2.0), abs=1e-5)


@pytest.mark.parametrize("kind", [CYLINDER, ELLIPSOID])
def test_round_solids(kind: int) -> None:
    solid = still_solids([(kind, (10.0, 0.0, 0.0), 0.0, (2.0, 2.0, 1.0), 0.5)])
    slope = 0.5 / 8.0  # this ray meets x = 8 at a height of 0.5 m
    reached, _ = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0], [1, 0, slope], [1, 0.1, 0]]), solid, 100.0)
    assert reached[0] == pytest.approx(8.0, abs=1e-5)
    t = reached * np.linalg.norm([[1, 0, 0], [1, 0, slope], [1, 0.1, 0]], axis=1) ** -1
    x, y, z = t - 10.0, t * np.array([0, 0, 0.1]), t * np.array([0, slope, 0])
    height = z**2 if kind == ELLIPSOID else 0.0
    np.testing.assert_allclose((x / 2) ** 2 + (y / 2) ** 2 + height, 1.0, atol=1e-5)


def test_nearer_solid_hides_the_farther() -> None:
    both = concatenate([still_solids([(BOX, (20.0, 0.0, 0.0), 0.0, (1.0, 5.0, 5.0), 0.5)]), CUBE])
    reached, hit = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0], [1, 0.15, 0]]), both, 100.0)
    assert hit.tolist() == [1, 0]
    assert reached[1] == pytest.approx(19.0 * np.hypot(1, 0.15), rel=1e-5)


def test_moving_solid_is_hit_where_it_is_when_the_ray_leaves() -> None:
    moving = replace(CUBE, velocity=np.array([[20.0, 0.0, 0.0]]))
    reached, _ = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0]] * 3, [0.0, 0.05, 0.1]), moving, 100.0)
    np.testing.assert_allclose(reached, [9.0, 10.0, 11.0], atol=1e-4)


def test_turning_solid_is_hit_as_it_is_turned_when_the_ray_leaves() -> None:
    turning = replace(CUBE, yaw_rate=np.array([np.pi / 4 / 0.1]))  # an eighth of a turn in 0.1 s
    reached, _ = first_hits(make_rays([[0, 0, 0]], [[1, 0, 0]] * 2, [0.0, 0.1]), turning, 100.0)
    np.testing.assert_allclose(reached, [9.0, 10.0 - np.sqrt(2.0)], atol=1e-4)


def test_culling_loses_no_hit() -> None:
    generator = np.random.default_rng(3)
    rows = [
        (int(k), tuple(c), float(yaw), tuple(h), 0.5)
        for k, c, yaw, h in zip(
            generator.integers(3, size=40),
            generator.uniform([-30, -30, -3], [30, 30, 5], (40, 3)),
            generator.uniform(-3, 3, 40),
            generator.uniform(0.2, 3.0, (40, 3)),
            strict=True,
        )
    ]
    solids = still_solids(rows)  # type: ignore[arg-type]
    direction = generator.normal(size=(1500, 3)) * [1, 1, 0.2]
    rays = make_rays([[0.0, 0.0, 1.5]], direction.tolist())
    together, _ = first_hits(rays, solids, 100.0)
    alone = np.min([_brute(rays, solids.take(np.array([row]))) for row in range(40)], axis=0)
    seen = np.isfinite(alone)
    assert seen.mean() > 0.2
    assert np.isfinite(together[~seen]).mean() < 0.01  # the walk steps over chords shorter than STEP
    assert np.percentile(np.abs(together[seen] - alone[seen]), 99) < 1e-3
    assert (together[seen] < alone[seen] + 2e-3).all()


STEP = 0.02  # m


def _brute(rays: Rays, solid) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    """First point inside one solid along each ray, by walking, then halving the last step."""

    def within(t: NDArray[np.float64]) -> NDArray[np.bool_]:
        p = (rays.origin + t[:, None] * rays.direction - solid.centre[0]) @ solid.rotation[0] / solid.half[0]
        if solid.kind[0] == BOX:
            return (np.abs(p) <= 1).all(axis=1)
        if solid.kind[0] == CYLINDER:
            return (p[:, 0] ** 2 + p[:, 1] ** 2 <= 1) & (np.abs(p[:, 2]) <= 1)
        return (p**2).sum(axis=1) <= 1

    near = float(np.linalg.norm(solid.centre[0] - rays.origin[0]))
    reach = float(np.linalg.norm(solid.half[0]))
    out = np.full(len(rays.time), np.inf)
    for t in np.arange(max(near - reach, 0.3), near + reach, STEP):
        new = np.isinf(out) & within(np.full(len(out), t))
        out[new] = t
    low, high = out - STEP, out.copy()
    for _ in range(12):
        middle = (low + high) / 2
        hit = within(np.nan_to_num(middle, posinf=0.0))
        high, low = np.where(hit, middle, high), np.where(hit, low, middle)
    return high


ROAD = Road((0.0, 0.0), 0.0, (1.6,), 4.0, 0.0, half_width=6.0)


def test_flat_road_and_pavement() -> None:
    ground = Ground((0.0, 0.0), (), (ROAD,))
    reached = ground_hits(make_rays([[0, 0, 2.0]], [[1, 0, -0.1], [0, 1, -0.2], [0, 1, 0.1]]), ground, 100.0)
    assert reached[0] == pytest.approx(20.0 * np.hypot(1, 0.1), abs=1e-3)
    assert reached[1] == pytest.approx((2.0 - KERB_HEIGHT) / 0.2 * np.hypot(1, 0.2), abs=1e-3)
    assert np.isinf(reached[2])


def test_kerb_face_is_hit() -> None:
    ground = Ground((0.0, 0.0), (), (ROAD,))
    height = KERB_HEIGHT / 2  # of the ray above the middle of the kerb's face
    at = 6.0 + KERB_WIDTH / 2
    reached = ground_hits(make_rays([[0, 0, 1.0]], [[0, at, height - 1.0]]), ground, 100.0)
    assert reached[0] == pytest.approx(np.hypot(at, height - 1.0), abs=0.02)


def test_hits_lie_on_a_wavy_slope() -> None:
    ground = Ground((0.01, -0.02), ((0.2, 0.05, 0.02, 1.0), (0.1, -0.03, 0.09, 2.0)), (ROAD,))
    generator = np.random.default_rng(5)
    direction = np.c_[generator.normal(size=(3000, 2)), -generator.uniform(0.0, 0.3, 3000)]
    rays = make_rays([[1.0, 2.0, 2.5]], direction.tolist())
    reached = ground_hits(rays, ground, 80.0)
    seen = np.isfinite(reached)
    p = rays.origin[seen] + reached[seen, None].astype(np.float64) * rays.direction[seen]
    assert seen.mean() > 0.7
    # the kerb's face is found by halving, which leaves centimetres along a grazing ray; elsewhere float32 is left
    apart = np.abs(p[:, 2] - ground.height(p[:, 0], p[:, 1]))
    assert np.percentile(apart, 97) < 2e-3 and apart.max() < 0.1
