# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a GPU computes by ways of its own is what a CPU computes, and a step waits for nothing."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.architecture import Architecture
from models.clouds import Clouds, concatenate
from models.data.samples import Batch, collate
from models.inference import flow_of_all
from models.replay import ReplayedUNet, replay_unet
from models.training.module import FlowTraining
from models.training.parameters import TrainParameters
from tests.models.golden import cropped, fill_weights, sweep_before, sweeps
from tests.models.synthetic import samples
from tests.models.test_networks import GOLDEN

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = torch.device("cuda")


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    """Without TF32, so that tolerances are those of float32."""
    kept = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    yield
    torch.backends.cudnn.allow_tf32 = kept[0]
    torch.set_float32_matmul_precision(kept[1])


@pytest.mark.golden
@pytest.mark.parametrize("name", list(GOLDEN))
def test_flow_equals_published_code(name: str) -> None:
    make, mean, std, total, first = GOLDEN[name]
    network = fill_weights(make()).to(DEVICE)
    clouds = [cropped(points)[0].to(DEVICE) for points in (*sweeps(), sweep_before())][: network.sweeps]
    with torch.no_grad():
        flow = network(*clouds).cpu()
    torch.testing.assert_close(flow.mean(0), torch.tensor(mean), atol=1e-4, rtol=0)
    torch.testing.assert_close(flow.std(0), torch.tensor(std), atol=1e-4, rtol=0)
    torch.testing.assert_close(flow[0], torch.tensor(first), atol=1e-4, rtol=0)
    assert float(flow.abs().sum()) == pytest.approx(total, abs=2e-2)


def batch(parameters: TrainParameters, three: bool = False) -> Batch:
    """Two samples."""
    return collate(samples(parameters, 2, three), 20)


@pytest.mark.parametrize(("kind", "loss"), [("deflow", "seflow"), ("fastflow3d", "seflow"), ("deflowpp", "seflow++")])
def test_a_step_is_that_of_a_cpu(parameters: TrainParameters, kind: Any, loss: Any) -> None:
    """Loss and gradients; the head in pieces, the norms and upsampling of a GPU's own among them."""
    parameters = replace(parameters, loss=loss, model=replace(parameters.model, kind=kind))
    modules = [FlowTraining(parameters).train() for _ in range(2)]
    fill_weights(modules[0].network)
    modules[0].network.train()
    modules[1].network.load_state_dict(modules[0].network.state_dict())
    given = batch(parameters, three=loss == "seflow++")
    modules[1].to(DEVICE)
    on_cpu = modules[0].losses(modules[0].network, given)["loss"]
    on_gpu = modules[1].losses(modules[1].network, given.to(DEVICE))["loss"]
    assert float(on_gpu) == pytest.approx(float(on_cpu), rel=1e-4)
    on_cpu.backward()
    on_gpu.backward()
    scale = max(float(p.grad.abs().max()) for p in modules[0].network.parameters())
    for (name, a), b in zip(modules[0].network.named_parameters(), modules[1].network.parameters(), strict=True):
        torch.testing.assert_close(b.grad.cpu(), a.grad, atol=1e-3 * scale, rtol=1e-2, msg=name)
    for (name, a), b in zip(modules[0].network.named_buffers(), modules[1].network.buffers(), strict=True):
        torch.testing.assert_close(b.cpu(), a, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_waits_for_nothing(parameters: TrainParameters, precision: Any) -> None:
    module = FlowTraining(replace(parameters, precision=precision)).to(DEVICE).train()
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=1e-3, fused=True)
    given = batch(parameters).to(DEVICE)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        losses = module.losses(module.network, given)
        module._add("train", losses, given)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), 1.0)
        optimiser.step()

    for _ in range(2):
        step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(parameter.isfinite().all() for parameter in module.network.parameters())


@pytest.mark.parametrize("replayed", [False, True])
def test_inference_waits_for_nothing_and_gives_the_cpu_s_flow(replayed: bool) -> None:
    architecture = Architecture("deflow", (-8.0, -4.0, -2.0, 8.0, 4.0, 2.0), 0.5, 8, 2)
    network = fill_weights(architecture.build())
    clouds = [concatenate([torch.rand(300, 3, generator=torch.Generator().manual_seed(i)) * 24 - 12]) for i in (0, 1)]
    with torch.inference_mode():
        wanted, inside = flow_of_all(network, clouds)
    network.to(DEVICE)
    if replayed:
        replay_unet(network)
    there: list[Clouds] = [cloud.to(DEVICE) for cloud in clouds]
    with torch.inference_mode():
        flow_of_all(network, there)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            given, given_inside = flow_of_all(network, there)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(given.cpu(), wanted, atol=1e-4, rtol=0)
    assert torch.equal(given_inside.cpu(), inside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_replayed_unet_follows_its_images(dtype: torch.dtype) -> None:
    """Other images, other sizes and back again; cuDNN may choose another way for a recording, so not to the bit."""
    network = fill_weights(Architecture("deflow", (-8.0, -4.0, -2.0, 8.0, 4.0, 2.0), 0.5, 8, 2).build()).to(DEVICE)
    plain = network.eval().backbone
    replayed = ReplayedUNet(plain)
    for number, (rows, columns) in enumerate(((16, 32), (16, 32), (32, 16), (16, 32))):
        with torch.inference_mode(number % 2 == 1), torch.no_grad():
            image = torch.randn(2, 8, rows, columns, device=DEVICE, dtype=dtype)
            with torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.bfloat16):
                wanted, given = plain(image), replayed(image)
            torch.testing.assert_close(given, wanted)
            torch.cuda.empty_cache()  # what a recording must not lean on is given away and written over
            torch.full((1 << 24,), torch.nan, device=DEVICE)
