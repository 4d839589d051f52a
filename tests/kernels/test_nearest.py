# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from kernels import Search, nearest, nearest_both
from kernels.reference import nearest_reference
from tests.kernels.clouds import CASES, offsets_of, random, real_pair

CAPS = (None, 0.5)


def assert_same(found, index, distance):
    assert torch.equal(found.index.cpu(), index.cpu())
    assert torch.equal(found.squared_distance.cpu(), distance.cpu())


def test_by_hand(device):
    target = torch.tensor([[0.0, 0, 0], [3, 4, 0], [0, 0, 9], [3, 4, 0], [7, 7, 7]], device=device)
    query = torch.tensor([[3.0, 4, 0], [0, 0, 5], [0, 0, 4], [7, 7, 6], [100, 0, 0]], device=device)
    query_offsets, target_offsets = offsets_of(3, 2), offsets_of(4, 1)
    # Two equal targets: the lower row. The second sample sees only row 4.
    found = nearest(query, target, query_offsets, target_offsets, cap=4.5)
    assert found.index.tolist() == [1, 2, 0, 4, -1]
    assert found.squared_distance.tolist() == [0.0, 16.0, 16.0, 1.0, float("inf")]
    assert found.index.dtype == torch.int64 and found.squared_distance.dtype == torch.float32


