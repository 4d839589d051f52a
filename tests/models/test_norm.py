# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The norm and GELU in one against torch's own, on one device and over several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.norm import norm_gelu
from stages.pipeline.code import ROOT


@pytest.mark.parametrize("channels_last", [False, True])
def test_norm_and_gelu_in_one_are_what_torch_does(channels_last: bool) -> None:
    """Values, gradients and running statistics, by finite precision and by gradcheck in float64."""
    torch.manual_seed(0)
    image = torch.randn(3, 4, 5, 6, dtype=torch.float64) * 2 + 1
    if channels_last:
        image = image.to(memory_format=torch.channels_last)
    ours, torchs = (nn.BatchNorm2d(4).double() for _ in range(2))
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


RANK = """
import os, torch
from torch import nn
from torch.nn import functional as F
from models.norm import norm_gelu
rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
torch.distributed.init_process_group("nccl", device_id=torch.device("cuda", rank))
# Sums of 240 values that bfloat16 holds to 1/256 each.
for dtype, tolerance, of_sums in ((torch.float32, 1e-4, 1e-4), (torch.bfloat16, 2e-2, 0.3)):
    torch.manual_seed(rank)
    image = (torch.randn(2 + rank, 8, 12, 10, device="cuda") * 2 + 30).to(dtype, memory_format=torch.channels_last)
    upstream = torch.randn_like(image)
    norms = [nn.SyncBatchNorm(8).cuda().train() for _ in range(2)]
    images = [image.clone().requires_grad_() for _ in range(2)]
    for norm in norms:
        torch.nn.init.normal_(norm.weight.data, generator=torch.Generator("cuda").manual_seed(1))
    wanted, given = F.gelu(norms[0](images[0])), norm_gelu(images[1], norms[1])
    wanted.backward(upstream)
    other, image = nn.SyncBatchNorm(8, device="cuda").train(), image.requires_grad_()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    norm_gelu(image, other).backward(upstream)
    given.backward(upstream)
    torch.cuda.set_sync_debug_mode("default")
    close = lambda a, b, atol=tolerance: torch.testing.assert_close(a, b, atol=atol, rtol=tolerance)
    close(given, wanted)
    close(images[1].grad, images[0].grad)
    close(norms[1].weight.grad, norms[0].weight.grad, of_sums)
    close(norms[1].bias.grad, norms[0].bias.grad, of_sums)
    for name, value in norms[0].state_dict().items():
        close(norms[1].state_dict()[name], value)
torch.distributed.destroy_process_group()
"""


@pytest.mark.gpu
@pytest.mark.parametrize("devices", (1, 2))
def test_norm_over_all_devices_is_torchs_and_waits_for_nothing(devices: int, tmp_path: Path) -> None:
    """Images of other sizes in each process, far from zero."""
    if torch.cuda.device_count() < devices:
        pytest.skip(f"fewer than {devices} CUDA devices here")
    (tmp_path / "rank.py").write_text(RANK)
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={devices}", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(tmp_path / "rank.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
