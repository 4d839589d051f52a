# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a training step keeps for its backward pass, and what it makes again."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
import torch._functorch.config
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models import unet
from models.architecture import Architecture
from models.network import PillarFlow
from models.norm import BatchNorm2d, norm_gelu_conv, share_statistics
from models.remade import remade
from models.training.compiled import compile_network
from models.unet import FastFlow3DUNet
from stages.pipeline.code import ROOT
from tests.models.golden import fill_weights


class Living(TorchDispatchMode):
    """Every storage that operations made within it and that lives on."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in tree_leaves(args) if isinstance(tensor, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in given:  # no view
                self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return result

    def size(self) -> int:
        """Bytes that live."""
        return sum(size for reference, size in self.made.values() if not reference.expired())


def both_unets(sweeps: int, dtype: torch.dtype) -> list[tuple[FastFlow3DUNet, Tensor]]:
    """The same U-Net and input twice."""
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        network = FastFlow3DUNet(4, sweeps).to(dtype).train()
        image = torch.randn(2 * sweeps, 4, 32, 48, dtype=dtype).to(memory_format=torch.channels_last)
        made.append((network, image.requires_grad_()))
    return made


@pytest.fixture
def compiler() -> Iterator[None]:
    """A fresh one whose settings come back."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    memory = torch._functorch.config.patch(activation_memory_budget=1.0)
    with memory, torch._dynamo.config.patch(suppress_errors=False):
        yield


def lives(storage: StorageWeakRef) -> bool:
    return not storage.expired()


def test_what_is_made_again_is_not_kept_and_gives_the_same_gradient() -> None:
    """By hand: the gradient of (2x)² is 8x, and the square keeps its input."""
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    calls = []

    def again() -> Tensor:
        calls.append(torch.is_grad_enabled())
        return 2 * x

    doubled = 2 * x
    storage = StorageWeakRef(doubled.untyped_storage())
    with remade(doubled, again):
        squared = doubled.square()
    assert lives(storage)
    del doubled
    assert not lives(storage)
    assert calls == []
    squared.sum().backward()
    assert calls == [False]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([8.0, 16.0, 24.0]))


def test_other_tensors_and_other_views_are_kept_as_they_are() -> None:
    """The sum of y² zᵀ² has the gradient 2y at y and, through the view zᵀ of z, 2z at z."""
    y, z = (torch.arange(9.0).view(3, 3) + start for start in (1, 20))
    y, z = y.requires_grad_(), z.requires_grad_()
    within = 1 * z
    with remade(within, lambda: torch.full((3, 3), float("nan"))):
        result = y.square() * within.T.square()
    result.sum().backward()
    torch.testing.assert_close(y.grad, 2 * y.detach() * z.detach().T.square())
    torch.testing.assert_close(z.grad, 2 * z.detach() * y.detach().T.square())


def test_an_operation_that_keeps_its_own_result_lets_go_of_it() -> None:
    x = torch.ones(3, requires_grad=True)
    with remade(x, lambda: x):
        result = 1 * torch.sigmoid(2 * x)
    assert isinstance(result.grad_fn, torch.autograd.graph.Node)
    sigmoid = result.grad_fn.next_functions[0][0]
    storage = StorageWeakRef(sigmoid._saved_result.untyped_storage())  # type: ignore[union-attr]
    assert lives(storage)
    del result, sigmoid
    assert not lives(storage)


