# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show: same bits in every run, graphs, streams, no waiting, several devices."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kernels import Search, nearest, nearest_both, truncated_chamfer
from tests.kernels.clouds import CASES, offsets_of, real_pair

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


def hard_batch(device="cuda"):
    pairs = [CASES[name]() for name in ("lidar", "all equal", "lattice between", "crowded", "not finite")]
    a, b = (torch.cat(clouds).to(device) for clouds in zip(*pairs, strict=True))
    return a, b, offsets_of(*(len(pair[0]) for pair in pairs)), offsets_of(*(len(pair[1]) for pair in pairs))


def step(a, b, a_offsets, b_offsets):
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    loss = truncated_chamfer(a, b, a_offsets, b_offsets, 2.0)
    gradients = torch.autograd.grad(loss.sum(), (a, b))
    both = nearest_both(a, b, a_offsets, b_offsets, 2.0)
    return [loss.detach(), *gradients, *both[0], *both[1]]


@pytest.mark.parametrize("batch", ("hard", "real"))
def test_200_runs_give_the_same_bits(batch):
    if batch == "hard":
        given = hard_batch()
    else:
        a, b = real_pair()
        given = a.cuda(), b.cuda(), offsets_of(len(a)), offsets_of(len(b))
    first = step(*given)
    for _ in range(200):
        for one, other in zip(first, step(*given), strict=True):
            assert torch.equal(one, other)


def test_no_synchronisation():
    given = hard_batch()
    search = Search(given[1], given[3])
    step(*given)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(*given)
        nearest(*given, 1.0)
        search.nearest(given[0], given[2])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_returns_while_the_device_is_busy():
    """A wait that torch does not see, as one by the driver itself, would end only after the sleep."""
    given = hard_batch()
    search = Search(given[1], given[3])
    done = torch.cuda.Event()
    for cycles in (1, 4_000_000_000):  # once without, so that memory is there; then two seconds and more
        torch.cuda.synchronize()
        torch.cuda._sleep(cycles)
        step(*given)
        search.nearest(given[0], given[2])
        done.record()
    assert not done.query()
    torch.cuda.synchronize()


def test_a_thread_that_never_used_the_device():
    given = hard_batch()
    expected = step(*given)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: step(*given), range(16)):
            for one, wanted in zip(found, expected, strict=True):
                assert torch.equal(one, wanted)


def test_graph_replay():
    a, b, a_offsets, b_offsets = hard_batch()
    other = a + 0.25
    expected = step(a, b, a_offsets, b_offsets), step(other, b, a_offsets, b_offsets)
    still = a.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step(still, b, a_offsets, b_offsets)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(still, b, a_offsets, b_offsets)
    for content, results in ((a, expected[0]), (other, expected[1]), (a, expected[0])):
        still.copy_(content)
        graph.replay()
        for one, wanted in zip(captured, results, strict=True):
            assert torch.equal(one, wanted)


def test_graph_replay_of_a_prepared_search():
    a, b, a_offsets, b_offsets = hard_batch()
    search = Search(b, b_offsets)
    expected = [search.nearest(cloud, a_offsets, 1.0) for cloud in (a, a + 0.25)]
    still = a.clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = search.nearest(still, a_offsets, 1.0)
    for content, wanted in ((a + 0.25, expected[1]), (a, expected[0])):
        still.copy_(content)
        graph.replay()
        assert torch.equal(captured.index, wanted.index)
        assert torch.equal(captured.squared_distance, wanted.squared_distance)


def test_runs_on_the_current_stream():
    a, b, a_offsets, b_offsets = hard_batch()
    expected = nearest(a, b, a_offsets, b_offsets)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(a)
        torch.cuda._sleep(20_000_000)  # on another stream the search would see zeros
        late.copy_(a)
        found = nearest(late, b, a_offsets, b_offsets)
    stream.synchronize()
    assert torch.equal(found.index, expected.index)


def test_memory_does_not_grow():
    given = hard_batch()
    step(*given)
    before = torch.cuda.memory_allocated()
    for _ in range(20):
        step(*given)
    assert torch.cuda.memory_allocated() == before
    a, b = (cloud.clone().requires_grad_() for cloud in given[:2])
    losses = [truncated_chamfer(a, b, *given[2:], 2.0) for _ in range(20)]  # each waits for its backward
    # Beside the clouds themselves 8 bytes of index and 24 of pulls a point; each piece is rounded up to 512 bytes.
    kept = 20 * (32 * (len(a) + len(b)) + 2048)
    assert torch.cuda.memory_allocated() <= before + 12 * (len(a) + len(b)) + 1024 + kept
    torch.stack(losses).sum().backward()
    before = torch.cuda.memory_allocated()
    more = [truncated_chamfer(a, b, *given[2:], 2.0) for _ in range(5)]
    torch.stack(more).sum().backward()
    assert torch.cuda.memory_allocated() <= before + 5 * 512 + 1024  # the losses and their stack


def test_a_million_points():
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(1_000_000, 3, generator=generator) * torch.tensor([40.0, 40.0, 1.0]) for _ in range(2))
    offsets = offsets_of(1_000_000)
    found = nearest(a.cuda(), b.cuda(), offsets, offsets, 2.0)
    rows = torch.arange(0, 1_000_000, 20)
    expected = nearest(a[rows], b, offsets_of(len(rows)), offsets, 2.0)
    assert torch.equal(found.index.cpu()[rows], expected.index)
    assert torch.equal(found.squared_distance.cpu()[rows], expected.squared_distance)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")
def test_several_devices_in_one_process():
    a, b, a_offsets, b_offsets = hard_batch("cpu")
    expected = nearest(a, b, a_offsets, b_offsets, 2.0)
    first = step(a.to("cuda:0"), b.to("cuda:0"), a_offsets, b_offsets)
    for device in ("cuda:1", "cuda:0", "cuda:1"):  # neither is always the current device
        found = nearest(a.to(device), b.to(device), a_offsets, b_offsets, 2.0)
        assert found.index.device == torch.device(device)
        assert torch.equal(found.index.cpu(), expected.index)
        for one, other in zip(step(a.to(device), b.to(device), a_offsets, b_offsets), first, strict=True):
            assert one.device == torch.device(device)  # loss, both gradients and both searches
            assert torch.equal(one.cpu(), other.cpu())
