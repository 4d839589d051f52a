# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a training step keeps for its backward pass, and what it makes again."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import unet
from models.architecture import Architecture
from models.network import PillarFlow
from models.norm import norm_gelu_conv
from models.remade import remade
from models.training.compiled import compile_network
from models.unet import FastFlow3DUNet


def kept(result: Tensor) -> dict[int, Tensor]:
    """Every image (B, C, H, W) that the graph behind a result holds, by its address."""
    found: dict[int, Tensor] = {}
    nodes: list[Any] = [result.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        saved = [getattr(node, name) for name in dir(node) if name.startswith("_raw_saved")]
        single = [one.data for one in saved if hasattr(one, "data")]
        several = node.saved_tensors if hasattr(node, "saved_tensors") else ()
        images = [
            one for one in (*single, *several) if isinstance(one, Tensor) and one.dim() == 4 and one.shape[-1] > 3
        ]
        found |= {one.data_ptr(): one for one in images}
    return found


def size(images: dict[int, Tensor]) -> int:
    return sum(image.nbytes for image in images.values())


def both_unets(sweeps: int, dtype: torch.dtype) -> list[tuple[FastFlow3DUNet, Tensor]]:
    """The same U-Net and input twice."""
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        network = FastFlow3DUNet(4, sweeps).to(dtype).train()
        image = torch.randn(2 * sweeps, 4, 32, 48, dtype=dtype).to(memory_format=torch.channels_last)
        made.append((network, image.requires_grad_()))
    return made


def test_what_is_made_again_is_not_kept_and_gives_the_same_gradient() -> None:
    """By hand: the gradient of (2x)² is 8x, and the square keeps its input."""
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]], requires_grad=True)
    calls = []
    doubled = 2 * x

    def again() -> Tensor:
        calls.append(torch.is_grad_enabled())
        return 2 * x

    with remade(doubled, again):
        squared = doubled.square()
        other = x.square()
    assert doubled.data_ptr() not in kept(squared)
    assert x.data_ptr() in kept(other)  # only the one tensor is left out
    assert calls == []
    squared.sum().backward()
    assert calls == [False]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[[[8.0, 16.0, 24.0, 32.0]]]]))


def test_a_convolution_of_norm_and_gelu_keeps_one_image() -> None:
    """Values, gradients and running statistics are torch's; only what came before the norm is kept."""
    torch.manual_seed(0)
    upstream = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    results = []
    for ours in (True, False):
        torch.manual_seed(1)
        image = (torch.randn(3, 4, 6, 7, dtype=torch.float64) * 2 + 1).requires_grad_()
        norm, conv = nn.BatchNorm2d(4).double(), nn.Conv2d(4, 5, 3, padding=1).double()
        nn.init.normal_(norm.weight)
        made = norm_gelu_conv(image, norm, conv) if ours else conv(F.gelu(norm(image)))
        if ours:
            assert set(kept(made)) == {image.data_ptr()}
        made.backward(upstream)
        parts = {**dict(norm.named_parameters(prefix="norm")), **dict(conv.named_parameters(prefix="conv"))}
        grads = {name: value.grad for name, value in {**parts, "image": image}.items()}
        results.append({"made": made, **grads, **norm.state_dict()})
    assert list(results[0]) == list(results[1])
    for name, value in results[1].items():
        torch.testing.assert_close(results[0][name], value, msg=name)


@pytest.mark.parametrize("sweeps", [2, 3])
def test_a_unet_that_keeps_little_is_the_same_function(sweeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where it does: flow, gradients and statistics in float64."""
    (plain, image), (little, same_image) = both_unets(sweeps, torch.float64)
    wanted = plain(image)
    monkeypatch.setattr(unet, "keeps_little", lambda image: True)
    given = little(same_image)
    assert size(kept(given)) < 0.65 * size(kept(wanted))
    for result in (wanted, given):
        result.square().sum().backward()
    torch.testing.assert_close(given, wanted)
    torch.testing.assert_close(same_image.grad, image.grad)
    for (name, a), b in zip(plain.named_parameters(), little.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(little.state_dict()[name], value, msg=name)


def test_the_compiler_keeps_as_little() -> None:
    """Its own split of forward and backward, as for a GPU, without the last step, which needs one."""
    torch._dynamo.reset()
    network: PillarFlow = Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.25, 8, 2).build().train()
    image = torch.randn(4, 8, 64, 64).to(memory_format=torch.channels_last)
    whole = size(kept(network.backbone(image.requires_grad_())))
    assert compile_network(network, backend="aot_eager_decomp_partition")
    parts = kept(network.backbone(image))
    convolved = [part for part in parts.values() if part.shape[1:] in ((16, 32, 32), (32, 16, 16), (64, 8, 8))]
    assert len(convolved) == 4 + 6 + 6  # one image of each of the encoder's convolutions
    assert size(parts) < 0.65 * whole
