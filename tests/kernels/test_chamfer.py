# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from kernels import Search, truncated_chamfer
from kernels.chamfer import _gathered
from kernels.reference import chamfer_reference
from tests.kernels.clouds import CASES, offsets_of, random, real_pair

HARD = (
    "uniform",
    "lidar",
    "all equal",
    "lattice between",
    "1e4 m away",
    "not finite",
    "nothing finite",
    "33 and 0 points",
)


def test_by_hand(device):
    a = torch.tensor([[0.0, 0, 0], [5, 0, 0], [1, 1, 1]], device=device, requires_grad=True)
    b = torch.tensor([[1.0, 0, 0], [0, 2, 0]], device=device, requires_grad=True)
    # Sample 0: a -> b 1 and (16, over the cap); b -> a 1 and 4. Sample 1: b is empty.
    loss = truncated_chamfer(a, b, offsets_of(2, 1), offsets_of(2, 0), cap=2.0)
    assert loss.tolist() == [1.0 + 2.5, 0.0]
    loss.sum().backward()
    # d/da0 of 1 * |a0-b0|^2 + 1/2 (|b0-a0|^2 + |b1-a0|^2)
    assert a.grad.tolist() == [[-2 - 1, -2, 0], [0, 0, 0], [0, 0, 0]]
    assert b.grad.tolist() == [[2 + 1, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize("case", HARD)
def test_value_and_gradients_equal_the_reference(case, device):
    a, b = CASES[case]()
    a_offsets = offsets_of(len(a) // 3, 0, len(a) - len(a) // 3)
    b_offsets = offsets_of(len(b) // 4, 1 if len(b) else 0, len(b) - len(b) // 4 - (1 if len(b) else 0))
    weights = torch.tensor([1.0, -2.0, 0.5])
    mine = [cloud.clone().to(device).requires_grad_() for cloud in (a, b)]
    loss = truncated_chamfer(*mine, a_offsets, b_offsets, 2.0)
    (loss * weights.to(device)).sum().backward()
    theirs = [cloud.double().requires_grad_() for cloud in (a, b)]
    expected = chamfer_reference(*theirs, a_offsets, b_offsets, 2.0)
    if expected.requires_grad:  # somebody found a neighbour
        (expected * weights).sum().backward()
    torch.testing.assert_close(loss.cpu().double(), expected, rtol=1e-5, atol=0)
    for own, other in zip(mine, theirs, strict=True):
        wanted = torch.zeros_like(other) if other.grad is None else other.grad
        assert (own.grad.cpu() - wanted).norm() <= 1e-5 * wanted.norm()


def test_what_found_nothing_has_gradient_zero_under_an_infinite_one(device):
    """A root mean square has an infinite slope where the mean is empty: no neighbour in reach, or no cloud."""
    a = torch.tensor([[0.0, 0, 0], [9, 0, 0], [1, 1, 1]], device=device, requires_grad=True)
    b = torch.tensor([[3.0, 4, 0], [-9, 0, 0]], device=device, requires_grad=True)
    truncated_chamfer(a, b, offsets_of(1, 1, 1), offsets_of(1, 1, 0), cap=6.0).sqrt().sum().backward()
    # Sample 0: sqrt(25 + 25), its gradient 2 * 2 (a - b) / (2 sqrt(50)). Samples 1 and 2 have none.
    slope = 2 / 50**0.5
    torch.testing.assert_close(a.grad.cpu(), torch.tensor([[-3 * slope, -4 * slope, 0], [0, 0, 0], [0, 0, 0]]))
    torch.testing.assert_close(b.grad.cpu(), torch.tensor([[3 * slope, 4 * slope, 0], [0, 0, 0]]))


def test_gradcheck():
    a, b = random(24, 1).double().requires_grad_(), random(30, 2).double().requires_grad_()
    offsets = offsets_of(10, 14), offsets_of(17, 13)
    assert torch.autograd.gradcheck(lambda x, y: truncated_chamfer(x, y, *offsets, 0.8), (a, b))


def test_gradcheck_of_the_gradient():
    a, b = random(6, 1).double().requires_grad_(), random(7, 2).double().requires_grad_()
    offsets = offsets_of(4, 2), offsets_of(3, 4)
    assert torch.autograd.gradgradcheck(lambda x, y: truncated_chamfer(x, y, *offsets, 2.0), (a, b))


@pytest.fixture
def several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


def test_the_cpu_backward_gives_the_same_bits(several_threads):
    """Many points choose each point of b: what adds their pulls must not depend on which thread comes first."""
    a, b = random(60_000, 7).requires_grad_(), random(30, 8).requires_grad_()
    offsets = offsets_of(60_000), offsets_of(30)
    loss = truncated_chamfer(a, b, *offsets, 10.0).sum()
    first = torch.autograd.grad(loss, (a, b), retain_graph=True)
    for _ in range(20):
        for one, other in zip(first, torch.autograd.grad(loss, (a, b), retain_graph=True), strict=True):
            assert torch.equal(one, other)


def test_pulls_are_added_in_float64_row_after_row():
    points, pulls = torch.zeros(30, 3, requires_grad=True), random(60_000, 9)
    index = torch.randint(0, 30, (60_000,), generator=torch.Generator().manual_seed(10))
    expected = np.zeros((30, 3))
    np.add.at(expected, index.numpy(), pulls.double().numpy())
    _gathered(points, index).backward(pulls)
    assert torch.equal(points.grad, torch.from_numpy(expected).float())


@pytest.mark.parametrize("wanted", ((True, False), (False, True), (False, False)))
def test_gradient_only_where_asked(wanted, device):
    a, b = (cloud.to(device).requires_grad_(want) for cloud, want in zip(CASES["lidar"](), wanted, strict=True))
    both = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    offsets = offsets_of(len(a)), offsets_of(len(b))
    loss = truncated_chamfer(a, b, *offsets, 2.0)
    assert loss.requires_grad == any(wanted)
    if any(wanted):
        loss.sum().backward()
        truncated_chamfer(*both, *offsets, 2.0).sum().backward()
    for own, other, want in zip((a, b), both, wanted, strict=True):
        assert (own.grad is not None) == want
        assert not want or torch.equal(own.grad, other.grad)


def test_prepared_search_gives_the_same_bits(device):
    a, b = (cloud.to(device) for cloud in CASES["lidar"]())
    a.requires_grad_()
    offsets = offsets_of(1000, len(a) - 1000), offsets_of(1200, len(b) - 1200)
    search = Search(b, offsets[1])
    losses, gradients = [], []
    for prepared in (None, search, search):
        loss = truncated_chamfer(a, b, *offsets, 2.0, prepared)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), a)[0])
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[0], losses[2])
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_a_prepared_search_of_a_changed_cloud(device):
    a, b = random(20, 1).to(device), random(30, 2).to(device)
    offsets = offsets_of(20), offsets_of(30)
    search = Search(b, offsets[1])
    b.add_(5)
    with pytest.raises(ValueError, match="the target was changed in place after this search was made"):
        truncated_chamfer(a, b, *offsets, 2.0, search)
    with torch.inference_mode():  # torch counts no changes here
        still = b.clone()
        found = truncated_chamfer(a, still, *offsets, 2.0, Search(still, offsets[1]))
    assert torch.equal(found, truncated_chamfer(a, b, *offsets, 2.0, Search(b, offsets[1])))


