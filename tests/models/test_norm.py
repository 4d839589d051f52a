# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Norms that keep little and norms over several processes, against torch's own norm of the whole."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.norm import BatchNorm2d, norm_gelu
from tests.models.processes import run_processes


@pytest.mark.parametrize("channels_last", [False, True])
def test_norm_and_gelu_in_one_are_what_torch_does(channels_last: bool) -> None:
    """Values, gradients and running statistics in float64."""
    torch.manual_seed(0)
    image = torch.randn(3, 4, 5, 6, dtype=torch.float64) * 2 + 1
    if channels_last:
        image = image.to(memory_format=torch.channels_last)
    ours, torchs = BatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
    with torch.no_grad():
        for norm in (ours, torchs):
            norm.weight.copy_(torch.arange(1, 5))
            norm.bias.copy_(torch.arange(4))
    upstream = torch.randn_like(image)
    a, b = image.clone().requires_grad_(), image.clone().requires_grad_()
    given, wanted = norm_gelu(a, ours), F.gelu(torchs(b))
    torch.testing.assert_close(given, wanted)
    given.backward(upstream)
    wanted.backward(upstream)
    torch.testing.assert_close(a.grad, b.grad)
    for name, value in torchs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    for name, value in torchs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, value.grad)


def test_gradient_of_norm_and_gelu_by_finite_differences() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 2, 2, dtype=torch.float64).requires_grad_()
    norm = BatchNorm2d(3).double()
    assert torch.autograd.gradcheck(lambda image: norm_gelu(image, norm), image)


def test_a_second_derivative_is_refused() -> None:
    image = torch.randn(2, 3, 2, 2).requires_grad_()
    (first,) = torch.autograd.grad(norm_gelu(image, BatchNorm2d(3)).square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


RANK = """
import os, sys, torch
from torch import nn
from torch.nn import functional as F
from models.norm import BatchNorm1d, BatchNorm2d, norm_gelu, share_statistics
device, rank = sys.argv[1], int(os.environ["RANK"])
if device == "cuda":
    torch.cuda.set_device(rank)
torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
torch.distributed.all_reduce(torch.ones(1, device=device))  # the first exchange opens the connections
exact = ((torch.float64, None),)  # torch's own tolerance of this type
types = *exact, (torch.float32, 1e-4), (torch.bfloat16, 2e-2)
ranks = int(os.environ["WORLD_SIZE"])
images = [(2 + number, 8, 12, 10) for number in range(ranks)]
points = [(40 * number, 8) for number in range(ranks)]  # none in the first process
one = [(1 - min(number, 1), 8) for number in range(ranks)]  # one in all


def same(given, wanted, tolerance, absolute=None):
    torch.testing.assert_close(given, wanted.to(given.dtype), atol=absolute or tolerance, rtol=tolerance)


of_images, of_points = (BatchNorm2d, nn.BatchNorm2d), (BatchNorm1d, nn.BatchNorm1d)
layouts = [(images, of_images, layout) for layout in (torch.contiguous_format, torch.channels_last)]
for shapes, kinds, layout in [*layouts, (points, of_points, None)]:
    if not sum(shape[0] for shape in shapes):
        continue
    for dtype, tolerance in types:
        torch.manual_seed(0)
        values = [(torch.randn(shape) * 2 + 30).to(device, dtype) for shape in shapes]
        upstream = [torch.randn(shape).to(device, dtype) for shape in shapes]
        ours, torchs = (kind(8).to(device, torch.float64 if dtype == torch.float64 else None) for kind in kinds)
        for norm in (ours, torchs):
            norm.weight.data.copy_(torch.arange(1, 9) / 4)
        share_statistics(ours)
        if layout is not None:
            values, upstream = ([one.to(memory_format=layout) for one in part] for part in (values, upstream))
        own, whole = values[rank].clone().requires_grad_(), torch.cat(values).requires_grad_()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        given = norm_gelu(own, ours) if own.dim() == 4 else ours(own)
        given.backward(upstream[rank])
        for parameter in ours.parameters():
            torch.distributed.all_reduce(parameter.grad)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        wanted = F.gelu(torchs(whole)) if own.dim() == 4 else torchs(whole)
        wanted.backward(torch.cat(upstream))
        counts = [shape[0] for shape in shapes]
        same(given, wanted.split(counts)[rank], tolerance)
        same(own.grad, whole.grad.split(counts)[rank], tolerance)
        for name, parameter in torchs.named_parameters():
            # Sums of some hundred values that bfloat16 holds to 1/256 each, some of which cancel out.
            same(ours.get_parameter(name).grad, parameter.grad, tolerance, 0.3 if dtype == torch.bfloat16 else None)
        for name, value in torchs.state_dict().items():
            same(ours.state_dict()[name], value, tolerance)
lonely = BatchNorm1d(8).to(device)
share_statistics(lonely)
result = lonely(torch.ones(one[rank], device=device))
assert torch.equal(result, torch.zeros_like(result))
assert torch.equal(lonely.running_mean, torch.zeros(8, device=device))
assert torch.equal(lonely.running_var, torch.ones(8, device=device))
constant = BatchNorm2d(8).to(device)
share_statistics(constant)
assert constant(torch.full((1, 8, 25, 40), 1e6, device=device)).isfinite().all()
assert constant.running_var.isfinite().all()
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("device", "processes"), [("cpu", 3), *(pytest.param("cuda", n, marks=pytest.mark.gpu) for n in (1, 2))]
)
def test_norms_of_all_processes_are_torchs_norm_of_the_whole(device: str, processes: int, tmp_path: Path) -> None:
    """Other sizes in each process, none in one, far from zero; on a GPU nothing waits for it."""
    if device == "cuda" and torch.cuda.device_count() < processes:
        pytest.skip(f"fewer than {processes} CUDA devices here")
    run_processes(RANK, processes, tmp_path, device)