def test_a_convolution_of_norm_and_gelu_keeps_one_image() -> None:
    """Values, gradients and running statistics are torch's; of what it makes, its result and vectors live on."""
    torch.manual_seed(0)
    upstream = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    results = []
    for ours in (True, False):
        torch.manual_seed(1)
        image = (torch.randn(3, 4, 6, 7, dtype=torch.float64) * 2 + 1).requires_grad_()
        norm, conv = BatchNorm2d(4).double(), nn.Conv2d(4, 5, 3, padding=1).double()
        nn.init.normal_(norm.weight)
        with Living() as living:
            made = norm_gelu_conv(image, norm, conv) if ours else conv(F.gelu(norm(image)))
        images = (living.size() - made.nbytes) // image.nbytes
        assert images == (0 if ours else 2)  # torch keeps the norm and the GELU
        made.backward(upstream)
        parts = {**dict(norm.named_parameters(prefix="norm")), **dict(conv.named_parameters(prefix="conv"))}
        grads = {name: value.grad for name, value in {**parts, "image": image}.items()}
        results.append({"made": made, **grads, **norm.state_dict()})
    assert list(results[0]) == list(results[1])
    for name, value in results[1].items():
        torch.testing.assert_close(results[0][name], value, msg=name)


@pytest.mark.parametrize("sweeps", [2, 3])
def test_a_unet_that_keeps_little_is_the_same_function(sweeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where it does: flow, gradients and statistics in float64, of two thirds of the memory."""
    (plain, image), (little, same_image) = both_unets(sweeps, torch.float64)
    with Living() as whole:
        wanted = plain(image)
    monkeypatch.setattr(unet, "keeps_little", lambda image: True)
    with Living() as part:
        given = little(same_image)
    assert part.size() < 0.65 * whole.size()
    for result in (wanted, given):
        result.square().sum().backward()
    torch.testing.assert_close(given, wanted)
    torch.testing.assert_close(same_image.grad, image.grad)
    for (name, a), b in zip(plain.named_parameters(), little.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(little.state_dict()[name], value, msg=name)
    del given, result
    assert part.size() == 0  # nothing that the backward needed holds itself


def test_the_compiler_keeps_as_little(compiler: None) -> None:
    """Its own split of forward and backward, as for a GPU, without the last step, which needs one."""
    network: PillarFlow = Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.25, 8, 2).build().train()
    assert compile_network(network, backend="aot_eager_decomp_partition")
    image = torch.randn(4, 8, 64, 64).to(memory_format=torch.channels_last).requires_grad_()
    decoded = network.backbone(image)
    kept: Any = decoded.grad_fn
    encoder = [part for part in kept.saved_tensors if part.shape[1:] in ((16, 32, 32), (32, 16, 16), (64, 8, 8))]
    assert len({part.data_ptr() for part in encoder}) == 4 + 6 + 6  # one image of each convolution; without, 31


def test_beside_shared_norms_the_compiler_takes_the_decoder(compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process stands for several: the same function, no broken graph, and no joined image kept."""
    monkeypatch.setattr(unet, "keeps_little", lambda image: torch.is_grad_enabled())
    architecture = Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5, 8, 2)
    plain, compiled = (fill_weights(architecture.build()).train() for _ in range(2))
    share_statistics(compiled)
    assert compile_network(compiled, backend="aot_eager_decomp_partition")
    joined: list[StorageWeakRef] = []
    beside = compiled.backbone._beside

    def noted(level: Tensor) -> Tensor:
        result = beside(level)
        joined.append(StorageWeakRef(result.untyped_storage()))
        return result

    monkeypatch.setattr(compiled.backbone, "_beside", noted)
    image = torch.randn(4, 8, 32, 32)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        decoded = [network.backbone(image) for network in (plain, compiled)]
        assert [lives(storage) for storage in joined] == [True, False, False, False]  # the coarsest is kept
        for one in decoded:
            one.square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(decoded[1], decoded[0], atol=1e-5, rtol=1e-5)
    scale = max(float(value.grad.abs().max()) for value in plain.backbone.parameters())
    for (name, a), b in zip(plain.backbone.named_parameters(), compiled.backbone.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, atol=1e-5 * scale, rtol=1e-4, msg=name)
    assert sum(torch._dynamo.utils.counters["graph_break"].values()) == 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3


def test_who_does_not_compile_does_not_import_the_compiler() -> None:
    """It takes a second, more than a prediction of a pair."""
    code = "import sys, models.inference, models.network; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