def test_more_samples_than_one_launch_holds(device):
    sizes = [7, 0, 30, 1] * 40
    a, b = random(sum(sizes), 3).to(device).requires_grad_(), random(sum(sizes), 4).to(device).requires_grad_()
    offsets = offsets_of(*sizes), offsets_of(*sizes[::-1])
    loss = truncated_chamfer(a, b, *offsets, 1.0)
    gradients = torch.autograd.grad(loss.sum(), (a, b))
    expected = chamfer_reference(a.cpu().double(), b.cpu().double(), *offsets, 1.0)
    torch.testing.assert_close(loss.cpu().double(), expected, rtol=1e-5, atol=0)
    other = torch.autograd.grad(expected.sum(), (a, b))
    for own, wanted in zip(gradients, other, strict=True):
        assert (own - wanted).norm() <= 1e-5 * wanted.norm()


def test_real_pair(device):
    a, b = real_pair()
    offsets = offsets_of(len(a)), offsets_of(len(b))
    mine = [cloud.clone().to(device).requires_grad_() for cloud in (a, b)]
    loss = truncated_chamfer(*mine, *offsets, 2.0)
    gradients = torch.autograd.grad(loss.sum(), mine)
    exact = [cloud.double().requires_grad_() for cloud in (a, b)]
    expected = truncated_chamfer(*exact, *offsets, 2.0)
    torch.testing.assert_close(loss.cpu().double(), expected, rtol=1e-5, atol=0)
    for own, wanted in zip(gradients, torch.autograd.grad(expected.sum(), exact), strict=True):
        assert (own.cpu() - wanted).norm() <= 1e-5 * wanted.norm()