def test_a_neighbour_at_the_cap_counts(device):
    query, target = torch.zeros(1, 3, device=device), torch.tensor([[2.0, 0, 0]], device=device)
    one = offsets_of(1)
    assert nearest(query, target, one, one, cap=2.0).index.tolist() == [0]
    assert nearest(query, target, one, one, cap=1.9999999).index.tolist() == [-1]
    assert nearest(query, query, one, one, cap=0.0).index.tolist() == [0]
    assert nearest(query, target, one, one, cap=float("inf")).squared_distance.tolist() == [4.0]


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("case", CASES)
def test_equals_brute_force(case, cap, device):
    a, b = (cloud.to(device) for cloud in CASES[case]())
    # Three samples, so that a query could meet a stranger's points; the middle one of b may be empty.
    a_offsets = offsets_of(len(a) // 3, len(a) // 5, len(a) - len(a) // 3 - len(a) // 5)
    b_offsets = offsets_of(len(b) // 4, len(b) // 40, len(b) - len(b) // 4 - len(b) // 40)
    a_to_b, b_to_a = nearest_both(a, b, a_offsets, b_offsets, cap)
    assert_same(a_to_b, *nearest_reference(a, b, a_offsets, b_offsets, cap))
    assert_same(b_to_a, *nearest_reference(b, a, b_offsets, a_offsets, cap))
    assert_same(nearest(a, b, a_offsets, b_offsets, cap), *a_to_b)
    search = Search(b, b_offsets)
    for _ in range(2):
        assert_same(search.nearest(a, a_offsets, cap), *a_to_b)


def test_one_empty_cloud_within_a_batch(device):
    a, b = random(90, 1).to(device), random(80, 2).to(device)
    a_offsets, b_offsets = offsets_of(40, 0, 50), offsets_of(0, 30, 50)
    a_to_b, b_to_a = nearest_both(a, b, a_offsets, b_offsets)
    assert (a_to_b.index[:40] == -1).all() and (b_to_a.index[:30] == -1).all()
    assert_same(a_to_b, *nearest_reference(a, b, a_offsets, b_offsets))


def test_batch_without_samples(device):
    nothing = torch.empty(0, 3, device=device)
    offsets = torch.zeros(1, dtype=torch.int64)
    assert nearest(nothing, nothing, offsets, offsets).index.shape == (0,)


def test_result_does_not_depend_on_the_rest_of_the_batch(device):
    parts = [random(size, size).to(device) for size in (700, 5, 1300, 64)]
    alone = [nearest(part, part.flip(0).contiguous(), offsets_of(len(part)), offsets_of(len(part))) for part in parts]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        clouds = [parts[i] for i in order]
        offsets = offsets_of(*map(len, clouds))
        together = nearest(torch.cat(clouds), torch.cat([cloud.flip(0) for cloud in clouds]), offsets, offsets)
        for i, start, end in zip(order, offsets, offsets[1:], strict=False):
            assert torch.equal(together.index[start:end] - start, alone[i].index)
            assert torch.equal(together.squared_distance[start:end], alone[i].squared_distance)


def test_more_samples_than_one_launch_holds(device):
    sizes = [int(size) for size in torch.randint(0, 40, (150,), generator=torch.Generator().manual_seed(3))]
    a, b = random(sum(sizes), 4).to(device), random(sum(sizes), 5).to(device)
    a_offsets, b_offsets = offsets_of(*sizes), offsets_of(*sizes[::-1])
    a_to_b, b_to_a = nearest_both(a, b, a_offsets, b_offsets, 1.0)
    assert_same(a_to_b, *nearest_reference(a, b, a_offsets, b_offsets, 1.0))
    assert_same(b_to_a, *nearest_reference(b, a, b_offsets, a_offsets, 1.0))


def nearest_and_memory(*given):
    """The answer, and the most memory that Python and NumPy held on the way, bytes."""
    tracemalloc.start()
    try:
        return nearest(*given), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_equally_far_points_is_bounded():
    """Queries in the middle of a sphere: lists of all points for 256 queries at once would be 300 MB."""
    query, target = random(256, 16, 1e-5), torch.nn.functional.normalize(random(30_000, 17)) * 50
    offsets = offsets_of(200, 56), offsets_of(30_000, 0)
    found, peak = nearest_and_memory(query, target, *offsets)
    assert peak < 128e6
    assert_same(found, *nearest_reference(query, target, *offsets))


def test_memory_of_queries_between_lattice_points_is_bounded():
    """Eight equally near points each: candidate lists of all queries at once would be 300 MB."""
    target = torch.cartesian_prod(*[torch.arange(46.0)] * 3)
    query = torch.cartesian_prod(*[torch.arange(45.0) + 0.5] * 3)
    offsets = offsets_of(len(query)), offsets_of(len(target))
    found, peak = nearest_and_memory(query, target, *offsets)
    assert peak < 100e6
    assert (found.squared_distance == 0.75).all()
    x, y, z = (query - 0.5).long().T  # the lowest row of the eight is the corner at the low end
    assert torch.equal(found.index, (x * 46 + y) * 46 + z)


def test_points_that_repeat_are_in_the_tree_once():
    points = random(40, 3)
    often = torch.cat([points, points[:1].expand(30, 3), points[1:2].expand(5, 3)])
    search = Search(often, offsets_of(len(often)))
    assert len(search.prepared.trees[0].points) == 40
    found = search.nearest(points, offsets_of(40))
    assert found.index.tolist() == list(range(40)) and not found.squared_distance.any()


def test_a_search_of_a_changed_cloud(device):
    a, b = random(20, 1).to(device), random(30, 2).to(device)
    search = Search(b.view(30, 3), offsets_of(30))
    search.nearest(a, offsets_of(20))
    b[3] += 1  # through another view of the same memory
    with pytest.raises(ValueError, match="the target was changed in place after this search was made"):
        search.nearest(a, offsets_of(20))


def test_float64_on_the_cpu():
    a, b = random(500, 6).double(), random(600, 7).double()
    found = nearest(a, b, offsets_of(500), offsets_of(600), 0.4)
    assert found.squared_distance.dtype == torch.float64
    assert_same(found, *nearest_reference(a, b, offsets_of(500), offsets_of(600), 0.4))


def test_agrees_with_scipy():
    a, b = CASES["lidar"]()
    found = nearest(a, b, offsets_of(len(a)), offsets_of(len(b)))
    distance, index = cKDTree(b.double().numpy()).query(a.double().numpy())
    np.testing.assert_allclose(found.squared_distance.double().sqrt(), distance, rtol=1e-6)
    gap = a.double() - b.double()[found.index]
    assert (found.index.numpy() == index).mean() > 0.999  # the rest are ties within rounding
    np.testing.assert_allclose(gap.norm(dim=1), distance, rtol=1e-6)


@pytest.mark.parametrize("cap", (None, 2.0, 4.4))
@pytest.mark.parametrize("shift", (0.0, 0.3))
def test_real_pair(device, shift, cap):
    a, b = real_pair()
    a = a + shift
    a_offsets, b_offsets = offsets_of(len(a)), offsets_of(len(b))
    a_to_b, b_to_a = nearest_both(a.to(device), b.to(device), a_offsets, b_offsets, cap)
    if device.type == "cuda":
        expected = nearest_both(a, b, a_offsets, b_offsets, cap)
        assert_same(a_to_b, *expected[0])
        assert_same(b_to_a, *expected[1])
    else:
        rows = torch.arange(0, len(a), 977)
        some = offsets_of(len(rows))
        index, distance = nearest_reference(a[rows], b, some, b_offsets, cap)
        assert torch.equal(a_to_b.index[rows], index) and torch.equal(a_to_b.squared_distance[rows], distance)


@pytest.mark.parametrize("turned", (False, True))
def test_real_batch(device, turned):
    """Sixteen copies, turned about z, and the same batch in another order."""
    if device.type == "cpu":
        pytest.skip("sixteen sweeps take the CPU path too long for this family's budget")
    a, b = real_pair()
    angles = torch.arange(16) * torch.pi / 8 * turned
    turns = torch.stack([torch.stack([t.cos(), -t.sin(), t.sin(), t.cos()]).reshape(2, 2) for t in angles])
    clouds = [torch.cat([torch.cat([c[:, :2] @ t.T, c[:, 2:]], dim=1) for t in turns]) for c in (a, b)]
    a_offsets, b_offsets = offsets_of(*[len(a)] * 16), offsets_of(*[len(b)] * 16)
    found = nearest_both(*(cloud.to(device) for cloud in clouds), a_offsets, b_offsets, 2.0)
    expected = nearest_both(*clouds, a_offsets, b_offsets, 2.0)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, *other)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    moved = [cloud.reshape(16, -1, 3)[order].reshape(-1, 3) for cloud in clouds]
    again = nearest_both(*(cloud.to(device) for cloud in moved), a_offsets, b_offsets, 2.0)
    for one, other, points in zip(again, expected, (len(b), len(a)), strict=True):
        assert_same(one, *in_another_order(other, order, points))


def in_another_order(found, order, points):
    """The answer for samples of equal size taken in another order, to targets of `points` points each."""
    size = len(order)
    index, distance = found.index.reshape(size, -1)[order], found.squared_distance.reshape(size, -1)[order]
    shift = (torch.arange(size) - order) * points
    return torch.where(index < 0, -1, index + shift[:, None]).reshape(-1), distance.reshape(-1)


def test_a_batch_in_another_order(device):
    """As the real batch, small enough for the CPU; samples of 40 and 30 points."""
    a, b, order = random(160, 1), random(120, 2), torch.tensor([2, 0, 3, 1])
    a_offsets, b_offsets = offsets_of(*[40] * 4), offsets_of(*[30] * 4)
    moved = [cloud.reshape(4, -1, 3)[order].reshape(-1, 3) for cloud in (a, b)]
    found = nearest_both(a.to(device), b.to(device), a_offsets, b_offsets, 1.0)
    again = nearest_both(*(cloud.to(device) for cloud in moved), a_offsets, b_offsets, 1.0)
    for one, other, points in zip(again, found, (30, 40), strict=True):
        here = type(other)(other.index.cpu(), other.squared_distance.cpu())
        assert (here.index < 0).any()
        assert_same(one, *in_another_order(here, order, points))
